"""Models over HTTP, for managers: what serves and why, one model, two compared, and a person's word on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import ConfigDict, Field, StringConstraints

from tiebreak.contracts.audit import Action
from tiebreak.contracts.errors import Conflict, ModelRefused, NotFound
from tiebreak.contracts.messages import Manifest, ModelRecord
from tiebreak.contracts.ports_models import Models
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_deeds import KeyIfAny, check_same, on_record
from tiebreak.labeling.http_models import Body, Out
from tiebreak.labeling.http_security import guarded_router, needs

Manager = Annotated[Principal, Depends(needs(Right.MANAGE))]
_NEWEST = 500
_V1, _V2 = "v000120-1f2e3d4c", "v000145-5a6b7c8d"
_DECISION: dict[str, Any] = {
    "version": _V1,
    "event": "promoted",
    "parent": "",
    "labels": 120,
    "share": 0.0,
    "reasons": ("no model serves yet, and this one passed every mechanical check",),
    "by": "gate",
    "time_ms": 1764000000000,
}


def _like(example: Mapping[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [dict(example)]})


class WordIn(Body):
    """Why. It is kept with the decision and on the audit trail, word for word."""

    model_config = _like({"reason": "Complaints since noon."})

    reason: Annotated[str, StringConstraints(min_length=3, max_length=500, strip_whitespace=True)]


class DecisionOut(Out):
    """One record of topic `models`. ``share`` of the events a canary answers."""

    model_config = _like(_DECISION)

    version: str
    event: str
    parent: str
    labels: int = Field(
        description="The version of the data set that the model was made from: not how many labels trained it."
    )
    share: float
    reasons: tuple[str, ...]
    by: str
    time_ms: int


class ModelsOut(Out):
    """What serves, what a rollback goes to, who pinned it (empty: nobody), and the newest decisions, oldest first."""

    model_config = _like({"champion": _V1, "previous": "", "pinned": "", "decisions": [_DECISION]})

    champion: str
    previous: str
    pinned: str
    decisions: tuple[DecisionOut, ...] = Field(max_length=_NEWEST)


class ModelOut(Out):
    """One model: its manifest without the labels, how many they are, its evaluation, and every decision about it."""

    model_config = _like({"manifest": {"version": _V1}, "labels": 120, "report": {}, "decisions": [_DECISION]})

    manifest: dict[str, Any]
    labels: int
    report: dict[str, Any]
    decisions: tuple[DecisionOut, ...]


class DiffOut(Out):
    """Two models: labels that only one learned from, and each figure as (this, other); null where it has none."""

    model_config = _like({"only_this": 0, "only_other": 25, "metrics": {"accuracy": (0.91, 0.94)}})

    only_this: int
    only_other: int
    metrics: dict[str, tuple[float | None, float | None]]


class ServesOut(Out):
    """The version that serves now."""

    model_config = _like({"serves": _V1})

    serves: str


def registry_routes(ctx: LabelingContext) -> APIRouter:
    """What a person decides is on the audit trail before it is done."""
    router = guarded_router(ctx.door, prefix="/v1/projects/{name}")

    @router.get("/models")
    async def models(name: str, _: Manager) -> ModelsOut:
        """What serves, and every decision about models."""
        registry = await _models(ctx, name).registry()
        return ModelsOut(
            champion=registry.champion,
            previous=registry.previous,
            pinned=registry.pinned,
            decisions=tuple(map(_decision, registry.history[-_NEWEST:])),
        )

    @router.get("/models:at")
    async def served(name: str, _: Manager, time: datetime | None = None) -> DecisionOut:
        """The decision by which a model served at a time, now where none is given; 404 where none served. Without a zone it is UTC."""
        registry = await _models(ctx, name).registry()
        moment = None if time is None else time if time.tzinfo else time.replace(tzinfo=UTC)
        found = registry.served_at(None if moment is None else int(moment.timestamp() * 1000))
        if found is None:
            raise NotFound(f"No model served{f' at {moment.isoformat()}' if moment else ''}.")
        return _decision(found)

    @router.get("/models/{version}")
    async def model(name: str, version: str, _: Manager) -> ModelOut:
        """One model: what it was made from, how it did, and what was decided about it."""
        desk = _models(ctx, name)
        manifest = await _manifest(desk, version)
        records = [record for record in (await desk.registry()).history if record.version == version]
        report: dict[str, Any] = next((json.loads(r.report) for r in reversed(records) if r.report), {})
        said = asdict(manifest) | {"label_ids": ()}
        return ModelOut(
            manifest=said, labels=len(manifest.label_ids), report=report, decisions=tuple(map(_decision, records))
        )

    @router.get("/models/{version}/diff/{other}")
    async def diff(name: str, version: str, other: str, _: Manager) -> DiffOut:
        """Two models side by side."""
        desk = _models(ctx, name)
        one, two = await _manifest(desk, version), await _manifest(desk, other)
        mine, theirs = set(one.label_ids), set(two.label_ids)
        figures = {n: (one.metrics.get(n), two.metrics.get(n)) for n in sorted({*one.metrics, *two.metrics})}
        return DiffOut(only_this=len(mine - theirs), only_other=len(theirs - mine), metrics=figures)

    @router.post("/models/{version}:promote")
    async def promote(name: str, version: str, body: WordIn, who: Manager, key: KeyIfAny) -> ServesOut:
        """Let this version serve from the scorers' next batch on, whatever the gate said."""
        desk = _models(ctx, name)
        await _manifest(desk, version)
        order = ""
        if ctx.audit is not None:
            order = (await on_record(ctx.audit, who, Action.MODEL_PROMOTED, version, body.reason, key)).digest
        await desk.promote(version, who.name, body.reason, order)
        return ServesOut(serves=version)

    _word_routes(router, ctx)
    return router


def _word_routes(router: APIRouter, ctx: LabelingContext) -> None:
    async def ordered(action: Action, now: str, body: WordIn, who: Principal, key: str) -> tuple[str, str | None]:
        """The digest of the record of the trail that orders this, and the version that it is about: ``now``, or another one where it

        was ordered before. Nothing where there is no trail.
        """
        if ctx.audit is None:
            return "", None
        order = await ctx.audit.append(who.name, action, now, body.reason, key)
        check_same(order, order.target, body.reason)
        return order.digest, order.target

    @router.post("/models:rollback")
    async def rollback(name: str, body: WordIn, who: Manager, key: KeyIfAny) -> ServesOut:
        """End the rollout under way, else let the model before this one serve again."""
        desk = _models(ctx, name)
        order = await ordered(Action.MODEL_ROLLED_BACK, (await desk.registry()).at_stake, body, who, key)
        return ServesOut(serves=await desk.rollback(who.name, body.reason, *order))

    @router.post("/models:pin")
    async def pin(name: str, body: WordIn, who: Manager, key: KeyIfAny) -> ServesOut:
        """Keep what serves until it is unpinned: candidates are held."""
        desk = _models(ctx, name)
        order = await ordered(Action.MODEL_PINNED, (await desk.registry()).champion, body, who, key)
        return ServesOut(serves=await desk.pin(who.name, body.reason, *order))

    @router.post("/models:unpin")
    async def unpin(name: str, body: WordIn, who: Manager, key: KeyIfAny) -> ServesOut:
        """Let the gate decide again."""
        desk = _models(ctx, name)
        order = await ordered(Action.MODEL_UNPINNED, (await desk.registry()).champion, body, who, key)
        return ServesOut(serves=await desk.unpin(who.name, body.reason, *order))


def _models(ctx: LabelingContext, name: str) -> Models:
    ctx.check_project(name)
    if ctx.models is None:
        raise Conflict("This process does not know the project's models.", fix="`tiebreak label` does.")
    return ctx.models


async def _manifest(desk: Models, version: str) -> Manifest:
    try:
        return await desk.manifest(version)
    except ModelRefused as refused:
        raise NotFound(f"Model {version!r} cannot be read: {refused}") from refused


def _decision(record: ModelRecord) -> DecisionOut:
    return DecisionOut(
        version=record.version,
        event=record.event.value,
        parent=record.parent,
        labels=record.dataset_version,
        share=record.share,
        reasons=record.reasons,
        by=record.decided_by,
        time_ms=record.time_ms,
    )

"""For reviewers: settled tasks of which people are sure, to make gold of, or not."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import ConfigDict, Field, StringConstraints

from tiebreak.contracts.audit import Action
from tiebreak.contracts.erasure import erased_in, is_erased
from tiebreak.contracts.errors import Conflict
from tiebreak.contracts.messages import AuditRecord, Task
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.gold_growth import Proposal
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_deeds import KeyIfAny, begun, check_same, on_record
from tiebreak.labeling.http_fields import payload_out
from tiebreak.labeling.http_models import Body, Out, PayloadOut
from tiebreak.labeling.http_security import guarded_router, needs
from tiebreak.labeling.http_tasks import task_id
from tiebreak.labeling.refusals import no_task
from tiebreak.labeling.stage_people import People

Why = Annotated[str, StringConstraints(max_length=500, strip_whitespace=True)]
Reviewer = Annotated[Principal, Depends(needs(Right.REVIEW))]
_PROPOSAL = {
    "task_id": "0f3a9c5e7b1d4f62a8c0e9d7b6f5a431",
    "answer": "cat",
    "confidence": 0.998,
    "votes": 3,
    "payload": {"kind": "text", "media_type": "text/plain", "text": "It purrs.", "image": "", "columns": ()},
}


def _like(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class ProposalOut(Out):
    """A settled task that would make gold: ``votes`` people gave ``answer``, nobody another. Say yes with `POST .../gold`."""

    model_config = _like(_PROPOSAL)

    task_id: str
    answer: str
    confidence: float
    votes: int
    payload: PayloadOut


class ProposalsOut(Out):
    """The newest first."""

    model_config = _like({"proposals": [_PROPOSAL]})

    proposals: tuple[ProposalOut, ...] = Field(max_length=100)


class DeclineIn(Body):
    """Why not: it is on the audit trail."""

    model_config = _like({"reason": "Two answers would do."})

    reason: Why = ""


_NO_REASON = DeclineIn()


def gold_routes(ctx: LabelingContext) -> APIRouter:
    """Nothing here is for annotators: who knows what gold is can tell it from the rest."""
    router = guarded_router(ctx.door, prefix="/v1")

    @router.get("/projects/{name}/gold/proposals")
    async def proposals(name: str, _: Reviewer, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> ProposalsOut:
        """Settled tasks of which people are sure, to make gold of. Those of which some was made, or that were declined, are left out.

        What the queue has dropped is read from the log, which takes some seconds per million tasks.
        """
        ctx.check_project(name)
        people = people_of(ctx)
        said = await said_on(ctx)
        found = list(islice(people.proposed(_declined(said)), limit))
        known, erased = {proposal.task_id for proposal in found}, erased_in(said)
        contents = await asyncio.gather(*(task_content(ctx, proposal.task_id, known, erased) for proposal in found))
        return ProposalsOut(proposals=tuple(_shown(found, contents)))

    @router.post("/projects/{name}/gold/proposals/{task}:decline", status_code=204)
    async def decline(name: str, task: str, who: Reviewer, key: KeyIfAny, body: DeclineIn = _NO_REASON) -> None:
        """Say no to a proposal, for good and on the audit trail, with a reason if you give one. Again: no change."""
        ctx.check_project(name)
        wanted = task_id(task)
        check_same(await begun(ctx.audit, who, Action.GOLD_DECLINED, key), wanted, body.reason)
        if wanted in _declined(await said_on(ctx)):
            return
        if ctx.audit is None or wanted not in {proposal.task_id for proposal in people_of(ctx).proposed()}:
            raise no_task()
        await on_record(ctx.audit, who, Action.GOLD_DECLINED, wanted, body.reason, key)

    return router


def people_of(ctx: LabelingContext) -> People:
    """Those who follow the people here. Raises Conflict."""
    if ctx.people is None:
        raise Conflict("This process does not follow its people.", fix="`tiebreak label` does.")
    return ctx.people


async def said_on(ctx: LabelingContext) -> Sequence[AuditRecord]:
    """The audit trail as it is now; nothing where there is none."""
    return await ctx.audit.sound() if ctx.audit is not None else ()


async def task_content(
    ctx: LabelingContext, wanted: str, proposed: Collection[str], erased: AbstractSet[str]
) -> Task | None:
    """A task as the queue has it or, of those ``proposed``, the log; None where its content is gone for good (``erased``: digests)."""
    task = await ctx.queue.look(wanted)
    if task is not None or ctx.recall is None or ctx.audit is None or wanted not in proposed:
        return task
    known = await ctx.recall.task(wanted)
    return None if known is None or is_erased(known.task.project, known.task.subject, erased) else known.task


def _declined(said: Sequence[AuditRecord]) -> frozenset[str]:
    return frozenset(record.target for record in said if record.action == Action.GOLD_DECLINED)


def _shown(found: Sequence[Proposal], contents: Sequence[Task | None]) -> Sequence[ProposalOut]:
    return [
        ProposalOut(
            task_id=proposal.task_id,
            answer=proposal.answer,
            confidence=proposal.confidence,
            votes=proposal.votes,
            payload=payload_out(task.payload),
        )
        for proposal, task in zip(found, contents, strict=True)
        if task is not None and not task.gold
    ]

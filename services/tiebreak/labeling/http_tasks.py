"""The routes of an annotator: claim, answer, renew, release, skip, undo, and what they need to know."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from tiebreak.contracts.audit import Action
from tiebreak.contracts.errors import Conflict
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.answers import json_schema
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_deeds import Key, KeyIfAny, begun, check_same, idempotency_key
from tiebreak.labeling.http_fields import annotation_out, claim_out
from tiebreak.labeling.http_models import (
    AnnotationOut,
    ClaimIn,
    ClaimOut,
    ClassIn,
    ClassOut,
    HistoryOut,
    MeOut,
    ProjectOut,
    RenewOut,
    SkipIn,
    VoteIn,
    done_out,
    vote_of,
)
from tiebreak.labeling.http_security import guarded_router, needs
from tiebreak.labeling.lifecycle import class_of
from tiebreak.labeling.port import Act, Claimed
from tiebreak.labeling.refusals import no_answer, not_found
from tiebreak.labeling.stage_answers import Submission

_ID = re.compile(r"[0-9a-f]{32}")
_LEASE = re.compile(r"([0-9a-f]{32})\.([0-9]{1,16})")
_LOOK_AGAIN_S = 1.0

Annotator = Annotated[Principal, Depends(needs(Right.ANNOTATE))]
Reader = Annotated[Principal, Depends(needs(Right.READ))]
Further = Annotated[int, Query(alias="next", ge=0, le=10)]


def task_id(text: str) -> str:
    """A task id as we make them. Anything else is NotFound, in the same words as an id that is not yours."""
    if not _ID.fullmatch(text):
        raise not_found()
    return text


def annotation_id(text: str) -> str:
    """As :func:`task_id`, for answers."""
    if not _ID.fullmatch(text):
        raise no_answer()
    return text


def lease_id(text: str) -> tuple[str, int]:
    """``<task>.<token>``. Raises NotFound."""
    found = _LEASE.fullmatch(text)
    if not found:
        raise not_found()
    return found[1], int(found[2])


def task_routes(ctx: LabelingContext) -> APIRouter:
    """All routes under ``/v1`` that annotators use."""
    router = guarded_router(ctx.door, prefix="/v1")
    _claiming(router, ctx)
    _answering(router, ctx)
    _looking(router, ctx)
    return router


def _claiming(router: APIRouter, ctx: LabelingContext) -> None:
    labeling = ctx.project.labeling

    @router.post("/projects/{project}/tasks:claim")
    async def claim(project: str, body: ClaimIn, who: Annotator, request: Request, _: KeyIfAny) -> ClaimOut:
        """Hold up to `max` tasks: those you hold already, renewed, and new ones. Waits up to `wait_ms` for the first."""
        ctx.check_project(project)
        claimed = await _claim(ctx, body, who, request)
        if ctx.people is not None and not claimed.leases:
            ctx.people.check(who.name)
        ctx.metrics.count("tiebreak_labeling_claims_total", outcome=claimed.reason or "leased")
        return claim_out(claimed, await ctx.terms(), reviews=who.may(Right.REVIEW))

    @router.post("/leases/{lease}:renew")
    async def renew(lease: str, who: Annotator, _: KeyIfAny) -> RenewOut:
        """The heartbeat: move the deadline to a full lease from now."""
        task, token = lease_id(lease)
        deadline_ms, in_review = await ctx.queue.renew(who.name, task, token)
        return RenewOut(
            deadline_ms=deadline_ms, lease_s=labeling.lease_s, in_review=in_review and who.may(Right.REVIEW)
        )

    @router.post("/leases/{lease}:release", status_code=204)
    async def release(lease: str, who: Annotator, _: KeyIfAny) -> None:
        """Give a task back unanswered, at once. Again: no change."""
        task, token = lease_id(lease)
        await ctx.queue.release(who.name, task, token)
        ctx.doorbell.ring()


async def _claim(ctx: LabelingContext, body: ClaimIn, who: Principal, request: Request) -> Claimed:
    review = who.may(Right.REVIEW)
    refused = ctx.people is not None and ctx.people.refusal(who.name) is not None
    deadline = ctx.clock.monotonic() + (0 if refused else body.wait_ms / 1000)
    while True:
        claimed = await ctx.queue.claim(who.name, body.max, review=review, skills=body.skills)
        left_s = deadline - ctx.clock.monotonic()
        if claimed.leases or left_s <= 0 or ctx.doorbell.closed:
            return claimed
        # Other processes ring no bell here, so look again now and then.
        await ctx.doorbell.wait(min(left_s, _LOOK_AGAIN_S))
        if await request.is_disconnected():
            return claimed  # a task leased to somebody who is gone would wait for its deadline


def _answering(router: APIRouter, ctx: LabelingContext) -> None:
    async def accept(who: Principal, said: Submission, want: int = 0) -> AnnotationOut:
        accepted = await ctx.desk.accept(who, said, want=want)
        return annotation_out(accepted, await ctx.terms(), reviews=who.may(Right.REVIEW))

    @router.post("/tasks/{task}/annotations", status_code=201)
    async def submit(task: str, body: VoteIn, who: Annotator, idempotency: Key, further: Further = 0) -> AnnotationOut:
        """Answer a task. It is on the log, acknowledged by all replicas, before you see 201.

        `?next=1` claims the next one in the same request: one round trip per task.
        """
        key = idempotency_key(idempotency)
        return await accept(who, vote_of(task_id(task), key, body), further)

    @router.post("/tasks/{task}:skip", status_code=201)
    async def skip(task: str, body: SkipIn, who: Annotator, idempotency: Key) -> AnnotationOut:
        """Pass a task on to somebody else; it will not come back to you."""
        key = idempotency_key(idempotency)
        return await accept(
            who,
            Submission(
                act=Act.SKIP,
                task_id=task_id(task),
                key=key,
                token=body.lease_token,
                comment=body.reason,
                flagged=body.flagged,
                lead_time_s=body.lead_time_s,
            ),
        )

    @router.post("/annotations/{annotation}:undo")
    async def undo(annotation: str, who: Annotator, idempotency: Key) -> AnnotationOut:
        """Take an answer back within the project's `undo_s`; the task is in your hands again, unless somebody else has it."""
        key = idempotency_key(idempotency)
        wanted = annotation_id(annotation)
        lines = await ctx.queue.history(who.name, 200)
        found = next((line.task_id for line in lines if line.annotation_id == wanted), None)
        if found is None:
            raise no_answer()
        return await accept(who, Submission(Act.UNDO, found, key))

    @router.post("/annotations/{annotation}:withdraw")
    async def withdraw(annotation: str, who: Annotator, idempotency: Key) -> AnnotationOut:
        """Take an answer back at any later time; a label that counted it is withdrawn, and the task goes to others.

        For an old answer the log is read again, which takes some seconds per million answers.
        """
        key = idempotency_key(idempotency)
        accepted = await ctx.withdrawals.own(who.name, annotation_id(annotation), key)
        ctx.doorbell.ring()
        return annotation_out(accepted, await ctx.terms(), reviews=who.may(Right.REVIEW))


def _looking(router: APIRouter, ctx: LabelingContext) -> None:
    project, labeling = ctx.project, ctx.project.labeling

    async def me_of(who: Principal) -> MeOut:
        return MeOut(name=who.name, role=who.role, answered=await ctx.queue.answered(who.name))

    @router.get("/me")
    async def me(who: Reader) -> MeOut:
        """Who you are here."""
        return await me_of(who)

    @router.get("/me/annotations")
    async def history(who: Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> HistoryOut:
        """Your newest answers."""
        lines = await ctx.queue.history(who.name, limit)
        return HistoryOut(
            annotations=tuple(done_out(line) for line in lines), answered=await ctx.queue.answered(who.name)
        )

    @router.get("/projects/{name}")
    async def info(name: str, who: Reader) -> ProjectOut:
        """The question, the guidelines, the classes, and how much is open."""
        ctx.check_project(name)
        stats, classes = await ctx.queue.stats(), await ctx.schema.classes()
        return ProjectOut(
            project=project.project,
            description=project.description,
            question=labeling.question,
            guidelines=labeling.guidelines,
            classes=classes,
            classes_open=project.classes.open,
            payload=labeling.payload,
            lease_s=labeling.lease_s,
            undo_s=labeling.undo_s,
            schema_version=labeling.schema_version,
            answer_schema_version=str(await ctx.schema.now()),
            answer_schema=json_schema(project, classes),
            open_tasks=stats.open_tasks,
            you=await me_of(who),
        )

    @router.post("/projects/{name}/classes", status_code=201)
    async def add_class(name: str, body: ClassIn, who: Annotator, key: KeyIfAny) -> ClassOut:
        """Add a class to an open set; one that is there already, but for case or spaces, is answered instead."""
        ctx.check_project(name)
        if not project.classes.open:
            raise Conflict("The classes of this project are fixed.", fix="Choose one of them, or ask a manager.")
        known = await ctx.schema.classes()
        made = class_of(body.name, known)
        check_same(await begun(ctx.audit, who, Action.CLASS_ADDED, key), made)
        if made not in known:
            if ctx.audit is not None:  # on record first: no answer may ever use it, and the queue is no durable place
                check_same(await ctx.audit.append_once(who.name, Action.CLASS_ADDED, made, "", key), made)
            await ctx.queue.add_class(made)
            await ctx.schema.classes()  # who asks next is told so
        return ClassOut(name=made)

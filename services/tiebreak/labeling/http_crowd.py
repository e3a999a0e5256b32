"""For managers: figures of people and of the project, gold, and letting a paused person go on."""

from __future__ import annotations

import asyncio
import re
import secrets
from math import inf
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import ConfigDict, Field, StringConstraints

from tiebreak.contracts.audit import Action, words_of
from tiebreak.contracts.erasure import erased_in
from tiebreak.contracts.errors import Conflict, Invalid, NotFound
from tiebreak.contracts.messages import AuditRecord
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.figures import PersonFigures
from tiebreak.labeling.gold import Standing
from tiebreak.labeling.gold_growth import Kept, kept_in
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_deeds import KeyIfAny, begun, check_same
from tiebreak.labeling.http_gold import Why, people_of, said_on, task_content
from tiebreak.labeling.http_models import Body, Out
from tiebreak.labeling.http_security import guarded_router, needs
from tiebreak.labeling.http_tasks import task_id
from tiebreak.labeling.port import Refusal
from tiebreak.labeling.refusals import no_task, refused
from tiebreak.labeling.reopening import Deed, to_reopen
from tiebreak.labeling.stage_people import Made, People

Manager = Annotated[Principal, Depends(needs(Right.MANAGE))]
Reviewer = Annotated[Principal, Depends(needs(Right.REVIEW))]
_AT_ONCE = 1000
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_RESUMED = re.compile(r"after ([0-9]{1,9}) answers to gold")
_GOLD = {"right": 18, "asked": 20, "least": 0.699, "most": 0.972}
_TASK = "0f3a9c5e7b1d4f62a8c0e9d7b6f5a431"
_SOMEBODY = {
    "name": "ann",
    "answers": 412,
    "skips": 3,
    "gold": _GOLD,
    "agreement": 0.94,
    "kappa": 0.91,
    "median_s": 4.2,
    "pace": 0.9,
    "per_day": 137.3,
    "paused": False,
    "suspected": (),
}


def _like(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class GoldIn(Body):
    """A task whose answer is certain: it is put before people again, to see how they do. ``reason`` is kept on the audit trail."""

    model_config = _like({"task_id": _TASK, "answer": "cat", "reason": "Nobody could say dog."})

    task_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    answer: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    reason: Why = ""


class StandingOut(Out):
    """How gold was answered; ``least`` and ``most`` are the 95 % interval of the accuracy (Wilson)."""

    model_config = _like(_GOLD)

    right: int
    asked: int
    least: float
    most: float


class GoldOut(Out):
    """The piece of gold; it is handed out within a second or two."""

    model_config = _like({"gold_id": "7d1a0b5c3e8f49219c64d2f0a1b3c5e7"})

    gold_id: str


class PersonOut(Out):
    """One person. ``pace``: their time over that of others on the same tasks. ``suspected``: ``one_class``, ``colluding``."""

    model_config = _like(_SOMEBODY)

    name: str
    answers: int
    skips: int
    gold: StandingOut
    agreement: float | None
    kappa: float | None
    median_s: float | None
    pace: float | None
    per_day: float
    paused: bool
    suspected: tuple[str, ...]


class CrowdOut(Out):
    """The project and everybody in it. ``work_s``: percentiles 50, 90, 99 of the time on a task. Null: nothing to say yet."""

    model_config = _like(
        {
            "answers": 412,
            "labels": 350,
            "gold": _GOLD,
            "gold_pieces": 40,
            "alpha": 0.81,
            "fleiss": 0.8,
            "disagreement": 0.12,
            "work_s": [4.2, 9.0, 30.5],
            "spent": 41.2,
            "cost_cap": 500.0,
            "cost_per_label": 0.118,
            "people": [_SOMEBODY],
        }
    )

    answers: int
    labels: int
    gold: StandingOut
    gold_pieces: int
    alpha: float | None
    fleiss: float | None
    disagreement: float | None
    work_s: tuple[float, float, float] | None
    spent: float
    cost_cap: float | None
    cost_per_label: float | None
    people: tuple[PersonOut, ...] = Field(max_length=100_000)


class ReopenIn(Body):
    """Which of a person's answers to take back: those from ``since_ms`` (Unix milliseconds) on, at most the ``last`` newest.

    With neither, those after the last gold that they answered right. A request that is sent again with its Idempotency-Key goes on
    where it was and takes nothing that was said since; without a key, one with ``last`` takes further answers.
    """

    model_config = _like({"reason": "All birds since lunch.", "last": 200})

    reason: Annotated[str, StringConstraints(min_length=3, max_length=500, strip_whitespace=True)]
    since_ms: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    last: Annotated[int, Field(ge=1, le=100_000)] | None = None


class ReopenOut(Out):
    """How many answers were taken back (by this key so far), how many could not be (changed meanwhile, or their content is gone),

    how many are left: a request takes a thousand, and the next with the same key goes on.
    """

    model_config = _like({"withdrawn": 37, "refused": 0, "left": 0})

    withdrawn: int
    refused: int
    left: int


def crowd_routes(ctx: LabelingContext) -> APIRouter:
    """Nothing here is for annotators: who knows what gold is can tell it from the rest."""
    router = guarded_router(ctx.door, prefix="/v1")
    _looking(router, ctx)
    _judging(router, ctx)
    return router


def _looking(router: APIRouter, ctx: LabelingContext) -> None:
    @router.get("/projects/{name}/crowd")
    async def crowd(name: str, _: Manager) -> CrowdOut:
        """Accuracy on gold with its interval, agreement, speed and cost, of the project and of each person."""
        ctx.check_project(name)
        return await _crowd(ctx, people_of(ctx))

    @router.post("/projects/{name}/gold", status_code=201)
    async def keep_gold(name: str, body: GoldIn, who: Reviewer, key: KeyIfAny) -> GoldOut:
        """Make gold of a task: of one that is proposed, or of any whose answer is certain. Again: the same piece.

        With another answer than it has: 409, and the gold stays as it is.
        """
        ctx.check_project(name)
        wanted, people = task_id(body.task_id), people_of(ctx)
        if body.answer not in await ctx.schema.classes():
            raise Invalid("The answer is not one of the project's classes.", fix="Choose one of `classes`.")
        kept = Kept(body.answer, who.name, _nonce(), body.reason)
        _check_said(await begun(ctx.audit, who, Action.PROJECT_CHANGED, key), wanted, kept)
        async with people.making(wanted):
            made = people.made_of(wanted) or await _made(ctx, people, wanted, kept, key)
        _check_answer(made.gold, body.answer)
        return GoldOut(gold_id=made.task_id)


def _nonce() -> str:
    return secrets.token_hex(16)


async def _made(ctx: LabelingContext, people: People, wanted: str, kept: Kept, key: str) -> Made:
    """Gold of a task: as the audit trail says first, which may be another process's word. Raises NotFound, Conflict."""
    said = await said_on(ctx)
    proposed = {proposal.task_id for proposal in people.proposed()}
    task = await task_content(ctx, wanted, proposed, erased_in(said))
    if task is None or task.gold:
        raise no_task()
    first = kept_in(said, wanted)
    if first is None and ctx.audit is not None:
        said_now = await ctx.audit.append(kept.maker, Action.PROJECT_CHANGED, wanted, str(kept), key)
        _check_said(said_now, wanted, kept)
        first = kept_in(await said_on(ctx), wanted)
    first = first or kept
    _check_answer(first.answer, kept.answer)
    made = await people.keep_gold(task, first)
    if made is None:
        raise no_task()
    return made


def _check_said(before: AuditRecord | None, wanted: str, kept: Kept) -> None:
    """Raise Refused where the record that has this request's key says something else."""
    if before is None:
        return
    first = kept_in([before], wanted)
    if first is None or (first.answer, first.reason) != (kept.answer, kept.reason):
        raise refused(Refusal.KEY_REUSED)


def _check_answer(stands: str, said: str) -> None:
    if stands != said:
        fix = "Leave it, or send that answer to learn its gold_id: the answer of gold does not change."
        raise Conflict(f"This task is gold already, with the answer {stands!r}.", fix=fix)


def _judging(router: APIRouter, ctx: LabelingContext) -> None:
    def somebody(person: str) -> People:
        """Those who know this person. Raises NotFound."""
        people = people_of(ctx)
        if not _PERSON.fullmatch(person) or person not in people.figures.names():
            raise NotFound("Nobody of this name has answered here.", fix="`GET .../crowd` lists who has.")
        return people

    @router.post("/projects/{name}/people/{person}:resume", status_code=204)
    async def resume(name: str, person: str, who: Manager, key: KeyIfAny) -> None:
        """Let a person who was paused go on: until their next answer to gold, which is judged with all before it."""
        ctx.check_project(name)
        people = somebody(person)
        before = await begun(ctx.audit, who, Action.ANNOTATOR_RESUMED, key)
        if ctx.audit is not None:
            words = f"after {people.figures.standing(person).asked} answers to gold"
            record = await ctx.audit.append(who.name, Action.ANNOTATOR_RESUMED, person, words, key)
            check_same(record, person, words_of(record))
        # Sent again it must not let them go on after gold that they were asked since.
        found = _RESUMED.fullmatch(words_of(before)) if before else None
        await people.forgive(person, int(found[1]) if found else None)

    @router.post("/projects/{name}/people/{person}:reopen")
    async def reopen(name: str, person: str, body: ReopenIn, who: Manager, key: KeyIfAny) -> ReopenOut:
        """Take a person's recent answers back: labels that counted them are withdrawn or decided anew, the tasks go to others.

        Gold stays as it was answered. The log is read for it, which takes some seconds per million answers.
        """
        ctx.check_project(name)
        people = somebody(person)
        before = await begun(ctx.audit, who, Action.ANSWERS_REOPENED, key)
        answers = await ctx.withdrawals.answers_of(person)
        deed = Deed(who.name, key, body.since_ms, body.last, before.time_ms if before else inf)
        wanted = to_reopen(answers, people.bank, deed)
        if ctx.audit is not None:
            words = f"{len(wanted)} answers: {body.reason}"
            record = await ctx.audit.append(who.name, Action.ANSWERS_REOPENED, person, words, key)
            then, *_ = words_of(record).partition(" ")  # how many they were when it was begun
            check_same(record, person, f"{then} answers: {body.reason}")
        done = await ctx.withdrawals.reopen(who.name, wanted[:_AT_ONCE], deed.prefix)
        ctx.doorbell.ring()
        withdrawn = len(deed.done(answers)) + done.withdrawn
        return ReopenOut(withdrawn=withdrawn, refused=done.refused, left=max(0, len(wanted) - _AT_ONCE))


async def _crowd(ctx: LabelingContext, people: People) -> CrowdOut:
    figures = people.figures.snapshot()
    # It takes a good part of a second where the window is full: not on the loop that people wait for.
    all_of_it, everybody = await asyncio.to_thread(lambda: (figures.project(), figures.people()))
    spent = people.spent()
    return CrowdOut(
        answers=all_of_it.answers,
        labels=all_of_it.labels,
        gold=_standing(all_of_it.gold),
        gold_pieces=len(people),
        alpha=all_of_it.alpha,
        fleiss=all_of_it.fleiss,
        disagreement=all_of_it.disagreement,
        work_s=all_of_it.work_s,
        spent=spent,
        cost_cap=ctx.project.labeling.cost_cap,
        cost_per_label=spent / all_of_it.labels if all_of_it.labels else None,
        people=tuple(_person(people, person) for person in everybody),
    )


def _person(people: People, person: PersonFigures) -> PersonOut:
    return PersonOut(
        name=person.name,
        answers=person.answers,
        skips=person.skips,
        gold=_standing(person.gold),
        agreement=person.agreement,
        kappa=person.kappa,
        median_s=person.median_s,
        pace=person.pace,
        per_day=person.per_day,
        paused=people.refusal(person.name) is Refusal.PAUSED,
        suspected=people.suspected(person.name),
    )


def _standing(standing: Standing) -> StandingOut:
    least, most = standing.interval
    return StandingOut(right=standing.right, asked=standing.asked, least=least, most=most)

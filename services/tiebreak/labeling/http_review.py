"""What is in dispute, for the reviewer who holds it: the answers, the notes, and how sure the consensus is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import ConfigDict

from tiebreak.contracts.project import Project
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_models import Out
from tiebreak.labeling.http_security import guarded_router, needs
from tiebreak.labeling.http_tasks import task_id
from tiebreak.labeling.port_review import Dispute, DisputedAnswer, pseudonym

Reviewer = Annotated[Principal, Depends(needs(Right.REVIEW))]
Consensus = Literal["majority", "weighted", "dawid_skene", "agreement"]

_TASK = "0f6c1e9ab2d44c3f8a7b5d6e9f012345"
_CAT = {
    "by": "A",
    "annotator": "",
    "value": "cat",
    "state": "submitted",
    "comment": "The ears.",
    "flagged": False,
    "submitted_ms": 1_764_000_000_000,
    "lead_time_s": 2.4,
    "answer_schema_version": "1.2",
}
_SKIP = {**_CAT, "by": "B", "value": "", "state": "skipped", "comment": "Too dark.", "flagged": True}
_DOG = {**_CAT, "by": "C", "value": "dog", "state": "late", "comment": ""}
_SHARES = [{"value": "cat", "share": 0.62}, {"value": "dog", "share": 0.38}]
_SO_FAR = {"consensus": "dawid_skene", "shares": _SHARES}


def _like(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class AnswerOut(Out):
    """What one person said. ``by`` stands for them in this task and nowhere else; ``annotator`` is empty but for managers.

    ``state``: ``submitted``, ``late`` (the lease was over) or ``skipped``, where ``comment`` is the reason. ``value`` of what is no
    class is JSON, as in your own answers.
    """

    model_config = _like(_CAT)

    by: str
    annotator: str
    value: str
    state: Literal["submitted", "late", "skipped"]
    comment: str
    flagged: bool
    submitted_ms: int
    lead_time_s: float
    answer_schema_version: str


class ShareOut(Out):
    """How much speaks for a value, 0 to 1."""

    model_config = _like(_SHARES[0])

    value: str
    share: float


class SoFarOut(Out):
    """What the answers amount to, the likeliest first, at most twenty.

    ``shares`` by ``consensus``: ``dawid_skene`` has the probability of each class by what is known of these people, ``majority`` the
    share of the answers, ``weighted`` that of the weights; ``agreement`` (answers that are no classes) what people share, and how far.
    """

    model_config = _like(_SO_FAR)

    consensus: Consensus
    shares: tuple[ShareOut, ...]


class AnswersOut(Out):
    """What is in dispute, who answered first first. ``so_far``: null where the consensus has no word, as where all skipped."""

    model_config = _like({"task_id": _TASK, "answers": [_CAT, _SKIP, _DOG], "so_far": _SO_FAR})

    task_id: str
    answers: tuple[AnswerOut, ...]
    so_far: SoFarOut | None


def review_routes(ctx: LabelingContext) -> APIRouter:
    """One route. It shows nothing of a task that is still answered blind, to whatever role."""
    router = guarded_router(ctx.door, prefix="/v1")
    consensus = consensus_named(ctx.project)

    @router.get("/tasks/{task}/answers")
    async def answers(task: str, who: Reviewer) -> AnswersOut:
        """What people said about a task in review that you hold.

        Answers, notes, flags, skips with their reasons, and how sure the consensus is. Of a task that is not in review, or not in
        your hands, you are told nothing (409, 404). Ask again when your lease is renewed: an answer may be taken back, or come late,
        while you look.
        """
        dispute = await ctx.queue.dispute(who.name, task_id(task))
        return answers_out(task, dispute, consensus, named=who.may(Right.MANAGE))

    return router


def consensus_named(project: Project) -> Consensus:
    """What the shares of a project's disputes are."""
    return "agreement" if project.labeling.answer.kind.is_structured else project.labeling.consensus


def answers_out(task: str, dispute: Dispute, consensus: Consensus, *, named: bool) -> AnswersOut:
    """A dispute as it is shown; ``named``: with the people's names."""
    shares = tuple(ShareOut(value=value, share=share) for value, share in dispute.shares.items())
    return AnswersOut(
        task_id=task,
        answers=tuple(_answer_out(answer, named) for answer in dispute.answers),
        so_far=SoFarOut(consensus=consensus, shares=shares) if shares else None,
    )


def _answer_out(answer: DisputedAnswer, named: bool) -> AnswerOut:
    return AnswerOut(
        by=pseudonym(answer.place),
        annotator=answer.annotator if named else "",
        value=answer.value,
        state=answer.state.value,
        comment=answer.note,
        flagged=answer.flagged,
        submitted_ms=answer.submitted_ms,
        lead_time_s=answer.lead_time_s,
        answer_schema_version=answer.schema,
    )

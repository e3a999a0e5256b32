"""Accepting an answer: promise, publish, confirm. Whoever got a 2xx has an answer that is on the log with ``acks=all``.

A crash between any two steps heals: before the publish, the person's retry finds the same promise; after it, the settler folds
the answer from the log whether or not it was confirmed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import orjson
import structlog

from tiebreak.contracts.errors import Invalid, NotFound, PublishFailed, SlowDown, TiebreakError
from tiebreak.contracts.ids import annotation_id
from tiebreak.contracts.log import Message, Outputs, Writer
from tiebreak.contracts.messages import Annotation, AnnotationState
from tiebreak.contracts.project import AnswerKind, Project
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.answers import MAX_OFFSET, canonical
from tiebreak.labeling.consensus import COUNTS
from tiebreak.labeling.lifecycle import class_of
from tiebreak.labeling.payloads import shown
from tiebreak.labeling.port import Act, Answer, Claimed, Lease, Queue, Receipt, Refusal
from tiebreak.labeling.refusals import no_answer, refused
from tiebreak.labeling.schema_versions import SchemaVersion
from tiebreak.labeling.stage import annotation_message
from tiebreak.labeling.stage_schema import Schema
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.together import Together

_log = structlog.get_logger("tiebreak.labeling")
# Answers of one moment go to the log in one request, up to this many.
_MOST = 500
# How long the log may take to acknowledge them.
_PUBLISH_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Submission:
    """What a person says about a task. ``lead_time_s``: active time as the page measured it, None when it did not.

    ``schema``: the version of the schema that they saw, empty: the newest.
    """

    act: Act
    task_id: str
    key: str
    token: int = 0
    value: str = ""
    comment: str = ""
    flagged: bool = False
    lead_time_s: float | None = None
    schema: str = ""

    def digest(self) -> str:
        """The same for the same request, whatever the order of its fields on the wire."""
        content = (self.act, self.task_id, self.token, self.value, self.comment, self.flagged, self.lead_time_s)
        return sha256(orjson.dumps((*content, self.schema) if self.schema else content)).hexdigest()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The annotation as it is on the log; after an undo the task's new lease; and what the person holds next, if they asked."""

    annotation: Annotation
    lease: Lease | None
    next: Claimed | None = None


async def give_back(queue: Queue, name: str, claimed: Claimed) -> None:
    """Release what was claimed for somebody who is then refused: they hear why, whatever becomes of this. Else its lease ends it."""
    for lease in claimed.leases:
        try:
            await queue.release(name, lease.task.task_id, lease.token)
        except TiebreakError as error:
            _log.warning("lease_not_given_back", error=type(error).__name__)


def _nobody(_name: str) -> bool:
    """For processes that do not follow their people."""
    return False


async def _trusted() -> None:
    """For callers whose right to answer was looked up just now."""


class Desk:
    """Takes people's answers. ``is_suspect`` says whose settle nothing alone."""

    def __init__(
        self,
        project: Project,
        queue: Queue,
        writer: Writer,
        metrics: Metrics,
        schema: Schema,
        is_suspect: Callable[[str], bool] = _nobody,
    ) -> None:
        self._project = project
        self._queue = queue
        self._writer = writer
        self._metrics = metrics
        self._schema = schema
        self._is_suspect = is_suspect
        self._publishing = Together(self._publish, _MOST)

    async def accept(
        self, who: Principal, said: Submission, *, want: int = 0, still: Callable[[], Awaitable[None]] = _trusted
    ) -> Accepted:
        """Durable when it returns. Raises Invalid, NotFound, Refused, or SlowDown and PublishFailed (retry with the same key).

        ``want`` > 0: the person then holds so many tasks, as after a claim. ``still`` raises when they lost the right to answer; it
        is asked once the queue has answered, before anything is on the log.
        """
        seen = await self._schema.seen(said.schema)
        value = await self._value(said) if said.act is Act.VOTE else ""
        answer = Answer(said.act, said.task_id, who.name, said.key, said.digest(), said.token)
        receipt, claimed = await self._promised(answer, want, review=who.may(Right.REVIEW))
        try:
            await still()
        except TiebreakError:
            if claimed is not None:
                await give_back(self._queue, who.name, claimed)
            raise
        annotation = self._annotation(who, said, receipt, (value, seen))
        await self._publishing.ask(annotation_message(annotation))
        lease: Lease | None = None
        if receipt.state is AnnotationState.WITHDRAWN:
            lease = await self._queue.confirm(annotation, counted=receipt.counted)
        else:
            self._queue.note(annotation, counted=receipt.counted)
        if not receipt.counted:
            raise refused(Refusal.SETTLED)
        self._metrics.count("tiebreak_labeling_answers_total", act=said.act)
        if said.act is Act.VOTE:
            self._metrics.observe("tiebreak_labeling_work_seconds", _elapsed_s(receipt))
        return Accepted(annotation, lease, claimed)

    async def _promised(self, answer: Answer, want: int, *, review: bool) -> tuple[Receipt, Claimed | None]:
        if want:
            return await self._queue.prepare_next(answer, want, review=review)
        try:
            return await self._queue.prepare(answer), None
        except NotFound:
            if answer.act in {Act.UNDO, Act.WITHDRAW}:
                raise no_answer() from None
            raise

    async def _publish(self, messages: Sequence[Message]) -> Sequence[None]:
        try:
            async with asyncio.timeout(_PUBLISH_TIMEOUT_S):
                await self._writer.publish(Outputs(messages=messages))
        except PublishFailed as error:
            # People are told to try again; why it failed is for who runs this.
            _log.warning("answers_not_on_the_log", answers=len(messages), error=str(error))
            raise
        except TimeoutError as error:
            _log.warning("answers_not_on_the_log", answers=len(messages), waited_s=_PUBLISH_TIMEOUT_S)
            raise SlowDown(
                "The log does not answer, so the answer is not safe yet.",
                fix="Retry with the same Idempotency-Key.",
            ) from error
        return [None] * len(messages)

    async def _value(self, said: Submission) -> str:
        classes, answer, value = self._project.classes, self._project.labeling.answer, said.value
        if value in classes.names and not answer.kind.is_structured:
            return value
        if answer.kind is AnswerKind.SPANS:
            return canonical(answer, classes.names, value, await self._length(said.task_id))
        if not classes.open:
            return canonical(answer, classes.names, value)
        known = await self._schema.classes()
        if (meant := class_of(value, known)) in known:
            return meant
        raise Invalid(
            "value: is not one of the project's classes.",
            fix="Choose one of `classes`, or add it to them first: POST /v1/projects/{name}/classes.",
        )

    async def _length(self, task_id: str) -> int:
        """Of the task's text, as it is shown; without bound where there is none, or it is not here any more."""
        task = await self._queue.look(task_id)
        seen = shown(task.payload) if task is not None else None
        return len(seen.text) if seen is not None and seen.kind == "text" else MAX_OFFSET

    def _annotation(
        self, who: Principal, said: Submission, receipt: Receipt, answered: tuple[str, SchemaVersion]
    ) -> Annotation:
        value, seen = answered
        elapsed_s = _elapsed_s(receipt)
        voted = receipt.state in COUNTS
        return Annotation(
            annotation_id=annotation_id(said.task_id, who.name),
            task_id=said.task_id,
            project=self._project.project,
            annotator=who.name,
            revision=receipt.revision,
            state=receipt.state,
            value=value,
            lease_token=receipt.token,
            # A page can measure active time better than we can, but not more of it than there was.
            lead_time_s=elapsed_s if said.lead_time_s is None else min(said.lead_time_s, elapsed_s),
            claimed_ms=receipt.claimed_ms,
            submitted_ms=receipt.accepted_ms,
            schema_version=seen.declared,
            comment=said.comment,
            flagged=said.flagged,
            idempotency_key=said.key,
            reviewer=voted and receipt.review and who.may(Right.REVIEW),
            schema_added=seen.added,
            # On the log with the answer: what it counts is then the same for whoever reads it, and again after a loss.
            suspect=voted and self._is_suspect(who.name),
        )


def _elapsed_s(receipt: Receipt) -> float:
    return max(0, receipt.accepted_ms - receipt.claimed_ms) / 1000

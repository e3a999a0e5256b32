"""The bodies of the API. What an annotator receives has no field for a score, a reason, audit or gold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from tiebreak.contracts.codec import dump_json
from tiebreak.contracts.messages import PayloadKind
from tiebreak.labeling.access import Role
from tiebreak.labeling.payloads import Cell
from tiebreak.labeling.port import Act, Done
from tiebreak.labeling.schema_versions import PATTERN
from tiebreak.labeling.stage_answers import Submission

Seconds = Annotated[float, Field(ge=0.0, le=86_400.0)]
Token = Annotated[int, Field(ge=0, lt=2**53)]


_TASK = "0f6c1e9ab2d44c3f8a7b5d6e9f012345"
_ANNOTATION = "7d1a0b5c3e8f49219c64d2f0a1b3c5e7"
_NOW = 1_764_000_000_000
_TOKEN = _NOW * 1000 + 1
_PAYLOAD = {"kind": "text", "media_type": "text/plain", "text": "It purrs.", "image": "", "columns": []}
_LEASE = {
    "id": f"{_TASK}.{_TOKEN}",
    "token": _TOKEN,
    "claimed_ms": _NOW,
    "deadline_ms": _NOW + 60_000,
    "lease_s": 60.0,
}
_TASK_OUT = {
    "task_id": _TASK,
    "lease": _LEASE,
    "payload": _PAYLOAD,
    "schema_version": 1,
    "answer_schema_version": "1.2",
    "in_review": False,
}
_DONE = {
    "annotation_id": _ANNOTATION,
    "task_id": _TASK,
    "value": "cat",
    "state": "submitted",
    "revision": 1,
    "at_ms": _NOW + 2400,
}
_ME = {"name": "ann", "role": "annotator", "answered": 41}


def _like(*examples: dict[str, Any]) -> ConfigDict:
    """What the OpenAPI document shows of a model."""
    return ConfigDict(json_schema_extra={"examples": list(examples)})


class Body(BaseModel):
    """What may be sent: nothing unknown, no coercion, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Out(BaseModel):
    """What is answered."""

    model_config = ConfigDict(frozen=True)


class ClaimIn(Body):
    """How many tasks to hold (prefetch), how long to wait for the first, and which of your skills to use (none named: all).

    Tasks that need no skill are offered either way.
    """

    model_config = _like({"max": 2, "wait_ms": 5000})

    max: Annotated[int, Field(ge=1, le=10)] = 1
    wait_ms: Annotated[int, Field(ge=0, le=30_000)] = 0
    skills: Annotated[tuple[str, ...], Field(max_length=20, strict=False)] = ()


class VoteIn(Body):
    """An answer: ``value`` names a class, ``answer`` is JSON of the project's ``answer_schema``; one of the two.

    ``lead_time_s`` is active time as the page measured it. ``answer_schema_version``: the one that was in front of the annotator, so
    that the answer says what they could choose from; left out, it is the newest.
    """

    model_config = _like(
        {"lease_token": _TOKEN, "value": "cat", "lead_time_s": 2.4, "answer_schema_version": "1.2"},
        {"lease_token": _TOKEN, "answer": [{"start": 3, "end": 8, "label": "cat"}], "lead_time_s": 4.1},
    )

    lease_token: Token
    value: Annotated[str, StringConstraints(max_length=200)] = ""
    answer: JsonValue = None
    lead_time_s: Seconds | None = None
    comment: Annotated[str, StringConstraints(max_length=2000)] = ""
    flagged: bool = False
    answer_schema_version: Annotated[str, StringConstraints(pattern=rf"^({PATTERN})?$")] = ""

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if bool(self.value) == (self.answer is not None):
            raise ValueError("give_either_value_or_answer")
        return self


class SkipIn(Body):
    """A skip, with why."""

    model_config = _like({"lease_token": _TOKEN, "reason": "The picture does not load."})

    lease_token: Token
    reason: Annotated[str, StringConstraints(max_length=500)] = ""
    flagged: bool = False
    lead_time_s: Seconds | None = None


class ClassIn(Body):
    """A class to add to an open set."""

    model_config = _like({"name": "ferret"})

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class PayloadOut(Out):
    """What to look at: one of ``text``, ``image`` (base64) and ``columns``, by ``kind``."""

    model_config = _like(_PAYLOAD)

    kind: Literal["text", "image", "table", "none"]
    media_type: str
    text: str
    image: str
    columns: tuple[tuple[str, Cell], ...]


class LeaseOut(Out):
    """``token`` only grows. Renew before ``deadline_ms`` (the server's clock; ``lease_s`` is the same as a duration)."""

    model_config = _like(_LEASE)

    id: str
    token: int
    claimed_ms: int
    deadline_ms: int
    lease_s: float


class TaskOut(Out):
    """A task in your hands. ``schema_version``: the schema's when it was made; ``answer_schema_version``: what it is to be answered by,

    to be sent back with the answer. It grows when the project file's does (``2``), and with each class that people add (``2.1``).
    ``in_review``: people disagree, `GET /v1/tasks/{task}/answers` says how, and what you say settles it; false for who may not review.
    """

    model_config = _like(_TASK_OUT)

    task_id: str
    lease: LeaseOut
    payload: PayloadOut
    schema_version: int
    answer_schema_version: str
    in_review: bool = False


class ClaimOut(Out):
    """``reason`` says why there is nothing; come back after ``retry_after_s``."""

    model_config = _like(
        {"tasks": [_TASK_OUT], "reason": None, "retry_after_s": 0.0},
        {"tasks": [], "reason": "all_leased", "retry_after_s": 20.0},
    )

    tasks: tuple[TaskOut, ...]
    reason: Literal["no_tasks", "all_leased", "none_for_you"] | None = None
    retry_after_s: float = 0.0


class AnnotationOut(Out):
    """Your answer as it is on the log. ``state`` is ``late`` when the lease had expired; it counts while a vote is wanted.

    ``task`` is there after an undo that gave you the task back, ``next`` where you asked for further tasks.
    """

    model_config = _like(
        {
            "annotation_id": _ANNOTATION,
            "task_id": _TASK,
            "value": "cat",
            "state": "submitted",
            "revision": 1,
            "submitted_ms": _NOW + 2400,
            "undo_s": 10.0,
            "task": None,
        }
    )

    annotation_id: str
    task_id: str
    value: str
    state: str
    revision: int
    submitted_ms: int
    undo_s: float
    task: TaskOut | None = None
    next: ClaimOut | None = None


class RenewOut(Out):
    """The new deadline, and whether the task is in review by now, as a claim says it."""

    model_config = _like({"deadline_ms": _NOW + 90_000, "lease_s": 60.0, "in_review": False})

    deadline_ms: int
    lease_s: float
    in_review: bool = False


class DoneOut(Out):
    """One of your answers."""

    model_config = _like(_DONE)

    annotation_id: str
    task_id: str
    value: str
    state: str
    revision: int
    at_ms: int


class HistoryOut(Out):
    """Your newest answers and skips, one line each. ``answered``: how many answers stand in all, skips aside."""

    model_config = _like({"annotations": [_DONE], "answered": 41})

    annotations: tuple[DoneOut, ...]
    answered: int


class MeOut(Out):
    """Who you are here. ``answered``: how many of your answers stand; a skip is none."""

    model_config = _like(_ME)

    name: str
    role: Role
    answered: int


class ProjectOut(Out):
    """What an annotator needs to know of the project."""

    model_config = _like(
        {
            "project": "pets",
            "description": "Pets of the neighbourhood",
            "question": "Which animal is this?",
            "guidelines": "Choose what is in front.",
            "classes": ["cat", "dog", "bird"],
            "classes_open": True,
            "payload": "text",
            "lease_s": 60.0,
            "undo_s": 10.0,
            "schema_version": 1,
            "answer_schema_version": "1",
            "answer_schema": {"type": "string", "enum": ["cat", "dog", "bird"]},
            "open_tasks": 12,
            "you": _ME,
        }
    )

    project: str
    description: str
    question: str
    guidelines: str
    classes: tuple[str, ...]
    classes_open: bool
    payload: PayloadKind
    lease_s: float
    undo_s: float
    schema_version: int
    answer_schema_version: str
    answer_schema: dict[str, Any]
    open_tasks: int
    you: MeOut


class ClassOut(Out):
    """The class as it is now known: an existing one where only case or spaces differed."""

    model_config = _like({"name": "ferret"})

    name: str


class RevealIn(Body):
    """Why somebody must see the original. It is written to the audit trail, word for word."""

    model_config = _like({"reason": "The customer asked us to check the number."})

    reason: Annotated[str, StringConstraints(min_length=3, max_length=500, strip_whitespace=True)]


class RevealOut(Out):
    """The payload as the producer sent it, and the number of the record of this on the audit trail."""

    model_config = _like({"task_id": _TASK, "payload": _PAYLOAD, "audit_sequence": 17})

    task_id: str
    payload: PayloadOut
    audit_sequence: int


def _said(vote: VoteIn) -> str:
    if vote.answer is None:
        return vote.value
    return vote.answer if isinstance(vote.answer, str) else dump_json(vote.answer).decode()


def vote_of(task_id: str, key: str, vote: VoteIn) -> Submission:
    """The body of an answer as the desk takes it."""
    return Submission(
        act=Act.VOTE,
        task_id=task_id,
        key=key,
        token=vote.lease_token,
        value=_said(vote),
        comment=vote.comment,
        flagged=vote.flagged,
        lead_time_s=vote.lead_time_s,
        schema=vote.answer_schema_version,
    )


def done_out(done: Done) -> DoneOut:
    """One line of a person's history."""
    return DoneOut(
        annotation_id=done.annotation_id,
        task_id=done.task_id,
        value=done.value,
        state=done.state,
        revision=done.revision,
        at_ms=done.at_ms,
    )

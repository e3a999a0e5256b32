"""What the API answers, as frozen dataclasses. A field that a newer server adds is ignored."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Payload:
    """What to look at: ``text``, ``image`` (bytes) or ``columns``, by ``kind`` (``text``, ``image``, ``table``, ``none``)."""

    kind: str
    media_type: str
    text: str
    image: bytes
    columns: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to answer, until ``deadline_ms`` by the server's clock; ``lease_s`` is its whole length."""

    id: str
    token: int
    claimed_ms: int
    deadline_ms: int
    lease_s: float


@dataclass(frozen=True, slots=True)
class Task:
    """A task in your hands. ``answer_schema_version``: of the schema to answer by; it goes back with the answer."""

    task_id: str
    lease: Lease
    payload: Payload
    schema_version: int
    answer_schema_version: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """``tasks``, or why there are none and when to come back."""

    tasks: tuple[Task, ...]
    reason: str
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Annotation:
    """Your answer as it is on the log. ``state`` ``late``: the lease was over; it counts while a vote is wanted.

    ``task``: after an undo, the task in your hands again, unless somebody else has it. ``next``: the tasks in your hands after it,
    where you asked for any.
    """

    annotation_id: str
    task_id: str
    value: str
    state: str
    revision: int
    submitted_ms: int
    undo_s: float
    task: Task | None
    next: Claim | None = None


@dataclass(frozen=True, slots=True)
class Renewed:
    """The new deadline."""

    deadline_ms: int
    lease_s: float


@dataclass(frozen=True, slots=True)
class Done:
    """One of your answers."""

    annotation_id: str
    task_id: str
    value: str
    state: str
    revision: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class History:
    """Your newest answers, and how many stand in all."""

    annotations: tuple[Done, ...]
    answered: int


@dataclass(frozen=True, slots=True)
class Me:
    """Who you are here."""

    name: str
    role: str
    answered: int


@dataclass(frozen=True, slots=True)
class ProjectInfo:
    """What an annotator needs to know of the project."""

    project: str
    description: str
    question: str
    guidelines: str
    classes: tuple[str, ...]
    classes_open: bool
    payload: str
    lease_s: float
    undo_s: float
    schema_version: int
    open_tasks: int
    you: Me
    answer_schema_version: str = ""


@dataclass(frozen=True, slots=True)
class Reopened:
    """Answers taken back; those that could not be; those left: ask again, a request takes a thousand."""

    withdrawn: int
    refused: int
    left: int


Json = Mapping[str, Any]


def _plain(kind: type[Any], raw: Json, **others: object) -> Any:
    names = kind.__dataclass_fields__.keys() - others.keys()
    return kind(**{name: raw[name] for name in names}, **others)


def task_of(raw: Json) -> Task:
    """A task of a claim."""
    seen = raw["payload"]
    payload = Payload(
        kind=seen["kind"],
        media_type=seen["media_type"],
        text=seen["text"],
        image=b64decode(seen["image"]),
        columns=tuple((name, value) for name, value in seen["columns"]),
    )
    return Task(
        raw["task_id"],
        _plain(Lease, raw["lease"]),
        payload,
        raw["schema_version"],
        raw.get("answer_schema_version", ""),
    )


def claim_of(raw: Json) -> Claim:
    """The answer to a claim."""
    return Claim(tuple(task_of(task) for task in raw["tasks"]), raw["reason"] or "", raw["retry_after_s"])


def annotation_of(raw: Json) -> Annotation:
    """The answer to a vote, a skip or an undo."""
    task, following = raw.get("task"), raw.get("next")
    made: Annotation = _plain(
        Annotation,
        raw,
        task=task_of(task) if task else None,
        next=claim_of(following) if following else None,
    )
    return made


def renewed_of(raw: Json) -> Renewed:
    """The answer to a heartbeat."""
    made: Renewed = _plain(Renewed, raw)
    return made


def history_of(raw: Json) -> History:
    """One's own answers."""
    return History(tuple(_plain(Done, line) for line in raw["annotations"]), raw["answered"])


def me_of(raw: Json) -> Me:
    """Who one is."""
    made: Me = _plain(Me, raw)
    return made


def project_of(raw: Json) -> ProjectInfo:
    """The project."""
    made: ProjectInfo = _plain(
        ProjectInfo,
        raw,
        you=me_of(raw["you"]),
        classes=tuple(raw["classes"]),
        answer_schema_version=raw.get("answer_schema_version", ""),
    )
    return made


def reopened_of(raw: Json) -> Reopened:
    """The answer to a reopening."""
    made: Reopened = _plain(Reopened, raw)
    return made


def class_of(raw: Json) -> str:
    """The class as it is now known."""
    return str(raw["name"])


def nothing_of(_: Json) -> None:
    """An answer without a body."""

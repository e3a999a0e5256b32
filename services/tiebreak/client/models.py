"""What the API answers, as frozen dataclasses. A field that a newer server adds is ignored."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar, Protocol, TypeVar


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Json = Mapping[str, Any]
T = TypeVar("T", bound=_Dataclass)


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
    """A task in your hands. ``answer_schema_version``: of the schema to answer by; it goes back with the answer.

    ``in_review``: people disagree, `answers` says how, and what you say settles it; false for who may not review.
    """

    task_id: str
    lease: Lease
    payload: Payload
    schema_version: int
    answer_schema_version: str = ""
    in_review: bool = False


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
    """The new deadline, and whether the task is in review by now."""

    deadline_ms: int
    lease_s: float
    in_review: bool = False


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
    """Your newest answers and skips, and how many answers stand in all."""

    annotations: tuple[Done, ...]
    answered: int


@dataclass(frozen=True, slots=True)
class Me:
    """Who you are here. ``answered``: how many of your answers stand; a skip is none."""

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


@dataclass(frozen=True, slots=True)
class Revealed:
    """A payload as the producer sent it; ``audit_sequence``: the record on the trail of who saw it."""

    task_id: str
    payload: Payload
    audit_sequence: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How gold was answered; ``least`` and ``most`` are the 95 % interval of the accuracy."""

    right: int
    asked: int
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Person:
    """One annotator. ``pace``: their time over that of others on the same tasks. None: nothing to say yet."""

    name: str
    answers: int
    skips: int
    gold: Standing
    agreement: float | None
    kappa: float | None
    median_s: float | None
    pace: float | None
    per_day: float
    paused: bool
    suspected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A settled task that would make gold: ``votes`` people gave ``answer``, nobody another."""

    task_id: str
    answer: str
    confidence: float
    votes: int
    payload: Payload


@dataclass(frozen=True, slots=True)
class Crowd:
    """The project and everybody in it. ``work_s``: percentiles 50, 90, 99 of the time on a task. None: nothing to say yet."""

    answers: int
    labels: int
    gold: Standing
    gold_pieces: int
    alpha: float | None
    fleiss: float | None
    disagreement: float | None
    work_s: tuple[float, float, float] | None
    spent: float
    cost_cap: float | None
    cost_per_label: float | None
    people: tuple[Person, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a model, by whom (``gate`` or a person) and why. ``share`` of the events a canary answers.

    ``labels`` is the version of the data set that the model was made from, not how many labels trained it.
    """

    version: str
    event: str
    parent: str
    labels: int
    share: float
    reasons: tuple[str, ...]
    by: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class Models:
    """What serves, what a rollback goes to, who pinned it (empty: nobody), and the newest decisions, oldest first."""

    champion: str
    previous: str
    pinned: str
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its manifest without the labels, how many they are, its evaluation, and every decision about it."""

    manifest: Json
    labels: int
    report: Json
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """Two models: labels that only one learned from, and each figure as (this, other); None where it has none."""

    only_this: int
    only_other: int
    metrics: Mapping[str, tuple[float | None, float | None]]


def _plain(kind: type[T], raw: Json, **others: object) -> T:
    names = {known.name for known in fields(kind)} - others.keys()
    return kind(**{name: raw[name] for name in names}, **others)


def task_of(raw: Json) -> Task:
    """A task of a claim."""
    return Task(
        raw["task_id"],
        _plain(Lease, raw["lease"]),
        _payload(raw["payload"]),
        raw["schema_version"],
        raw.get("answer_schema_version", ""),
        raw.get("in_review", False),
    )


def _payload(raw: Json) -> Payload:
    columns = tuple((name, value) for name, value in raw["columns"])
    return Payload(raw["kind"], raw["media_type"], raw["text"], b64decode(raw["image"]), columns)


def claim_of(raw: Json) -> Claim:
    """The answer to a claim."""
    return Claim(tuple(task_of(task) for task in raw["tasks"]), raw["reason"] or "", raw["retry_after_s"])


def annotation_of(raw: Json) -> Annotation:
    """The answer to a vote, a skip or an undo."""
    task, following = raw.get("task"), raw.get("next")
    return _plain(
        Annotation,
        raw,
        task=task_of(task) if task else None,
        next=claim_of(following) if following else None,
    )


def renewed_of(raw: Json) -> Renewed:
    """The answer to a heartbeat."""
    return _plain(Renewed, raw, in_review=raw.get("in_review", False))


def history_of(raw: Json) -> History:
    """One's own answers."""
    return History(tuple(_plain(Done, line) for line in raw["annotations"]), raw["answered"])


def me_of(raw: Json) -> Me:
    """Who one is."""
    return _plain(Me, raw)


def project_of(raw: Json) -> ProjectInfo:
    """The project."""
    return _plain(
        ProjectInfo,
        raw,
        you=me_of(raw["you"]),
        classes=tuple(raw["classes"]),
        answer_schema_version=raw.get("answer_schema_version", ""),
    )


def reopened_of(raw: Json) -> Reopened:
    """The answer to a reopening."""
    return _plain(Reopened, raw)


def revealed_of(raw: Json) -> Revealed:
    """An original."""
    return Revealed(raw["task_id"], _payload(raw["payload"]), raw["audit_sequence"])


def proposals_of(raw: Json) -> tuple[Proposal, ...]:
    """What gold could be made of."""
    return tuple(_plain(Proposal, item, payload=_payload(item["payload"])) for item in raw["proposals"])


def crowd_of(raw: Json) -> Crowd:
    """Figures of the project and of people."""
    work_s = tuple(raw["work_s"]) if raw["work_s"] is not None else None
    people = tuple(_person(person) for person in raw["people"])
    return _plain(Crowd, raw, gold=_plain(Standing, raw["gold"]), work_s=work_s, people=people)


def _person(raw: Json) -> Person:
    return _plain(Person, raw, gold=_plain(Standing, raw["gold"]), suspected=tuple(raw["suspected"]))


def decision_of(raw: Json) -> Decision:
    """One decision about a model."""
    return _plain(Decision, raw, reasons=tuple(raw["reasons"]))


def models_of(raw: Json) -> Models:
    """What serves, and what was decided."""
    return Models(raw["champion"], raw["previous"], raw["pinned"], tuple(map(decision_of, raw["decisions"])))


def model_of(raw: Json) -> Model:
    """One model."""
    return Model(raw["manifest"], raw["labels"], raw["report"], tuple(map(decision_of, raw["decisions"])))


def diff_of(raw: Json) -> Diff:
    """Two models."""
    return Diff(raw["only_this"], raw["only_other"], {name: (one, two) for name, (one, two) in raw["metrics"].items()})


def serves_of(raw: Json) -> str:
    """The version that serves now."""
    return str(raw["serves"])


def gold_of(raw: Json) -> str:
    """The piece of gold."""
    return str(raw["gold_id"])


def class_of(raw: Json) -> str:
    """The class as it is now known."""
    return str(raw["name"])


def nothing_of(_: Json) -> None:
    """An answer without a body."""

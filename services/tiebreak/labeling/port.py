"""The queue as a port. Adapters: ``redis.py`` (production) and ``memory.py`` (tests, simulation): one contract suite for both.

Times are Unix milliseconds of the queue's own clock (Redis server time), never of a client. The queue is an index: every
accepted answer is on ``annotations`` first, and everything here can be built again from the topics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, Protocol

from tiebreak.contracts.codec import encode
from tiebreak.contracts.errors import Conflict
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, Payload, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import DAY_MS, Topic
from tiebreak.labeling.port_erasing import Erasing
from tiebreak.labeling.port_review import Renewed, Reviewing
from tiebreak.labeling.routing import Usher
from tiebreak.labeling.settling import Remembered, TaskRecord

KEPT_FOR_ONE = 2
"""So many tasks wait for one person at most: who is best at everything keeps nobody waiting."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Durations in milliseconds."""

    lease_ms: int
    undo_ms: int
    task_ttl_ms: int
    idempotency_ms: int = DAY_MS
    keep_ms: int = DAY_MS  # the grants of a settled task, so that a very late answer is kept too
    pending_ms: int = 10_000
    history: int = 200
    head_start_ms: int = 3_600_000  # of a lane over the next one
    restored_ms: int = (
        60_000  # content that was put back, at least: whoever asked for it takes an answer back within seconds
    )
    ask_best_ms: int = 5000


def settings_for(project: Project) -> QueueSettings:
    """The queue settings that a project file asks for. A receipt tells of an answer, and is not kept longer than answers are."""
    labeling, kept = project.labeling, project.privacy.retention.ordered_ms()
    return QueueSettings(
        lease_ms=round(labeling.lease_s * 1000),
        undo_ms=round(labeling.undo_s * 1000),
        task_ttl_ms=round(labeling.task_ttl_s * 1000),
        head_start_ms=round(labeling.lane_head_start_s * 1000),
        ask_best_ms=round(labeling.ask_best_s * 1000),
        idempotency_ms=min(DAY_MS, kept.get(Topic.ANNOTATIONS, DAY_MS)),
    )


class Question(NamedTuple):
    """The part of a task that people may see."""

    task_id: str
    payload: Payload | None
    schema_version: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A task in one person's hands until ``deadline_ms``; ``token`` is larger than all before it. ``review``: it was in review then."""

    task: Task
    token: int
    claimed_ms: int
    deadline_ms: int
    review: bool = False

    @property
    def question(self) -> Question:
        """What its holder is shown."""
        return Question(self.task.task_id, self.task.payload, self.task.schema_version)


class Empty(StrEnum):
    """Why a claim got nothing. A closed set: the page explains each, and it is a metric label."""

    NO_TASKS = "no_tasks"
    ALL_LEASED = "all_leased"
    NONE_FOR_YOU = "none_for_you"


@dataclass(frozen=True, slots=True)
class Claimed:
    """``leases`` has everything the person holds, up to what was wanted. ``reason`` only when it is empty."""

    leases: tuple[Lease, ...]
    now_ms: int
    reason: Empty | None = None
    retry_after_s: float = 0.0


class Act(StrEnum):
    """What a person does about a task. ``withdraw``: an answer is taken back later, by its author or a manager, for good."""

    VOTE = "vote"
    SKIP = "skip"
    UNDO = "undo"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Answer:
    """A request to accept an act. ``key`` is the Idempotency-Key, ``digest`` stands for the request's whole content.

    ``token`` is the fencing token of the lease; an undo and a withdrawal need none.
    """

    act: Act
    task_id: str
    annotator: str
    key: str
    digest: str
    token: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the queue promised about an answer: the facts that make its annotation, the same for every retry of it.

    ``counted`` False: the task was settled already, so the answer is kept on the log and nothing else. ``review``: the task was
    in dispute, so a reviewer's answer settles it.
    """

    revision: int
    state: AnnotationState
    token: int
    claimed_ms: int
    accepted_ms: int
    counted: bool = True
    review: bool = False


class Refusal(StrEnum):
    """Why an answer was refused (409). A closed set: it is part of the problem's type."""

    STALE_LEASE = "stale_lease"
    SETTLED = "settled"
    ERASED = "erased"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ALREADY_ANSWERED = "already_answered"
    KEY_REUSED = "key_reused"
    IN_PROGRESS = "in_progress"
    TOO_LATE_TO_UNDO = "too_late_to_undo"
    PAUSED = "paused"
    AT_CAP = "at_cap"
    CONTENT_GONE = "content_gone"
    NOT_IN_REVIEW = "not_in_review"


class Refused(Conflict):
    """An answer, renewal or release that the state of the task forbids."""

    def __init__(self, refusal: Refusal, message: str, *, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.refusal = refusal


class Outcome(StrEnum):
    """What applying one annotation of the log found. ``done``: the task left the queue. A closed set: a metric label."""

    NEW = "new"
    DUPLICATE = "duplicate"
    DONE = "done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Applied:
    """``record`` is there for ``new`` and ``duplicate``."""

    outcome: Outcome
    record: TaskRecord | None = None


@dataclass(frozen=True)
class Settlement:
    """A decision taken at ``sequence`` applied answers; the label says whether it settles or takes back."""

    sequence: int
    label: Label

    @cached_property
    def body(self) -> bytes:
        """The label as it is stored and published: encoded once for both."""
        return encode(self.label)


@dataclass(frozen=True, slots=True)
class Reopen:
    """Put the task back on offer if it still has ``sequence`` applied answers.

    ``people``: first to the first of them for whom fewer than :data:`KEPT_FOR_ONE` tasks are kept, for ``ask_best_ms``. ``shares``:
    what the reviewer is told of the answers (``Dispute.shares``).
    """

    task_id: str
    sequence: int
    review: bool
    people: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did. ``let_go``: tasks that were kept for somebody who did not come."""

    leases_expired: int = 0
    tasks_expired: int = 0
    purged: int = 0
    let_go: int = 0

    @property
    def total(self) -> int:
        """How many things changed."""
        return self.leases_expired + self.tasks_expired + self.purged + self.let_go


@dataclass(frozen=True, slots=True)
class Page:
    """Some tasks, and the cursor of the next page (0: there is none)."""

    tasks: Sequence[Task]
    cursor: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of the queue now. ``open_tasks`` has waiting, leased and disputed ones. ``waiting``: in any line but the reviewers'."""

    open_tasks: int
    waiting: int
    leased: int
    in_review: int


@dataclass(frozen=True, slots=True)
class Done:
    """One line of a person's own history, newest first."""

    annotation_id: str
    task_id: str
    value: str
    state: AnnotationState
    revision: int
    at_ms: int


class Queue(Erasing, Reviewing, Protocol):
    """Open tasks, leases and votes of one project. Every method is atomic and may be called again after an unknown outcome.

    Each raises SlowDown while the index is being rebuilt, and Unreachable when the store does not answer.
    """

    async def add(self, tasks: Sequence[Task]) -> int:
        """Put new tasks on offer; one that was ever known, or is about an erased person, is ignored. How many were new."""

    async def claim(
        self,
        annotator: str,
        want: int,
        *,
        review: bool = False,
        skills: Sequence[str] = (),
        routes: Sequence[str] | None = None,
    ) -> Claimed:
        """Make the person hold ``want`` leases and return them; those already held are renewed and come first.

        So a claim whose answer was lost is repeated without harm, and two tabs of one person get the same leases. ``review``:
        disputed tasks come first. Lanes are served by age, each with a head start over the next one (``routing.lane_start``). Never a
        task that the person answered or skipped, or whose answer of theirs is on its way. ``skills``: of the person's, the ones to use
        (none: all). ``routes`` (``routing.routes_of``) are the lines to serve, in order; without it those that the usher says
        (:meth:`LabelingQueue.serve`), who raises Invalid for a skill that the person does not have.
        """

    async def renew(self, annotator: str, task_id: str, token: int) -> Renewed:
        """A full lease from now. Raises Refused (stale, settled) or NotFound (never this person's)."""

    async def release(self, annotator: str, task_id: str, token: int) -> None:
        """Give the task back unanswered. Again: no change. Raises NotFound or Refused like :meth:`renew`."""

    async def prepare(self, answer: Answer) -> Receipt:
        """Check an answer and promise its facts. Nothing is counted yet: the annotation must reach the log first.

        A withdrawal is refused as settled where the task's content is gone: :meth:`restore` it and ask again. The same key and digest
        give the same receipt for a day; the same key with another digest is refused.
        """

    async def prepare_next(self, answer: Answer, want: int, *, review: bool = False) -> tuple[Receipt, Claimed | None]:
        """:meth:`prepare`, then :meth:`claim` for the same person, in one step; None where the answer does not count."""

    async def confirm(self, annotation: Annotation, *, counted: bool) -> Lease | None:
        """The annotation is on the log: end the lease, remember the answer. After an undo, the task's new lease if it is free."""

    def note(self, annotation: Annotation, *, counted: bool) -> None:
        """:meth:`confirm` what is no undo, not waited for: what this object is asked later finds it done, or the settler does it."""

    async def apply(self, annotations: Sequence[Annotation]) -> Sequence[Applied]:
        """Fold annotations, in log order, into their tasks. One already folded (by id and revision) is a duplicate.

        An undo that is folded before it is confirmed leases its task to its author as the confirmation would. While an answer that
        was confirmed has not been folded, its task is on offer to nobody.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Label | None]:
        """Store decisions, first writer wins; what is to be published, or None where the task moved on or left."""

    async def reopen(self, tasks: Sequence[Reopen]) -> None:
        """Offer tasks to further people. One that is held, settled, gone, or has moved on is left alone."""

    async def published(self, labels: Sequence[tuple[str, int]]) -> None:
        """These ``(task_id, revision)`` are on ``labels``: their decisions need not be published again."""

    async def sweep(self, limit: int) -> Swept:
        """Return expired leases, expire stale tasks, drop the content of settled ones. At most ``limit`` of each."""

    async def restore(self, known: Remembered) -> bool:
        """Put a settled task's content back where it was dropped, so that an answer to it can be taken back. Here still: no change.

        Unless one of its answers is taken back it is dropped again after a minute. False: the task did not end by being settled.
        """

    async def look(self, task_id: str) -> Task | None:
        """The task while its content is here: until some time after it settled or expired."""

    async def page(self, cursor: int, limit: int) -> Page:
        """About ``limit`` tasks that have their content, in no order, from ``cursor`` 0 until it is 0 again; one may come twice."""

    async def withdraw(self, task_ids: Sequence[str]) -> int:
        """Take tasks back for good; one that anybody was ever given is left alone. How many left."""

    async def rerank(self, tasks: Sequence[Task]) -> int:
        """Give waiting tasks the place of their ``priority`` as it is now; others are left alone. How many were waiting."""

    async def keep_gold(self, pieces: Sequence[Task]) -> None:
        """Remember gold, to be copied for people. One that is known, or is about an erased person, is ignored."""

    async def gold(self, have: int = 0) -> Sequence[Task] | None:
        """All gold, or None where there are still ``have`` pieces of it."""

    async def forgive(self, name: str, asked: int) -> None:
        """Remember that a manager let this paused person go on after ``asked`` pieces of gold."""

    async def forgiven(self) -> Mapping[str, int]:
        """By person. Lost with the store: who was paused is paused again then."""

    async def stats(self) -> Stats:
        """Counts for gauges and the project page."""

    async def history(self, annotator: str, limit: int) -> Sequence[Done]:
        """The person's newest answers, one line per annotation."""

    async def answered(self, annotator: str) -> int:
        """How many answers of this person stand; a skip is none."""

    async def add_class(self, name: str) -> None:
        """Remember a class that people added (open set). Again: no change."""

    async def classes(self) -> Sequence[str]:
        """The added classes, oldest first."""


class Builder(Queue, Protocol):
    """A queue that works while everybody else is told to slow down: for half a minute after each call."""

    async def keep(self) -> None:
        """Stay the builder, whatever else one does meanwhile. Raises SlowDown where somebody else has become it."""

    async def end_build(self, done: Sequence[tuple[str, int]]) -> None:
        """``done`` tasks (with their label revision) are settled for good; the index is open for everybody."""


class Rebuildable(Protocol):
    """Building a missing index again from the topics, one builder at a time."""

    async def is_built(self) -> bool:
        """Whether the index exists."""

    async def begin_build(self) -> Builder | None:
        """Become the builder of a missing index. None: it exists, or somebody else builds it."""

    async def regrant(self) -> None:
        """Put back the leases that this object gave where the index was built again since; a claim or an answer does so first."""


class LabelingQueue(Queue, Rebuildable, Protocol):
    """What both adapters are."""

    def serve(self, usher: Usher) -> None:
        """From now on ``usher`` says which lines a person is served from."""

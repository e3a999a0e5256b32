"""What the in-memory queue remembers: tasks, offers, leases. Plain data with the few moves that keep it consistent."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from math import inf
from operator import itemgetter

from tiebreak.contracts.messages import Annotation, AnnotationState, Label, Task
from tiebreak.labeling.consensus import Ballot, ballot_of
from tiebreak.labeling.grants import Grant
from tiebreak.labeling.lifecycle import REVIEW, TaskState
from tiebreak.labeling.port import (
    KEPT_FOR_ONE,
    Act,
    Answer,
    Claimed,
    Done,
    Empty,
    QueueSettings,
    Receipt,
    Refusal,
    Stats,
)
from tiebreak.labeling.port_review import note_of
from tiebreak.labeling.refusals import not_found, refused
from tiebreak.labeling.routing import kept_for, lane_start, place_of, route_of
from tiebreak.labeling.settling import Remembered, TaskRecord


class Offers:
    """Tasks on offer on one route, lowest score first."""

    def __init__(self) -> None:
        self._order: list[tuple[float, str]] = []
        self._score: dict[str, float] = {}

    def put(self, task_id: str, score: float) -> None:
        """Add the task; one that is there keeps its place."""
        if task_id not in self._score:
            self._score[task_id] = score
            insort(self._order, (score, task_id))

    def drop(self, task_id: str) -> None:
        """Remove the task if it is there."""
        score = self._score.pop(task_id, None)
        if score is not None:
            del self._order[bisect_left(self._order, (score, task_id))]

    def __iter__(self) -> Iterator[str]:
        return iter([task_id for _, task_id in self._order])

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._score


@dataclass(slots=True)
class Given:
    """A person's confirmed answer to a task."""

    revision: int
    state: AnnotationState
    token: int
    claimed_ms: int
    at_ms: int

    @property
    def stands(self) -> bool:
        return self.state is not AnnotationState.WITHDRAWN

    @property
    def answers(self) -> bool:
        return self.state not in {AnnotationState.WITHDRAWN, AnnotationState.SKIPPED}


@dataclass(slots=True)
class Entry:
    """One task. ``answers``: what the API confirmed; ``ballots``: what the log brought; both by annotator."""

    task: Task
    lane: str
    rank: float
    state: TaskState = TaskState.OPEN
    holder: str | None = None
    kept_for: str = ""
    token: int = 0
    claimed_ms: int = 0
    grants: dict[str, tuple[int, int]] = field(default_factory=dict)  # annotator -> (token, claimed_ms)
    pending: dict[str, int] = field(default_factory=dict)
    undoing: dict[str, int] = field(
        default_factory=dict
    )  # annotator -> revision of an undo neither confirmed nor folded
    revisions: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Given] = field(default_factory=dict)
    ballots: dict[str, Ballot] = field(default_factory=dict)
    said: dict[str, Annotation] = field(
        default_factory=dict
    )  # what the ballots were made of, in the order of first answers
    shares: tuple[int, Mapping[str, float]] = (0, {})  # what was told of them for review, at which sequence
    sequence: int = 0
    label_revision: int = 0
    settled_at: int = 0
    unpublished: Label | None = None

    def promise(self, annotator: str, now: int, *, undo: bool) -> int:
        """The revision of an answer that is on its way to the log from now on."""
        revision = self.revisions[annotator] = self.revisions.get(annotator, 0) + 1
        self.pending[annotator] = now
        if undo:
            self.undoing[annotator] = revision
        return revision

    def vote_facts(self, answer: Answer) -> Receipt:
        """What a vote or a skip would be. Raises Refused."""
        if self.answered_by(answer.annotator):
            raise refused(Refusal.ALREADY_ANSWERED)
        token, claimed_ms = self.grants[answer.annotator]
        holds = self.holder == answer.annotator and self.token == answer.token
        if token != answer.token or (answer.act is Act.SKIP and not holds):
            raise refused(Refusal.STALE_LEASE)
        gone = self.gone_for(answer.annotator)
        if gone and answer.act is Act.SKIP:
            raise refused(Refusal.SETTLED)
        said = AnnotationState.SKIPPED if answer.act is Act.SKIP else AnnotationState.SUBMITTED
        state = said if holds and not gone else AnnotationState.LATE
        return Receipt(0, state, answer.token, claimed_ms, 0, counted=not gone)

    def undo_facts(self, answer: Answer, since_ms: int | None) -> Receipt:
        """What taking an answer back would be; an undo of one from before ``since_ms`` (None: the content is gone) comes too late."""
        given = self.answers.get(answer.annotator)
        if given is None or not given.stands:
            raise not_found()
        if answer.act is Act.WITHDRAW and since_ms is None:
            raise refused(Refusal.SETTLED)
        if answer.act is Act.UNDO and (since_ms is None or given.at_ms < since_ms):
            raise refused(Refusal.TOO_LATE_TO_UNDO)
        return Receipt(0, AnnotationState.WITHDRAWN, given.token, given.claimed_ms, 0)

    def is_in_flight(self, annotator: str, since_ms: int) -> bool:
        """Whether an answer of this person, promised after ``since_ms``, has not come back from the log yet."""
        return self.pending.get(annotator, since_ms) > since_ms

    def has_undone(self, annotation: Annotation) -> bool:
        """Whether this undo, neither confirmed nor folded before, is the newest that its author said. It is known from now on."""
        by, given = annotation.annotator, self.answers.get(annotation.annotator)
        if self.undoing.get(by) != annotation.revision or given is None or given.revision != annotation.revision:
            return False
        del self.undoing[by]
        return True

    def is_unfinished(self, since_ms: int) -> bool:
        """Whether its label is not out yet, or an answer promised after ``since_ms`` has not been folded."""
        return self.unpublished is not None or any(self.is_awaited_of(by, since_ms) for by in self.revisions)

    def is_awaited_of(self, annotator: str, since_ms: int) -> bool:
        """Whether an answer of this person, promised after ``since_ms``, has not been folded."""
        ballot = self.ballots.get(annotator)
        unfolded = ballot is None or ballot.revision < self.revisions.get(annotator, 0)
        return unfolded and self._promised_ms(annotator) > since_ms

    def forget(self, annotator: str, *, wholly: bool) -> None:
        """As if this person had never answered; ``wholly``: they may not answer again either."""
        for known in (self.answers, self.ballots, self.said, self.undoing, self.pending):
            known.pop(annotator, None)
        if self.holder != annotator:
            self.grants.pop(annotator, None)
        if wholly:
            self.revisions.pop(annotator, None)
        self.shares = (0, {})

    def given_ms(self, annotator: str) -> int:
        """When this person's newest answer was given: by the log's word where it has that, or else by its confirmation."""
        given, ballot = self.answers[annotator], self.ballots.get(annotator)
        return given.at_ms if ballot is None or ballot.revision < given.revision else ballot.submitted_ms

    def _promised_ms(self, annotator: str) -> int:
        given = self.answers.get(annotator)
        return max(self.pending.get(annotator, 0), given.at_ms if given is not None else 0)

    @property
    def is_ahead(self) -> bool:
        """Whether an answer that stands has not been folded yet: who is given the task meanwhile may work for nothing."""
        return any(
            given.stands and (by not in self.ballots or self.ballots[by].revision < given.revision)
            for by, given in self.answers.items()
        )

    @property
    def answered(self) -> bool:
        """Whether an answer or a skip of anybody stands."""
        return any(given.stands for given in self.answers.values())

    @property
    def is_untouched(self) -> bool:
        """Whether nobody was ever given the task, and the log has no answer to it."""
        return not self.grants and not self.sequence

    def answered_by(self, annotator: str) -> bool:
        """Whether this person's answer or skip stands."""
        given = self.answers.get(annotator)
        return given is not None and given.stands

    def gone_for(self, annotator: str) -> bool:
        """Settled, and not about to open again because this very person took the answer back."""
        given = self.answers.get(annotator)
        return self.state is TaskState.SETTLED and (given is None or given.stands)

    def fold(self, a: Annotation) -> bool:
        """Apply one annotation of the log; False when it (or a newer revision) was applied before."""
        old = self.ballots.get(a.annotator)
        if old is not None and old.revision >= a.revision:
            return False
        self.sequence += 1
        self.ballots[a.annotator] = ballot_of(a, self.sequence, old)
        self.said[a.annotator] = replace(a, comment=note_of(a))
        return True

    def record(self) -> TaskRecord:
        """The task as the settling rule sees it."""
        ballots = tuple(sorted(self.ballots.values(), key=lambda b: b.sequence))
        return TaskRecord(self.task, self.sequence, ballots, self.label_revision, self.settled_at, self.unpublished)


@dataclass(slots=True)
class State:
    """Everything. ``done``: tasks that left, with their last state and label revision. ``emptied``: settled, content dropped."""

    built: bool = False
    builder: object = None
    builder_until: int = 0
    fence: int = 0
    order: int = 0
    open_tasks: int = 0
    tasks: dict[str, Entry] = field(default_factory=dict)
    routes: defaultdict[str, Offers] = field(default_factory=lambda: defaultdict(Offers))
    again: defaultdict[str, Offers] = field(default_factory=lambda: defaultdict(Offers))
    leases: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)  # task -> until when it is kept for one person
    expiry: dict[str, int] = field(default_factory=dict)
    purge: dict[str, int] = field(default_factory=dict)
    emptied: dict[str, int] = field(default_factory=dict)
    done: dict[str, tuple[TaskState, int]] = field(default_factory=dict)
    receipts: dict[tuple[str, str], tuple[str, Receipt, str]] = field(default_factory=dict)  # digest, receipt, task
    history: dict[str, dict[str, Done]] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    gold: dict[str, Task] = field(default_factory=dict)
    forgiven: dict[str, int] = field(default_factory=dict)
    erased: dict[str, bool] = field(default_factory=dict)  # by digest: whether all about the person is gone

    def offer(self, task_id: str, people: Sequence[str] = (), until_ms: int = 0) -> None:
        """Put a task that nobody holds where its state says and nowhere else; no change when it is there, or is to be decided first.

        One that others answered is kept for the first of ``people`` who is free, until ``until_ms``.
        """
        entry = self.tasks[task_id]
        if entry.holder is not None or entry.state is TaskState.SETTLED or entry.is_ahead or entry.kept_for:
            return
        fresh = entry.state is TaskState.OPEN and not entry.answered
        route = REVIEW if entry.state is TaskState.IN_REVIEW else entry.lane
        offers = (self.routes if fresh else self.again)[route]
        if task_id in offers:
            return
        self.unoffer(task_id)
        self.order += not fresh
        if entry.state is TaskState.OPEN and not fresh:
            entry.kept_for = next((p for p in people if len(self.again[kept_for(p)]) < KEPT_FOR_ONE), "")
        if entry.kept_for:
            offers, self.kept[task_id] = self.again[kept_for(entry.kept_for)], until_ms
        offers.put(task_id, entry.rank if fresh else self.order)

    def unoffer(self, task_id: str) -> None:
        """Take a task off every route."""
        self.tasks[task_id].kept_for = ""
        self.kept.pop(task_id, None)
        for offers in (*self.routes.values(), *self.again.values()):
            offers.drop(task_id)

    def restore(self, known: Remembered, now: int, settings: QueueSettings) -> bool:
        """Put a settled task's content back; False where it did not end by being settled."""
        task = known.task
        if task.task_id in self.tasks and task.task_id not in self.emptied:
            return True
        state, revision = self.done.get(task.task_id, (None, 0))
        said = {name: replace(a, comment=note_of(a)) for name, (a, _) in known.given.items()}
        if state is not TaskState.SETTLED:
            return False
        del self.done[task.task_id]
        self.purge[task.task_id] = now + max(settings.restored_ms, settings.undo_ms)
        if self.emptied.pop(task.task_id, None) is not None:
            self.tasks[task.task_id].said |= said
        else:
            entry = Entry(task, route_of(task), place_of(task, settings.head_start_ms), state)
            entry.sequence = entry.settled_at = known.sequence
            entry.label_revision = revision
            for name, (a, ballot) in known.given.items():
                entry.answers[name] = Given(a.revision, a.state, a.lease_token, a.claimed_ms, now)
                entry.revisions[name], entry.ballots[name] = a.revision, ballot
            entry.said = said
            self.tasks[task.task_id] = entry
        return True

    def drop(self, task_id: str, state: TaskState) -> None:
        """Take a task without answers off the queue for good."""
        self.unoffer(task_id)
        self.done[task_id] = (state, 0)
        del self.tasks[task_id]
        self.open_tasks -= 1

    def take(self, annotator: str, routes: Sequence[str], head_start_ms: int) -> str | None:
        """The best task on offer that this person has not answered, taken off its route. Begun tasks of a lane come first."""
        for offers in self._in_order(routes, head_start_ms):
            for task_id in offers:
                if not self.tasks[task_id].answered_by(annotator):
                    self.unoffer(task_id)
                    return task_id
        return None

    def _in_order(self, routes: Sequence[str], head_start_ms: int) -> list[Offers]:
        """Lines by turn. A lane's turn is that of its oldest task, within it the order of the lines holds; what is no lane is first."""
        lines = [(route, offers) for route in routes for offers in (self.again[route], self.routes[route]) if offers]
        turns: dict[str, float] = {}
        placed: list[tuple[float, Offers]] = []
        for route, offers in reversed(lines):
            start, lane = lane_start(route, head_start_ms), route.partition("+")[0]
            head = self.tasks[next(iter(offers))].rank
            turns[lane] = -inf if start is None else min(turns.get(lane, inf), head + start)
            placed.append((turns[lane], offers))
        placed.reverse()
        return [offers for _, offers in sorted(placed, key=itemgetter(0))]

    def in_flight(self, annotator: str, since_ms: int) -> set[str]:
        """The tasks that this person holds and has answered after ``since_ms``, as far as they are asked."""
        held = ((task_id, entry) for task_id, entry in self.tasks.items() if entry.holder == annotator)
        return {task_id for task_id, entry in held if entry.is_in_flight(annotator, since_ms)}

    def nothing(self, now: int, lease_ms: int, flying: AbstractSet[str]) -> Claimed:
        """Why a person gets no task, their own answers in flight apart."""
        others = [deadline for task_id, deadline in self.leases.items() if task_id not in flying]
        others += self.kept.values()
        reason = Empty.NO_TASKS if not self.open_tasks else Empty.ALL_LEASED if others else Empty.NONE_FOR_YOU
        return Claimed((), now, reason, max(1.0, (min(others, default=now + lease_ms) - now) / 1000))

    def regrant(self, grant: Grant) -> None:
        """Put back a lease that was given before the index was built again; a task that somebody else holds was at least theirs."""
        entry = self.tasks.get(grant.task_id)
        if entry is None or grant.task_id in self.emptied or entry.answered_by(grant.annotator):
            return
        if entry.grants.get(grant.annotator, (0, 0))[0] >= grant.token:
            return
        entry.grants[grant.annotator] = grant.token, grant.claimed_ms
        self.fence = max(self.fence, grant.token)
        if entry.holder in (None, grant.annotator) and entry.state is not TaskState.SETTLED:
            self.unoffer(grant.task_id)
            entry.holder, entry.token, entry.claimed_ms = grant.annotator, grant.token, grant.claimed_ms
            self.leases[grant.task_id] = grant.deadline_ms

    def stats(self) -> Stats:
        """All lines but the reviewers' hold what waits."""
        disputed = sum(e.state is TaskState.IN_REVIEW for e in self.tasks.values())
        waiting = sum(map(len, (*self.routes.values(), *self.again.values()))) - len(self.again[REVIEW])
        return Stats(self.open_tasks, waiting, len(self.leases), disputed)

    def unlease(self, task_id: str) -> None:
        """End the lease on the task, if there is one."""
        self.leases.pop(task_id, None)
        self.tasks[task_id].holder = None

    def take_answer(self, a: Annotation, at_ms: int, keep: int) -> bool:
        """Remember a confirmed answer: end the person's lease, take a late answer's task off offer. False: known already."""
        entry = self.tasks[a.task_id]
        old = entry.answers.get(a.annotator)
        if old is not None and old.revision >= a.revision:
            return False
        entry.revisions[a.annotator] = max(entry.revisions.get(a.annotator, 0), a.revision)
        entry.pending.pop(a.annotator, None)
        entry.answers[a.annotator] = Given(a.revision, a.state, a.lease_token, a.claimed_ms, at_ms)
        if a.state is not AnnotationState.WITHDRAWN:
            if entry.holder == a.annotator:
                self.unlease(a.task_id)
            self.unoffer(a.task_id)
        self._remember(a, old, keep)
        return True

    def _remember(self, a: Annotation, old: Given | None, keep: int) -> None:
        before = old is not None and old.answers
        now = self.tasks[a.task_id].answers[a.annotator].answers
        self.answered[a.annotator] = self.answered.get(a.annotator, 0) + now - before
        lines = self.history.setdefault(a.annotator, {})
        lines.pop(a.annotation_id, None)
        lines[a.annotation_id] = Done(a.annotation_id, a.task_id, a.value, a.state, a.revision, a.submitted_ms)
        while len(lines) > keep:
            del lines[next(iter(lines))]

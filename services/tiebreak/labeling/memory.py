"""The queue's in-memory twin: the same answers as ``redis.py``, for tests and simulation. Not shared between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from copy import copy
from dataclasses import replace

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.erasure import is_erased
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, Task
from tiebreak.contracts.project import Project
from tiebreak.labeling.grants import Grant, Grants
from tiebreak.labeling.lifecycle import BUILDER_MS, TaskState
from tiebreak.labeling.memory_housekeeping import end_build, erase, forget_before, rerank, sweep, withdraw
from tiebreak.labeling.memory_review import dispute, held
from tiebreak.labeling.memory_state import Entry, State
from tiebreak.labeling.port import (
    Act,
    Answer,
    Applied,
    Claimed,
    Done,
    Lease,
    Outcome,
    Page,
    QueueSettings,
    Receipt,
    Refusal,
    Reopen,
    Settlement,
    Stats,
    Swept,
    settings_for,
)
from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.port_review import Dispute, Renewed
from tiebreak.labeling.refusals import building, not_found, refused
from tiebreak.labeling.routing import Usher, everybody, expires_from, is_personal, place_of, route_of
from tiebreak.labeling.settling import Remembered

_TAKES_BACK = frozenset({Act.UNDO, Act.WITHDRAW})


class MemoryQueue:
    """Implements ``port.Queue`` and ``port.Rebuildable``. ``lose`` forgets everything, as a flushed Redis does."""

    def __init__(self, project: Project, clock: Clock, settings: QueueSettings | None = None) -> None:
        self._clock = clock
        self._settings = settings or settings_for(project)
        self._box = [State(built=True)]
        self._nonce: object = None
        self._usher: Usher = everybody
        self._grants = Grants()

    def serve(self, usher: Usher) -> None:
        self._usher = usher

    @property
    def _state(self) -> State:
        return self._box[0]

    def lose(self) -> None:
        """Lose all state: every method raises SlowDown until the index is built again."""
        self._box[0] = State()

    def seen_through(self, settings: QueueSettings) -> MemoryQueue:
        """The same state under other settings, as another process would see it."""
        twin = copy(self)
        twin._settings = settings  # noqa: SLF001 - our own copy
        return twin

    # -- offering -----------------------------------------------------------------------------------------------------

    async def add(self, tasks: Sequence[Task]) -> int:
        s = self._guard()
        new = 0
        for task in tasks:
            if task.task_id in s.tasks or task.task_id in s.done:
                continue  # known, or twice in one batch
            if is_erased(task.project, task.subject, s.erased.keys()):
                s.done[task.task_id] = (TaskState.ERASED, 0)
                continue
            new += 1
            created = task.created_ms or self._now()
            place = place_of(replace(task, created_ms=created), self._settings.head_start_ms)
            s.tasks[task.task_id] = Entry(task, route_of(task), place)
            s.expiry[task.task_id] = (expires_from(task) or created) + self._settings.task_ttl_ms
            s.open_tasks += 1
            s.offer(task.task_id)
        return new

    async def claim(
        self,
        annotator: str,
        want: int,
        *,
        review: bool = False,
        skills: Sequence[str] = (),
        routes: Sequence[str] | None = None,
    ) -> Claimed:
        return self._claim(annotator, want, self._usher(annotator, want, review, skills) if routes is None else routes)

    def _claim(self, annotator: str, want: int, routes: Sequence[str], promised: str = "") -> Claimed:
        s, now = self._guard(), self._now()
        flying = s.in_flight(annotator, now - self._settings.pending_ms) | {promised}
        leases = self._held(annotator, want, now, flying)
        while len(leases) < want:
            # What waits for one person may be gold: of several tasks it is not always the first, or its place would tell it.
            common = routes if len(leases) >= now % want else [route for route in routes if not is_personal(route)]
            places = (s.take(annotator, some, self._settings.head_start_ms) for some in (common, routes))
            task_id = next((place for place in places if place is not None), None)
            if task_id is None:
                break
            leases.append(self._lease(task_id, annotator, now))
        for lease in leases:
            self._given(annotator, lease)
        return Claimed(tuple(leases), now) if leases else s.nothing(now, self._settings.lease_ms, flying)

    def _given(self, annotator: str, lease: Lease) -> Lease:
        grant = Grant(annotator, lease.task.task_id, lease.token, lease.claimed_ms, lease.deadline_ms)
        self._grants.give(grant, self._now())
        return lease

    def _held(self, annotator: str, want: int, now: int, flying: AbstractSet[str]) -> list[Lease]:
        s = self._state
        mine = sorted((e.token, i) for i, e in s.tasks.items() if e.holder == annotator and i not in flying)
        leases: list[Lease] = []
        for _, task_id in mine:
            entry = s.tasks[task_id]
            if entry.gone_for(annotator):
                s.unlease(task_id)
            elif len(leases) < want:
                s.leases[task_id] = now + self._settings.lease_ms
                leases.append(held(entry, s.leases[task_id]))
        return leases

    def _lease(self, task_id: str, annotator: str, now: int) -> Lease:
        s, entry = self._state, self._state.tasks[task_id]
        # Never below the microsecond: a counter that was lost grows past every token given before.
        s.fence = max(s.fence + 1, now * 1000)
        entry.holder, entry.token, entry.claimed_ms = annotator, s.fence, now
        entry.grants[annotator] = (s.fence, now)
        s.leases[task_id] = now + self._settings.lease_ms
        return held(entry, s.leases[task_id])

    async def renew(self, annotator: str, task_id: str, token: int) -> Renewed:
        s = self._guard()
        entry = self._granted(annotator, task_id)
        if entry.gone_for(annotator):
            raise refused(Refusal.SETTLED)
        if entry.holder != annotator or entry.token != token:
            raise refused(Refusal.STALE_LEASE)
        s.leases[task_id] = self._now() + self._settings.lease_ms
        back = self._given(annotator, held(entry, s.leases[task_id]))
        return Renewed(back.deadline_ms, back.review)

    async def release(self, annotator: str, task_id: str, token: int) -> None:
        s = self._guard()
        entry = self._granted(annotator, task_id)
        if entry.holder == annotator and entry.token == token:
            s.unlease(task_id)
            s.offer(task_id)
        elif entry.grants[annotator][0] != token:
            raise refused(Refusal.STALE_LEASE)
        self._grants.end(annotator, task_id)

    def _granted(self, annotator: str, task_id: str, *, answered: bool = False) -> Entry:
        """The task, if it was given to this person, or was answered by them where that is enough."""
        s = self._guard()
        entry = s.tasks.get(task_id)
        if entry is None or not (annotator in entry.grants or (answered and annotator in entry.answers)):
            raise refused(Refusal(s.done[task_id][0])) if task_id in s.done else not_found()
        return entry

    # -- answering ----------------------------------------------------------------------------------------------------

    async def prepare(self, answer: Answer) -> Receipt:
        s, now = self._guard(), self._now()
        known = s.receipts.get((answer.annotator, answer.key))
        if known is not None:
            if known[0] != answer.digest:
                raise refused(Refusal.KEY_REUSED)
            return known[1]
        entry = self._granted(answer.annotator, answer.task_id, answered=answer.act is Act.WITHDRAW)
        if entry.is_in_flight(answer.annotator, now - self._settings.pending_ms):
            raise refused(Refusal.IN_PROGRESS)
        since_ms = None if answer.task_id in s.emptied else now - self._settings.undo_ms
        facts = entry.undo_facts(answer, since_ms) if answer.act in _TAKES_BACK else entry.vote_facts(answer)
        revision = entry.promise(answer.annotator, now, undo=answer.act is Act.UNDO)
        review = entry.state is TaskState.IN_REVIEW
        receipt = replace(facts, revision=revision, accepted_ms=now, review=review)
        s.receipts[answer.annotator, answer.key] = (answer.digest, receipt, answer.task_id)
        return receipt

    async def prepare_next(self, answer: Answer, want: int, *, review: bool = False) -> tuple[Receipt, Claimed | None]:
        receipt = await self.prepare(answer)
        routes = self._usher(answer.annotator, want, review, ())
        return receipt, self._claim(answer.annotator, want, routes, answer.task_id) if receipt.counted else None

    def note(self, annotation: Annotation, *, counted: bool) -> None:
        with suppress(SlowDown):
            self._confirm(annotation, counted=counted)

    async def confirm(self, annotation: Annotation, *, counted: bool) -> Lease | None:
        back = self._confirm(annotation, counted=counted)
        return self._given(annotation.annotator, back) if back is not None else None

    def _confirm(self, annotation: Annotation, *, counted: bool) -> Lease | None:
        task_id, annotator = annotation.task_id, annotation.annotator
        if annotation.state is not AnnotationState.WITHDRAWN:
            self._grants.end(annotator, task_id)
        s, now = self._guard(), self._now()
        if (entry := s.tasks.get(task_id)) is None:
            return None
        entry.pending.pop(annotator, None)
        if counted:
            s.take_answer(annotation, now, self._settings.history)
        if task_id not in s.emptied and (back := self._give_back(entry, annotation, now)):
            return back
        if annotation.state is AnnotationState.WITHDRAWN and entry.holder == annotator:
            return held(entry, s.leases[task_id])
        return None

    def _give_back(self, entry: Entry, annotation: Annotation, now: int) -> Lease | None:
        """Lease the task to who took their answer to it back, as that is confirmed or as the log brings it: whichever is first."""
        if not entry.has_undone(annotation) or entry.holder is not None:
            return None
        self._state.unoffer(annotation.task_id)
        return self._lease(annotation.task_id, annotation.annotator, now)

    # -- settling -----------------------------------------------------------------------------------------------------

    async def apply(self, annotations: Sequence[Annotation]) -> Sequence[Applied]:
        return [self._apply(a) for a in annotations]

    def _apply(self, annotation: Annotation) -> Applied:
        s = self._guard()
        entry = s.tasks.get(annotation.task_id)
        if entry is None:
            return Applied(Outcome.DONE if annotation.task_id in s.done else Outcome.UNKNOWN)
        if annotation.task_id in s.emptied:
            return Applied(Outcome.DONE)
        s.take_answer(annotation, self._now(), self._settings.history)
        new = entry.fold(annotation)
        self._give_back(entry, annotation, self._now())
        return Applied(Outcome.NEW if new else Outcome.DUPLICATE, entry.record())

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Label | None]:
        return [self._settle(item) for item in settlements]

    def _settle(self, item: Settlement) -> Label | None:
        s, now, label = self._guard(), self._now(), item.label
        entry = s.tasks.get(label.task_id)
        if entry is None or label.task_id in s.emptied:
            return None
        if entry.label_revision >= label.revision:
            return entry.unpublished
        if entry.sequence != item.sequence:
            return None
        entry.label_revision, entry.unpublished = label.revision, label
        was, entry.state = entry.state, TaskState.OPEN if label.withdrawn else TaskState.SETTLED
        entry.settled_at = 0 if label.withdrawn else item.sequence
        s.open_tasks += (was is TaskState.SETTLED) - (entry.state is TaskState.SETTLED)
        s.unoffer(label.task_id)
        if label.withdrawn:
            s.purge.pop(label.task_id, None)
            s.offer(label.task_id)
        else:
            s.expiry.pop(label.task_id, None)
            s.purge[label.task_id] = now + self._settings.undo_ms
        return label

    async def reopen(self, tasks: Sequence[Reopen]) -> None:
        s = self._guard()
        for item in tasks:
            entry = s.tasks.get(item.task_id)
            if entry is None or entry.state is TaskState.SETTLED or entry.sequence != item.sequence:
                continue
            state = TaskState.IN_REVIEW if item.review else TaskState.OPEN
            if entry.state is not state:
                s.unoffer(item.task_id)
            entry.state, entry.shares = state, (item.sequence, item.shares)
            s.offer(item.task_id, item.people, self._now() + self._settings.ask_best_ms)

    async def published(self, labels: Sequence[tuple[str, int]]) -> None:
        s = self._guard()
        for task_id, revision in labels:
            entry = s.tasks.get(task_id)
            if entry is not None and entry.label_revision == revision:
                entry.unpublished = None

    # -- housekeeping -------------------------------------------------------------------------------------------------

    async def sweep(self, limit: int) -> Swept:
        return sweep(self._guard(), self._settings, self._now(), limit)

    async def page(self, cursor: int, limit: int) -> Page:
        del cursor, limit  # a dictionary is read at once: one page has it all
        return Page([entry.task for entry in self._guard().tasks.values()], 0)

    async def withdraw(self, task_ids: Sequence[str]) -> int:
        return withdraw(self._guard(), task_ids)

    async def rerank(self, tasks: Sequence[Task]) -> int:
        return rerank(self._guard(), self._settings, tasks)

    # -- looking ------------------------------------------------------------------------------------------------------

    async def keep_gold(self, pieces: Sequence[Task]) -> None:
        s = self._guard()
        s.gold.update({p.task_id: p for p in pieces if not is_erased(p.project, p.subject, s.erased.keys())})

    async def begin_erasure(self, subjects: Sequence[str]) -> None:
        for subject in subjects:
            self._state.erased.setdefault(subject, False)

    async def erase(self, task_ids: Sequence[str]) -> Erased:
        return erase(self._guard(), task_ids)

    async def end_erasure(self, subjects: Sequence[str]) -> None:
        self._state.erased.update(dict.fromkeys(subjects, True))

    async def forget_before(self, before_ms: int) -> Erased:
        return forget_before(self._guard(), before_ms, self._now() - self._settings.keep_ms)

    async def erased(self) -> frozenset[str]:
        return frozenset(subject for subject, ended in self._state.erased.items() if ended)

    async def forgive(self, name: str, asked: int) -> None:
        self._state.forgiven[name] = asked

    async def forgiven(self) -> Mapping[str, int]:
        return dict(self._state.forgiven)

    async def gold(self, have: int = 0) -> Sequence[Task] | None:
        return None if len(self._state.gold) == have else list(self._state.gold.values())

    async def stats(self) -> Stats:
        return self._guard().stats()

    async def restore(self, known: Remembered) -> bool:
        return self._guard().restore(known, self._now(), self._settings)

    async def dispute(self, annotator: str, task_id: str) -> Dispute:
        return dispute(self._granted(annotator, task_id), annotator)

    async def look(self, task_id: str) -> Task | None:
        s = self._guard()
        return s.tasks[task_id].task if task_id in s.tasks and task_id not in s.done else None

    async def history(self, annotator: str, limit: int) -> Sequence[Done]:
        return list(self._guard().history.get(annotator, {}).values())[::-1][:limit]

    async def answered(self, annotator: str) -> int:
        return self._guard().answered.get(annotator, 0)

    async def add_class(self, name: str) -> None:
        if name not in self._guard().classes:
            self._state.classes.append(name)

    async def classes(self) -> Sequence[str]:
        return tuple(self._guard().classes)

    # -- rebuilding ---------------------------------------------------------------------------------------------------

    async def is_built(self) -> bool:
        return self._state.built

    async def begin_build(self) -> MemoryQueue | None:
        s, now = self._state, self._now()
        if s.built or now < s.builder_until:
            return None
        builder = copy(self)
        builder._nonce = s.builder = object()  # noqa: SLF001 - our own copy
        s.builder_until = now + BUILDER_MS
        return builder

    async def keep(self) -> None:
        self._guard()

    async def end_build(self, done: Sequence[tuple[str, int]]) -> None:
        end_build(self._guard(), done, self._grants, self._now())

    async def regrant(self) -> None:
        """Done by whoever ends the build."""

    def _guard(self) -> State:
        s = self._state
        if not s.built and (s.builder is not self._nonce or self._now() >= s.builder_until):
            raise building()
        s.builder_until = self._now() + BUILDER_MS
        return s

    def _now(self) -> int:
        return round(self._clock.wall() * 1000)

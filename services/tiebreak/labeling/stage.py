"""The async shell of labeling: tasks come in, answers are folded and settled, leases are swept.

``Settler`` is the only place that publishes labels. It decides once per task and revision, stores the decision before it is
published, and publishes what is stored: a crash between any two steps, or a replay of the whole log, changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from tiebreak.contracts.codec import PROTOBUF, encode, headers_for
from tiebreak.contracts.errors import BadRecord, DeadReason, SlowDown, Unreachable
from tiebreak.contracts.handling import Handled
from tiebreak.contracts.log import Batch, Message, Outputs, Partition, Positions, Record
from tiebreak.contracts.messages import Annotation, Label, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.consensus import Ask, Consensus, Review, likeliest, majority
from tiebreak.labeling.gold import Known
from tiebreak.labeling.port import Outcome, Queue, Reopen, Settlement
from tiebreak.labeling.routing import may_take
from tiebreak.labeling.settling import Step, TaskRecord, next_step, rule_of
from tiebreak.labeling.stage_crowd import Heard, Panel
from tiebreak.labeling.stage_reading import annotation_of, task_of
from tiebreak.labeling.stage_retention import Horizons
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.tasks import pause

_log = structlog.get_logger("tiebreak.labeling")
_BEST = 4


class Doorbell:
    """Wakes everybody in this process who waits for a task. A ring that nobody waits for is forgotten."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.closed = False

    def close(self) -> None:
        """The process stops: whoever waits is woken and must not wait again, or a long poll would hold up the stop."""
        self.closed = True
        self.ring()

    async def close_at(self, stop: asyncio.Event) -> None:
        """:meth:`close` once ``stop`` is set."""
        await stop.wait()
        self.close()

    def ring(self) -> None:
        """Something may be on offer."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, timeout_s: float) -> None:
        """Until the next ring, at most ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return


class Intake:
    """Handler over ``tasks``: puts each on the queue once. Raises SlowDown or Unreachable while the queue cannot take it."""

    def __init__(
        self,
        project: Project,
        queue: Queue,
        metrics: Metrics,
        doorbell: Doorbell | None = None,
        horizons: Horizons | None = None,
    ) -> None:
        self._project = project
        self._queue = queue
        self._metrics = metrics
        self._doorbell = doorbell or Doorbell()
        self._horizons = horizons or Horizons()

    async def handle(self, batch: Batch) -> Handled:
        """Add the batch; what is no task of this project goes to ``dead``."""
        tasks: list[Task] = []
        dead: list[tuple[Record, BadRecord]] = []
        for _, record in _records(batch):
            try:
                tasks.append(task_of(record, self._project))
            except BadRecord as error:
                dead.append((record, error))
        withdrawn = [task.task_id for task in tasks if task.withdrawn_by]
        asked = [task for task in tasks if not task.withdrawn_by]
        new = await take_in(self._queue, [task for task in asked if not self._horizons.ends(task)])
        # Asked again: what ended while it was taken in may have been missed by whoever looked through the queue.
        if ended := [task.task_id for task in asked if self._horizons.ends(task)]:
            # Not left out alone: answers to it are on the log, and would be taken for answers to nothing.
            found = await self._queue.erase(ended)
            self._metrics.count("tiebreak_labeling_retention_removed_total", found.tasks, what=Topic.TASKS.value)
        if withdrawn:
            self._metrics.count("tiebreak_labeling_tasks_withdrawn_total", await self._queue.withdraw(withdrawn))
        if new:
            self._metrics.count("tiebreak_labeling_tasks_added_total", new)
            self._doorbell.ring()
        return Handled(dead=dead)

    async def committed(self, positions: Positions) -> None:
        """Nothing is kept between batches."""

    async def rewind(self) -> None:
        """Nothing is kept between batches."""

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """Nothing belongs to a partition."""

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Nothing belongs to a partition."""


async def take_in(queue: Queue, tasks: Sequence[Task]) -> int:
    """Gold is kept, to be copied for people; everything else is offered. How many tasks were new."""
    await queue.keep_gold([t for t in tasks if t.gold and not t.audience])
    offered = [t for t in tasks if t.audience or not t.gold]
    return await queue.add(offered) if offered else 0


@dataclass(frozen=True, slots=True)
class Folded:
    """What a run of annotations led to. ``unknown``: those whose task was never heard of."""

    labels: Sequence[Label] = ()
    unknown: frozenset[str] = frozenset()
    messages: Sequence[Message] = ()


class Settler:
    """Handler over ``annotations``: folds each into its task, and publishes a label when the panel's consensus says so."""

    def __init__(
        self,
        project: Project,
        queue: Queue,
        metrics: Metrics,
        doorbell: Doorbell | None = None,
        panel: Panel | None = None,
    ) -> None:
        self._project = project
        self._queue = queue
        self._metrics = metrics
        self._doorbell = doorbell or Doorbell()
        self._panel = panel or Panel(project, queue)
        self._classes = set(project.classes.names)
        self._uncommitted: list[tuple[Partition, int, tuple[str, int]]] = []

    async def handle(self, batch: Batch) -> Handled:
        """Fold the batch and hand out its labels; what cannot be folded goes to ``dead``."""
        dead: list[tuple[Record, BadRecord]] = []
        good: list[tuple[Partition, Record, Annotation]] = []
        for partition, record in _records(batch):
            try:
                good.append((partition, record, annotation_of(record, self._project)))
            except BadRecord as error:
                dead.append((record, error))
        judges = await self._panel.judges([Heard(partition, record.offset, a) for partition, record, a in good])
        folded = await self.fold([a for *_, a in good], judges)
        revisions = {label.task_id: label.revision for label in folded.labels}
        for partition, record, a in good:
            if a.task_id in folded.unknown:
                dead.append((record, BadRecord(DeadReason.UNKNOWN_TASK, "no task of this id was ever on the queue")))
            elif a.task_id in revisions:
                self._uncommitted.append((partition, record.offset, (a.task_id, revisions[a.task_id])))
        return Handled(Outputs(messages=folded.messages), dead)

    async def fold(self, annotations: Sequence[Annotation], judges: Sequence[Consensus] | None = None) -> Folded:
        """Apply annotations in their order and take every decision that follows. Each task's are taken one at a time.

        ``judges``: the consensus at each annotation (default: the majority's).
        """
        queues: dict[str, deque[tuple[Annotation, Consensus]]] = {}
        for a, judge in zip(annotations, judges or [majority()] * len(annotations), strict=True):
            queues.setdefault(a.task_id, deque()).append((a, judge))
        rounds = _Rounds()
        while queues:
            await self._round([waiting.popleft() for waiting in queues.values()], rounds)
            queues = {task: waiting for task, waiting in queues.items() if waiting}
        if rounds.offered:
            self._doorbell.ring()
        labels, bodies = tuple(rounds.labels.values()), rounds.bodies
        messages = [label_message(label, bodies.get((label.task_id, label.revision))) for label in labels]
        return Folded(labels, frozenset(rounds.unknown), messages)

    async def _round(self, answers: Sequence[tuple[Annotation, Consensus]], rounds: _Rounds) -> None:
        settlements: list[Settlement] = []
        offers: list[Reopen] = []
        outcomes: Counter[tuple[str, str]] = Counter()
        for (a, judge), applied in zip(answers, await self._queue.apply([a for a, _ in answers]), strict=True):
            outcomes[a.state, applied.outcome] += 1
            if applied.outcome is Outcome.UNKNOWN:
                rounds.unknown.add(a.task_id)
            if applied.record is None:
                continue
            await self._learn_class(a)
            rounds.gold |= {a.task_id} if applied.record.task.gold else set()
            step = self._step(applied.record, judge)
            if step.publish is not None:
                settlements.append(Settlement(applied.record.sequence, step.publish))
            if step.offer is not None:
                offers.append(self._offer(applied.record, step.offer))
        for (state, outcome), count in outcomes.items():
            self._metrics.count("tiebreak_labeling_annotations_total", count, state=state, outcome=outcome)
        await self._store(settlements, rounds)
        if offers:
            await self._queue.reopen(offers)
            rounds.offered = True

    def _offer(self, record: TaskRecord, offer: Ask | Review) -> Reopen:
        task = record.task
        if isinstance(offer, Review):
            return Reopen(task.task_id, record.sequence, review=True, shares=likeliest(offer.shares))
        may = may_take(task, self._project.labeling)
        return Reopen(task.task_id, record.sequence, review=False, people=tuple(filter(may, offer.people))[:_BEST])

    async def _store(self, settlements: Sequence[Settlement], rounds: _Rounds) -> None:
        stored = await self._queue.settle(settlements) if settlements else ()
        for item, label in zip(settlements, stored, strict=True):
            if label is not None and label.task_id in rounds.gold:
                await self._queue.published([(label.task_id, label.revision)])  # nothing new: it never reaches `labels`
            elif label is not None:
                place = label.task_id, label.revision
                rounds.labels[place] = label
                if label is item.label:
                    rounds.bodies[place] = item.body

    def _step(self, record: TaskRecord, judge: Consensus) -> Step:
        if record.task.gold:
            return next_step(record, Known(record.task.gold), rule_of(self._project, record.task))
        step = next_step(record, judge, rule_of(self._project, record.task))
        if step.publish is not None and step.publish != record.unpublished:
            self._measure(record, step.publish)
        return step

    def _measure(self, record: TaskRecord, label: Label) -> None:
        self._metrics.count("tiebreak_labeling_labels_total", method="withdrawn" if label.withdrawn else label.method)
        if label.revision == 1:
            waited_s = (label.settled_ms - record.task.created_ms) / 1000
            self._metrics.observe("tiebreak_labeling_label_latency_seconds", max(0.0, waited_s))
            self._metrics.count(
                "tiebreak_labeling_agreement_total", outcome="agreed" if label.confidence == 1.0 else "disputed"
            )

    async def _learn_class(self, a: Annotation) -> None:
        if a.value and self._project.classes.open and a.value not in self._classes:
            await self._queue.add_class(a.value)
            self._classes.add(a.value)

    async def committed(self, positions: Positions) -> None:
        """The labels up to ``positions`` are on the log: the queue need not keep them."""
        safe = [item for item in self._uncommitted if item[1] < positions.get(item[0], 0)]
        if not safe:
            return
        try:
            await self._queue.published([label for *_, label in safe])
        except (SlowDown, Unreachable) as error:
            _log.warning("labels_not_marked_published", count=len(safe), error=str(error))
            return  # they are published again after a restart, with the same bytes
        gone = set(safe)  # a list would be searched once per answer in flight
        self._uncommitted = [item for item in self._uncommitted if item not in gone]

    async def rewind(self) -> None:
        """Forget what was handed out since the last commit: it is decided already, and will be handed out again."""
        self._uncommitted.clear()
        self._panel.forget()

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """What was decided is in the queue; the panel reads what came before when the first answer comes."""

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Another settler goes on with these."""
        self._uncommitted = [item for item in self._uncommitted if item[0] not in partitions]
        self._panel.forget(partitions)


@dataclass(slots=True)
class _Rounds:
    labels: dict[tuple[str, int], Label] = field(default_factory=dict)
    bodies: dict[tuple[str, int], bytes] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    gold: set[str] = field(default_factory=set)
    offered: bool = False


class Sweeper:
    """Returns expired leases and expires stale tasks, every ``every_s`` seconds: well within the two seconds promised."""

    def __init__(self, queue: Queue, metrics: Metrics, doorbell: Doorbell | None = None, every_s: float = 0.5) -> None:
        self._queue = queue
        self._metrics = metrics
        self._doorbell = doorbell or Doorbell()
        self._every_s = every_s

    async def run(self, stop: asyncio.Event, limit: int = 500) -> None:
        """Sweep until ``stop``. A store that does not answer is tried again; nothing else is swallowed."""
        while not stop.is_set():
            try:
                more = await self.sweep(limit)
            except (SlowDown, Unreachable) as error:
                _log.info("sweep_postponed", error=str(error))
                more = False
            if not more:
                await pause(stop, self._every_s)

    async def sweep(self, limit: int = 500) -> bool:
        """One sweep; True when there may be more to do at once."""
        swept = await self._queue.sweep(limit)
        stats = await self._queue.stats()
        self._metrics.count("tiebreak_labeling_leases_expired_total", swept.leases_expired)
        self._metrics.count("tiebreak_labeling_tasks_expired_total", swept.tasks_expired)
        self._metrics.set("tiebreak_labeling_open_tasks", stats.open_tasks)
        self._metrics.set("tiebreak_labeling_leased_tasks", stats.leased)
        self._metrics.set("tiebreak_labeling_review_tasks", stats.in_review)
        if swept.leases_expired or swept.let_go:
            self._doorbell.ring()
        return max(swept.leases_expired, swept.tasks_expired, swept.purged, swept.let_go) >= limit


def _records(batch: Batch) -> Iterator[tuple[Partition, Record]]:
    return ((partition, record) for partition, records in batch.items() for record in records)


def label_message(label: Label, body: bytes | None = None) -> Message:
    """The record on ``labels``, keyed by task so that revisions of one label stay in order. ``body``: the label, encoded already."""
    key, headers = label.task_id.encode(), headers_for(PROTOBUF)
    return Message(Topic.LABELS.of(label.project), key, encode(label) if body is None else body, headers)


def annotation_message(a: Annotation) -> Message:
    """The record on ``annotations``, keyed by task so that the answers to one task have one order."""
    return Message(Topic.ANNOTATIONS.of(a.project), a.task_id.encode(), encode(a), headers_for(PROTOBUF))

"""The queue again from the topics, by itself, after Redis lost it. Until it is whole, everybody else is told to slow down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import structlog

from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import decode_label, peek
from tiebreak.contracts.erasure import erased_in, is_erased
from tiebreak.contracts.errors import BadRecord, PublishFailed, SlowDown, Unreachable
from tiebreak.contracts.log import Log, Outputs, Partition, Record
from tiebreak.contracts.messages import Annotation, AnnotationState, AuditRecord, Label, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.retention import horizons_in
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.consensus import COUNTS, Consensus
from tiebreak.labeling.port import Builder, Rebuildable
from tiebreak.labeling.stage import Settler, take_in
from tiebreak.labeling.stage_crowd import Heard, Panel
from tiebreak.labeling.stage_reading import annotation_of, batches_of, task_of
from tiebreak.labeling.stage_retention import is_past
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.tasks import pause

_log = structlog.get_logger("tiebreak.labeling")
_LEFT = "tiebreak_labeling_rebuild_left_records"
# Records between two lines of the log.
_TELL_EVERY = 100_000
_CLOSE_S = 5.0


def may_overturn(state: AnnotationState, *, reviewer: bool) -> bool:
    """Whether such an answer may end a label that stands: it takes one back, or is a reviewer's word."""
    return state is AnnotationState.WITHDRAWN or (reviewer and state in COUNTS)


@dataclass(slots=True)
class Overturning:
    """Answers that may end a label that stands: those taken back, and reviewers' words. ``heard`` counts them.

    The store may have been lost between a label and what overturns it: such a task is not settled, and is built from its answers.
    """

    heard: int = 0
    # By task, then by annotation: its newest revision, and whether that takes it back.
    _by_task: dict[str, dict[str, tuple[int, bool]]] = field(default_factory=dict)

    def hear(self, a: Annotation) -> None:
        """Take note of one answer, in the order of the log; twice is once."""
        if not may_overturn(a.state, reviewer=a.reviewer):
            return
        undone = a.state is AnnotationState.WITHDRAWN
        answers = self._by_task.setdefault(a.task_id, {})
        if a.revision > answers.get(a.annotation_id, (0, False))[0]:
            answers[a.annotation_id] = (a.revision, undone)
            self.heard += 1

    def __contains__(self, task_id: object) -> bool:
        """Whether there is any such answer to this task."""
        return task_id in self._by_task

    def overturns(self, label: Label) -> bool:
        """Whether ``label`` counts an answer that was taken back after it, or lacks a reviewer's."""
        counted = {vote.annotation_id: vote.revision for vote in label.votes}
        return any(
            counted.get(answer, revision if undone else 0) < revision
            for answer, (revision, undone) in self._by_task.get(label.task_id, {}).items()
        )


def added_in(records: Iterable[AuditRecord]) -> dict[str, int]:
    """The classes that people added to an open set by name, and when first."""
    added = dict[str, int]()
    for record in records:
        if record.action == Action.CLASS_ADDED:
            added.setdefault(record.target, record.time_ms)
    return added


class Rebuilder:
    """Watches for a missing index and builds it from ``labels``, ``tasks`` and ``annotations``. Any number may run."""

    def __init__(
        self, project: Project, queue: Rebuildable, log: Log, metrics: Metrics, trail: AuditTrail, every_s: float = 0.5
    ) -> None:
        self._project = project
        self._queue = queue
        self._log = log
        self._metrics = metrics
        self._trail = trail
        self._every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. Troubles of the log or of Redis are tried again; the half-built index stays closed meanwhile."""
        while not stop.is_set():
            try:
                await self.ensure()
            except (Unreachable, SlowDown, PublishFailed) as error:
                _log.warning("rebuild_interrupted", error=str(error))
                self._metrics.set(_LEFT, 0)  # somebody else may go on
            await pause(stop, self._every_s)

    async def ensure(self) -> bool:
        """Build the index if it is missing and nobody else does; whether it was built by this call."""
        builder = await self._queue.begin_build()
        if builder is None:
            return False
        said = await self._trail.sound()
        erased, horizons = erased_in(said), horizons_in(said)
        await builder.begin_erasure(sorted(erased))
        logs = await _Logs.measured(self._project.project, self._log, builder, self._metrics)
        overturning, classes = Overturning(), added_in(said)
        await self._hear(logs, overturning, classes)
        for name in sorted(
            classes, key=lambda name: (classes[name], name)
        ):  # those nobody has used yet, and of settled tasks
            if name not in self._project.classes.names:
                await builder.add_class(name)
        while True:
            heard = overturning.heard
            settled = await self._settled(logs, overturning)
            tasks, withdrawn = await self._tasks(logs, builder, settled, erased, horizons.get(Topic.TASKS, 0))
            answers = await self._answers(logs, builder, settled, overturning)
            if overturning.heard == heard:
                break  # else: what came while we were reading may have opened a settled task again
        await builder.withdraw(withdrawn)  # after the answers: what somebody had begun when it was taken back, stayed
        await builder.end_erasure(sorted(erased))
        # After all were folded, so that a label decided again has the revision that it had.
        if Topic.ANNOTATIONS in horizons:
            await builder.forget_before(horizons[Topic.ANNOTATIONS])
        await builder.end_build(list(settled.items()))
        self._metrics.count("tiebreak_labeling_rebuilds_total")
        _log.info("queue_rebuilt", settled=len(settled), tasks=tasks, answers=answers)
        return True

    async def _hear(self, logs: _Logs, overturning: Overturning, classes: dict[str, int]) -> None:
        """The answers that may end a label, and the classes of an open set that people used, each with its first time."""
        declared, grows = frozenset(self._project.classes.names), self._project.classes.open
        async for records in logs.read(Topic.ANNOTATIONS, before=_ROUND):
            for record in records:
                try:
                    state, reviewer, value = peek(Annotation, record.value, "state", "reviewer", "value")
                    is_new = grows and value and value not in declared
                    if not is_new and not may_overturn(state, reviewer=reviewer):
                        continue
                    a = annotation_of(record, self._project)
                except BadRecord:
                    continue  # the settler has put it on `dead`
                overturning.hear(a)
                if is_new:
                    classes[a.value] = min(a.submitted_ms, classes.get(a.value, a.submitted_ms))

    async def _settled(self, logs: _Logs, overturning: Overturning) -> dict[str, int]:
        """The tasks whose newest label stands, with its revision."""
        newest: dict[str, int] = {}  # below 0: that label does not stand
        async for records in logs.read(Topic.LABELS, before=_ROUND[1:]):
            for record in records:
                try:
                    task, revision, withdrawn = peek(Label, record.value, "task_id", "revision", "withdrawn")
                    if revision > abs(newest.get(task, 0)):
                        ended = withdrawn or (task in overturning and overturning.overturns(decode_label(record.value)))
                        newest[task] = -revision if ended else revision
                except BadRecord:
                    continue  # not ours to judge: the trainer sets it aside
        return {task: revision for task, revision in newest.items() if revision > 0}

    async def _tasks(
        self, logs: _Logs, builder: Builder, settled: dict[str, int], erased: AbstractSet[str], before_ms: int
    ) -> tuple[int, list[str]]:
        """How many tasks were put on offer, and which of them a model took back later. None from before ``before_ms``."""
        added, withdrawn, old = 0, list[str](), list[str]()
        async for records in logs.read(Topic.TASKS, before=_ROUND[2:]):
            offered: list[Task] = []
            for record in records:
                try:
                    task_id, subject = peek(Task, record.value, "task_id", "subject")
                    if task_id in settled and not is_erased(self._project.project, subject, erased):
                        continue
                    task = task_of(record, self._project)
                except BadRecord:
                    continue  # the intake has put it on `dead`
                if is_past(task, before_ms):
                    old.append(task.task_id)  # the log lets go of it later than we do
                elif task.withdrawn_by:
                    withdrawn.append(task.task_id)
                else:
                    offered.append(task)  # an erased person's is refused, and known as such from then on
            added += await take_in(builder, offered)
        await builder.erase([task_id for task_id in old if task_id not in settled])
        return added, withdrawn

    async def _answers(self, logs: _Logs, builder: Builder, settled: dict[str, int], overturning: Overturning) -> int:
        settler = Settler(self._project, builder, self._metrics)
        writer = self._log.writer()
        await writer.start()
        folded = 0
        try:
            async for annotations, judges in self._open_answers(logs, builder, settled, overturning):
                done = await settler.fold(annotations, judges)
                # Those that were published before the loss are the same again; the others were decided but never sent.
                await writer.publish(Outputs(messages=done.messages))
                await builder.published([(label.task_id, label.revision) for label in done.labels])
                folded += len(annotations)
        finally:
            await writer.close(_CLOSE_S)
        return folded

    async def _open_answers(
        self, logs: _Logs, builder: Builder, settled: dict[str, int], overturning: Overturning
    ) -> AsyncIterator[tuple[Sequence[Annotation], Sequence[Consensus]]]:
        panel = Panel(self._project, builder)
        async for records in logs.read(Topic.ANNOTATIONS):
            heard: list[Heard] = []
            for record in records:
                try:
                    # A panel that learns hears the settled tasks too: what people did there is what is known of them.
                    if not panel.learns and _changes_nothing(record, settled):
                        continue
                    annotation = annotation_of(record, self._project)
                except BadRecord:
                    continue  # the settler has put it on `dead`
                overturning.hear(annotation)
                heard.append(Heard(Partition(record.topic, record.partition), record.offset, annotation))
            if heard:
                judges = await panel.judges(heard, settled)
                yield [h.annotation for h in heard if h.annotation.task_id not in settled], judges


def _changes_nothing(record: Record, settled: Container[str]) -> bool:
    """Whether this answer is to a settled task, and leaves it so. Raises BadRecord."""
    task, state, reviewer = peek(Annotation, record.value, "task_id", "state", "reviewer")
    return task in settled and not may_overturn(state, reviewer=reviewer)


# What is read, in this order; from the second on again where an answer came meanwhile that ends a label.
_ROUND = (Topic.LABELS, Topic.TASKS, Topic.ANNOTATIONS)


@dataclass(slots=True)
class _Logs:
    """The project's topics, each read from its beginning to its end of that moment; whoever reads them stays the builder."""

    project: str
    log: Log
    builder: Builder
    metrics: Metrics
    sizes: Mapping[Topic, int]
    told: int = 0

    @classmethod
    async def measured(cls, project: str, log: Log, builder: Builder, metrics: Metrics) -> _Logs:
        """With the sizes that the topics have now, as far as progress needs them."""
        reader = log.reader([topic.of(project) for topic in _ROUND], None)
        await reader.start()
        try:
            ends = await reader.end_positions()
        finally:
            await reader.close(_CLOSE_S)
        sizes = {topic: sum(end for p, end in ends.items() if p.topic == topic.of(project)) for topic in _ROUND}
        return cls(project, log, builder, metrics, sizes)

    async def read(self, topic: Topic, before: Sequence[Topic] = ()) -> AsyncIterator[Sequence[Record]]:
        """Some records of ``topic`` at a time. ``before``: what is to be read after it."""
        further = sum(self.sizes[later] for later in before)
        async for batch in batches_of(self.log, topic.of(self.project), lambda left: self._tell(left + further)):
            # Nothing is asked of the queue while records go by that change nothing, however many they are.
            await self.builder.keep()
            for records in batch.values():
                yield records

    def _tell(self, left: int) -> None:
        self.metrics.set(_LEFT, left)
        if abs(left - self.told) >= _TELL_EVERY:
            self.told = left
            _log.info("queue_rebuilding", left_records=left)

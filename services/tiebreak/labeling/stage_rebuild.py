"""The queue again from the topics, by itself, after Redis lost it. Until it is whole, everybody else is told to slow down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import decode_label
from tiebreak.contracts.erasure import erased_in, is_erased
from tiebreak.contracts.errors import BadRecord, PublishFailed, SlowDown, Unreachable
from tiebreak.contracts.log import Log, Outputs, Partition
from tiebreak.contracts.messages import Annotation, AnnotationState, AuditRecord, Label
from tiebreak.contracts.project import Project
from tiebreak.contracts.retention import horizons_in
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.consensus import COUNTS, Consensus
from tiebreak.labeling.port import Builder, Rebuildable
from tiebreak.labeling.stage import Settler, take_in
from tiebreak.labeling.stage_crowd import Heard, Panel
from tiebreak.labeling.stage_reading import annotation_of, records_of, task_of
from tiebreak.labeling.stage_retention import is_past
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.tasks import pause

_log = structlog.get_logger("tiebreak.labeling")
_BATCH = 1000
_CLOSE_S = 5.0


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
        undone = a.state is AnnotationState.WITHDRAWN
        if not undone and not (a.reviewer and a.state in COUNTS):
            return
        answers = self._by_task.setdefault(a.task_id, {})
        if a.revision > answers.get(a.annotation_id, (0, False))[0]:
            answers[a.annotation_id] = (a.revision, undone)
            self.heard += 1

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
            await pause(stop, self._every_s)

    async def ensure(self) -> bool:
        """Build the index if it is missing and nobody else does; whether it was built by this call."""
        builder = await self._queue.begin_build()
        if builder is None:
            return False
        said = await self._trail.sound()
        erased, horizons = erased_in(said), horizons_in(said)
        await builder.begin_erasure(sorted(erased))
        overturning, classes = Overturning(), added_in(said)
        async for record in records_of(self._log, Topic.ANNOTATIONS.of(self._project.project)):
            with suppress(BadRecord):  # the settler has put it on `dead`
                overturning.hear(a := annotation_of(record, self._project))
                if a.value and self._project.classes.open:
                    classes[a.value] = min(a.submitted_ms, classes.get(a.value, a.submitted_ms))
        for name in sorted(
            classes, key=lambda name: (classes[name], name)
        ):  # those nobody has used yet, and of settled tasks
            if name not in self._project.classes.names:
                await builder.add_class(name)
        while True:
            heard = overturning.heard
            settled = await self._settled(overturning)
            tasks, withdrawn = await self._tasks(builder, settled, erased, horizons.get(Topic.TASKS, 0))
            answers = await self._answers(builder, settled, overturning)
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

    async def _settled(self, overturning: Overturning) -> dict[str, int]:
        newest: dict[str, tuple[int, bool]] = {}  # task -> revision of its newest label, and whether that stands
        async for record in records_of(self._log, Topic.LABELS.of(self._project.project)):
            try:
                label = decode_label(record.value)
            except BadRecord:
                continue  # not ours to judge: the trainer sets it aside
            if label.revision > newest.get(label.task_id, (0, False))[0]:
                newest[label.task_id] = (label.revision, not (label.withdrawn or overturning.overturns(label)))
        return {task: revision for task, (revision, stands) in newest.items() if stands}

    async def _tasks(
        self, builder: Builder, settled: dict[str, int], erased: AbstractSet[str], before_ms: int
    ) -> tuple[int, list[str]]:
        """How many tasks were put on offer, and which of them a model took back later. None from before ``before_ms``."""
        added, withdrawn, old = 0, list[str](), list[str]()
        async for record in records_of(self._log, Topic.TASKS.of(self._project.project)):
            try:
                task = task_of(record, self._project)
            except BadRecord:
                continue  # the intake has put it on `dead`
            if is_past(task, before_ms):
                old.append(task.task_id)  # the log lets go of it later than we do
            elif task.withdrawn_by:
                withdrawn.append(task.task_id)
            elif task.task_id not in settled or is_erased(task.project, task.subject, erased):
                added += await take_in(builder, [task])  # an erased person's is refused, and known as such from then on
        await builder.erase([task_id for task_id in old if task_id not in settled])
        return added, withdrawn

    async def _answers(self, builder: Builder, settled: dict[str, int], overturning: Overturning) -> int:
        settler = Settler(self._project, builder, self._metrics)
        writer = self._log.writer()
        await writer.start()
        folded = 0
        try:
            async for annotations, judges in self._open_answers(builder, settled, overturning):
                done = await settler.fold(annotations, judges)
                # Those that were published before the loss are the same again; the others were decided but never sent.
                await writer.publish(Outputs(messages=done.messages))
                await builder.published([(label.task_id, label.revision) for label in done.labels])
                folded += len(annotations)
        finally:
            await writer.close(_CLOSE_S)
        return folded

    async def _open_answers(
        self, builder: Builder, settled: dict[str, int], overturning: Overturning
    ) -> AsyncIterator[tuple[Sequence[Annotation], Sequence[Consensus]]]:
        panel, batch = Panel(self._project, builder), list[Heard]()
        async for record in records_of(self._log, Topic.ANNOTATIONS.of(self._project.project)):
            try:
                annotation = annotation_of(record, self._project)
            except BadRecord:
                continue  # the settler has put it on `dead`
            overturning.hear(annotation)
            batch.append(Heard(Partition(record.topic, record.partition), record.offset, annotation))
            if len(batch) == _BATCH:
                yield await _still_open(panel, batch, settled)
                batch = []
        if batch:
            yield await _still_open(panel, batch, settled)


async def _still_open(
    panel: Panel, heard: Sequence[Heard], settled: dict[str, int]
) -> tuple[Sequence[Annotation], Sequence[Consensus]]:
    # The panel hears the settled tasks too: what people did there is what is known of them.
    judges = await panel.judges(heard)
    kept = [(h.annotation, j) for h, j in zip(heard, judges, strict=True) if h.annotation.task_id not in settled]
    return [a for a, _ in kept], [j for _, j in kept]

"""The queue again from the topics, by itself, after Redis lost it. Until it is whole, everybody else is told to slow down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import structlog

from tiebreak.contracts.codec import decode_label
from tiebreak.contracts.errors import BadRecord, PublishFailed, SlowDown, Unreachable
from tiebreak.contracts.log import Log, Outputs, Partition
from tiebreak.contracts.messages import Annotation
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.consensus import Consensus
from tiebreak.labeling.port import Builder, Rebuildable
from tiebreak.labeling.stage import Settler, label_message, take_in
from tiebreak.labeling.stage_crowd import Heard, Panel
from tiebreak.labeling.stage_reading import annotation_of, records_of, task_of
from tiebreak.runtime.metrics import Metrics

_log = structlog.get_logger("tiebreak.labeling")
_BATCH = 1000
_CLOSE_S = 5.0


class Rebuilder:
    """Watches for a missing index and builds it from ``labels``, ``tasks`` and ``annotations``. Any number may run."""

    def __init__(self, project: Project, queue: Rebuildable, log: Log, metrics: Metrics, every_s: float = 0.5) -> None:
        self._project = project
        self._queue = queue
        self._log = log
        self._metrics = metrics
        self._every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. Troubles of the log or of Redis are tried again; the half-built index stays closed meanwhile."""
        while not stop.is_set():
            try:
                await self.ensure()
            except (Unreachable, SlowDown, PublishFailed) as error:
                _log.warning("rebuild_interrupted", error=str(error))
            try:
                async with asyncio.timeout(self._every_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def ensure(self) -> bool:
        """Build the index if it is missing and nobody else does; whether it was built by this call."""
        builder = await self._queue.begin_build()
        if builder is None:
            return False
        settled = await self._settled()
        tasks, withdrawn = await self._tasks(builder, settled)
        answers = await self._answers(builder, settled)
        await builder.withdraw(withdrawn)  # after the answers: what somebody had begun when it was taken back, stayed
        await builder.end_build(list(settled.items()))
        self._metrics.count("tiebreak_labeling_rebuilds_total")
        _log.info("queue_rebuilt", settled=len(settled), tasks=tasks, answers=answers)
        return True

    async def _settled(self) -> dict[str, int]:
        newest: dict[str, tuple[int, bool]] = {}
        async for record in records_of(self._log, Topic.LABELS.of(self._project.project)):
            try:
                label = decode_label(record.value)
            except BadRecord:
                continue  # not ours to judge: the trainer sets it aside
            if label.revision > newest.get(label.task_id, (0, False))[0]:
                newest[label.task_id] = (label.revision, label.withdrawn)
        return {task: revision for task, (revision, withdrawn) in newest.items() if not withdrawn}

    async def _tasks(self, builder: Builder, settled: dict[str, int]) -> tuple[int, list[str]]:
        """How many tasks were put on offer, and which of them a model took back later."""
        added, withdrawn = 0, list[str]()
        async for record in records_of(self._log, Topic.TASKS.of(self._project.project)):
            try:
                task = task_of(record, self._project)
            except BadRecord:
                continue  # the intake has put it on `dead`
            if task.withdrawn_by:
                withdrawn.append(task.task_id)
            elif task.task_id not in settled:
                added += await take_in(builder, [task])
        return added, withdrawn

    async def _answers(self, builder: Builder, settled: dict[str, int]) -> int:
        settler = Settler(self._project, builder, self._metrics)
        writer = self._log.writer()
        await writer.start()
        folded = 0
        try:
            async for annotations, judges in self._open_answers(builder, settled):
                labels = (await settler.fold(annotations, judges)).labels
                # Those that were published before the loss are the same again; the others were decided but never sent.
                await writer.publish(Outputs(messages=[label_message(label) for label in labels]))
                await builder.published([(label.task_id, label.revision) for label in labels])
                folded += len(annotations)
        finally:
            await writer.close(_CLOSE_S)
        return folded

    async def _open_answers(
        self, builder: Builder, settled: dict[str, int]
    ) -> AsyncIterator[tuple[Sequence[Annotation], Sequence[Consensus]]]:
        panel, batch = Panel(self._project, builder), list[Heard]()
        async for record in records_of(self._log, Topic.ANNOTATIONS.of(self._project.project)):
            try:
                annotation = annotation_of(record, self._project)
            except BadRecord:
                continue  # the settler has put it on `dead`
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

"""A log with labels on it, and a trainer over it, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support.eventually import PATIENCE_S, eventually
from tiebreak.contracts.candidate import Candidate, CandidateSink, Champion
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import PROTOBUF, encode, headers_for
from tiebreak.contracts.log import Log, Message, Outputs, Reader
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.deployment.port import Served
from tiebreak.events.memory import MemoryLog
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.training.given import NOTHING, Given
from tiebreak.training.sqlite import Ledger
from tiebreak.training.stage import Trainer


class ServeAll:
    """A CandidateSink without a gate: the newest candidate serves."""

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []

    async def champion(self) -> Champion | None:
        if not self.candidates:
            return None
        newest = self.candidates[-1]
        return Champion(newest.manifest.version, newest.model)

    async def consider(self, candidate: Candidate) -> None:
        self.candidates.append(candidate)


async def log_for(project: Project) -> MemoryLog:
    log = MemoryLog()
    await log.ensure_topics(specs_for(project.project, project.partitions))
    return log


async def publish_labels(log: Log, project: Project, labels: Sequence[Label]) -> None:
    await publish_raw(log, project, [(label.task_id.encode(), encode(label)) for label in labels])


async def publish_raw(
    log: Log, project: Project, records: Sequence[tuple[bytes, bytes]], where: Topic = Topic.LABELS
) -> None:
    writer = log.writer()
    await writer.start()
    topic, headers = where.of(project.project), headers_for(PROTOBUF)
    await writer.publish(Outputs([Message(topic, key, value, headers) for key, value in records]))
    await writer.close(1.0)


@dataclass
class PassAll:
    """A Probe that looks at nothing but the size: the sandbox has its own tests. ``rivals``: the versions that it was given."""

    rivals: list[tuple[str, str]] = field(default_factory=list)

    async def check(
        self, candidate: Candidate, champion: Served | None, accepted: Served | None = None, /
    ) -> tuple[str, ...]:
        self.rivals.append(
            (champion.manifest.version if champion else "", accepted.manifest.version if accepted else "")
        )
        return () if candidate.model else ("the model is empty",)


class Running:
    """A trainer at work: ``async with Running(...)``. Leaving stops it as a signal would, and closes the ledger.

    ``ledger`` is the file read from outside, so a step that is being written in a thread is seen when it is whole; ``written`` is
    the trainer's own.
    """

    def __init__(
        self,
        project: Project,
        log: Log,
        path: Path,
        sink: CandidateSink | None = None,
        clock: Clock | None = None,
        reader: Reader | None = None,
        *,
        given: Given = NOTHING,
    ) -> None:
        self._project = project
        self.collected = ServeAll()
        self._sink = sink or self.collected
        self.written = Ledger(path)
        self.ledger = Ledger(path)
        topics = [topic.of(project.project) for topic in (Topic.LABELS, Topic.DRIFT)]
        self._reader = reader or log.reader(topics, None)
        self.metrics = Metrics(project.project)
        self.trainer = Trainer(project, self.written, self._reader, self.metrics, clock or SystemClock(), given)
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.trainer.run(self._stop, self._sink))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        try:
            if self._task is not None:
                await asyncio.wait_for(self._task, PATIENCE_S)
        finally:
            await self._reader.close(1.0)
            self.ledger.close()
            self.written.close()

    @property
    def candidates(self) -> list[Candidate]:
        """What was offered, where no other sink was given."""
        return self.collected.candidates

    def check(self) -> None:
        """Pass a crash of the trainer on."""
        if self._task is not None and self._task.done():
            self._task.result()

    def trained(self, labels: int) -> bool:
        """Whether a candidate from a data set of this version was offered."""
        self.check()
        return any(c.manifest.dataset_version >= labels for c in self.candidates)

    async def trains(self, labels: int) -> None:
        """Wait for :meth:`trained`."""
        await eventually(lambda: self.trained(labels))

    async def offers(self, candidates: int) -> None:
        """Wait until so many were offered."""

        def enough() -> bool:
            self.check()
            return len(self.candidates) >= candidates

        await eventually(enough)

    async def counts(self, name: str, **labels: str) -> None:
        """Wait until this counter is above 0."""
        told = {"project": self._project.project, **labels}
        await eventually(lambda: (self.metrics.registry.get_sample_value(name, told) or 0.0) > 0.0)

"""The stream process on twins: memory log, memory budget, memory snapshots, a real scorer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.eventually import PATIENCE_S, eventually
from tiebreak.apps.scanning import scan
from tiebreak.apps.stream import StreamHandler, stream_loop_settings
from tiebreak.contracts.codec import OCTETS, headers_for
from tiebreak.contracts.log import Message, Outputs, Record
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.events.memory import MemoryLog
from tiebreak.events.stage import ConsumeLoop
from tiebreak.events.stage_history import History
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.masking import Mask
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.stage import Sampler
from tiebreak.scoring.stage import Scorer, Scoring


@dataclass
class StreamBench:
    """One project's topics in memory, and as many runs of the stream process over them as a test likes."""

    project: Project
    log: MemoryLog = field(default_factory=MemoryLog)

    async def start(self) -> None:
        await self.log.ensure_topics(specs_for(self.project.project, self.project.partitions))

    async def send(self, values: Sequence[tuple[bytes, bytes]], content_type: str = OCTETS) -> None:
        """Publish events as ``(key, value)``."""
        writer, topic = self.log.writer(), Topic.EVENTS.of(self.project.project)
        await writer.start()
        await writer.publish(Outputs([Message(topic, k, v, headers_for(content_type)) for k, v in values]))

    async def records(self, topic: Topic) -> list[Record]:
        """Everything on a topic."""
        return [record async for record in scan(self.log, self.project.project, [topic])]

    async def run(self, scorer: Scorer, group: str = "scoring", mask: Mask | None = None) -> None:
        """Run the stream process until it has caught up, then stop it."""
        clock, metrics = SystemClock(), Metrics(self.project.project)
        sampler = Sampler(self.project, MemoryBudget(self.project), MemorySnapshots(), metrics, clock)
        name = self.project.project
        history = History(self.log, Topic.EVENTS.of(name))
        scoring = Scoring(self.project, scorer, metrics, history=history)
        handler = StreamHandler(self.project, scoring, sampler, clock, mask)
        reader = self.log.reader([Topic.EVENTS.of(name)], f"tiebreak.{name}.{group}")
        loop = ConsumeLoop(reader, self.log.writer(), handler, stream_loop_settings(self.project), metrics, clock)
        stop = asyncio.Event()
        running = asyncio.create_task(loop.run(stop))
        try:
            await eventually(lambda: running.done() or loop.caught_up)
        finally:
            stop.set()
            await asyncio.wait_for(running, PATIENCE_S)

"""The real pipeline, wired as `tiebreak stream` wires it, with a stopwatch on its commits."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from redis.asyncio import Redis

from loadtests.speed.clocked import Measured, Stopwatch
from tiebreak.apps.stream import StreamHandler, serve_file, stream_loop_settings
from tiebreak.contracts.columns import offset_at
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.handling import Handled, Handler
from tiebreak.contracts.log import Batch, Partition, Positions
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.events.kafka import KafkaLog
from tiebreak.events.stage import ConsumeLoop
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.garbage import collect_rarely
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.sandbox import Sandbox
from tiebreak.sampling.redis import RedisBudget, RedisSnapshots
from tiebreak.sampling.stage import Sampler
from tiebreak.scoring.stage import Scorer, Scoring

DEADLINE_S = 300.0


class Watched:
    """A handler that tells a stopwatch of every commit, and counts dead letters. ``done`` is set with the last event.

    It begins once it owns at most ``partitions`` partitions (None: at once), so that replicas begin together.
    """

    def __init__(self, inner: Handler, watch: Stopwatch, partitions: int | None = None) -> None:
        self._inner = inner
        self._watch = watch
        self._partitions = partitions
        self._owned = 0
        self._positions: dict[Partition, int] = {}
        self._begun = 0
        self.dead = 0
        self.batches = 0
        self.done = asyncio.Event()

    async def handle(self, batch: Batch) -> Handled:
        """Pass on; remember where each partition begins."""
        if not self._positions:
            if self._partitions is not None and self._owned > self._partitions:
                raise SlowDown("The other replica has not joined yet.", retry_after_s=0.05)
            self._watch.begin()
        for partition, records in batch.items():
            self._positions.setdefault(partition, offset_at(records, 0))
        self._begun += sum(map(len, batch.values()))
        handled = await self._inner.handle(batch)
        self.dead += len(handled.dead)
        self.batches += 1
        return handled

    async def committed(self, positions: Positions) -> None:
        """Committed means: everything up to here is scored, sampled, published and acknowledged."""
        await self._inner.committed(positions)
        more = sum(at - self._positions[p] for p, at in positions.items())
        self._watch.add(more, ahead=max(0, self._begun - self._watch.done - more))
        self._positions.update(positions)
        if self._watch.finished:
            self.done.set()

    async def rewind(self) -> None:
        """Pass on."""
        await self._inner.rewind()

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """Pass on; remember how many."""
        self._owned = len(partitions)
        await self._inner.assigned(partitions)

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Pass on."""
        await self._inner.revoked(partitions)


class Pipeline:
    """Consumer, model, sampler and producer of one project on one process."""

    def __init__(
        self, kafka: str, redis: str, project: Project, events: int, group: str, partitions: int | None = None
    ) -> None:
        clock, metrics = SystemClock(), Metrics(project.project)
        self._project, self._clock = project, clock
        self._log = KafkaLog(kafka)
        self._redis = Redis.from_url(redis)
        self._sandbox = Sandbox(keep=True)
        self.scorer = Scorer(project, metrics, self._sandbox)
        self.sampler = Sampler(
            project, RedisBudget(self._redis, project), RedisSnapshots(self._redis, project), metrics, clock
        )
        handler = StreamHandler(project, Scoring(project, self.scorer, metrics), self.sampler, clock)
        self.watch = Stopwatch(events)
        self.watched = Watched(handler, self.watch, partitions)
        reader = self._log.reader([Topic.EVENTS.of(project.project)], group)
        self._loop = ConsumeLoop(
            reader, self._log.writer(), self.watched, stream_loop_settings(project), metrics, clock
        )

    async def run(self, deadline_s: float) -> Measured:
        """Consume until all events are committed. Raises TimeoutError after ``deadline_s``, and what the loop raises."""
        self._sandbox.prepare()
        await serve_file(self.scorer, self._project, self._clock)
        collect_rarely()
        stop = asyncio.Event()
        running = asyncio.create_task(self._loop.run(stop))
        finished = asyncio.create_task(self.watched.done.wait())
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.wait({running, finished}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            finished.cancel()
            await running
        return self.watch.measured(dead=self.watched.dead, batches=self.watched.batches)

    async def close(self) -> None:
        """Let go of the servers."""
        await self.sampler.close()
        self.scorer.close()
        await self._sandbox.close()
        await self._log.close()
        await self._redis.aclose()


async def run_pipeline(
    kafka: str, redis: str, project_json: str, events: int, group: str, partitions: int | None = None
) -> Measured:
    """One replica, from the group's position to the last of ``events`` events; of several when it is to have ``partitions``.

    ``predictions`` among the notes: how many there are more than before.
    """
    project = Project.model_validate_json(project_json)
    before = await _predictions(kafka, project)
    pipeline = Pipeline(kafka, redis, project, events, group, partitions)
    try:
        measured = await pipeline.run(DEADLINE_S)
    finally:
        await pipeline.close()
    after = await _predictions(kafka, project)
    return replace(measured, notes={**measured.notes, "predictions": float(after - before)})


async def _predictions(kafka: str, project: Project) -> int:
    log = KafkaLog(kafka)
    reader = log.reader([Topic.PREDICTIONS.of(project.project)], None)
    try:
        await reader.start()
        return sum((await reader.end_positions()).values())
    finally:
        await reader.close(5.0)
        await log.close()

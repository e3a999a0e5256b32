"""The consuming loop: poll, let the stage decide, publish, wait for every acknowledgement, commit.

While one batch is being published and committed the next is already decided, and what arrives meanwhile is gathered: it goes along
with the batch after that one, however little it is, so a record waits for one batch at most. Commits stay in order. Every way
out of the happy path is the same one: drop what is not committed, go back to the last commit, let the handler forget.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import structlog

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import PROTOBUF, encode, headers_for
from tiebreak.contracts.errors import NotAssigned, PublishFailed, SlowDown, Unreachable
from tiebreak.contracts.handling import Handled, Handler
from tiebreak.contracts.log import Batch, Message, Outputs, Partition, Reader, Writer
from tiebreak.contracts.topics import Topic
from tiebreak.events.bad_share import BadShare
from tiebreak.events.batching import BatchLimit, size_of
from tiebreak.events.dead_letters import dead_key, dead_letter
from tiebreak.events.polled import Polled, whole
from tiebreak.events.progress import Progress
from tiebreak.events.stage_in_flight import Done, InFlight
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.tasks import end

T = TypeVar("T")

# Turns of the event loop between two batches: fetching, publishing and committing each take several hops from task to task, and
# with a turn per batch their bytes would reach the wire batches later.
_TURNS = 10

# What a rewind heals. Anything else that a handler raises ends the loop: retrying a bug stops a partition for ever.
_HEALS = (PublishFailed, Unreachable, NotAssigned)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How one stage consumes: batches of at most ``max_records``, fewer where handling them would take longer than
    ``target_batch_s``. ``depth`` batches at most wait for acknowledgements at a time. ``commit_gap_s`` lie between two commits: what
    is acknowledged meanwhile waits for the next one.

    ``gather_s`` lie between a poll that found something and the next one: a fetch costs as much for one record as for hundreds.

    ``window_s`` after its first record came a batch is begun, or when it is full; 0: as soon as the handler is free.

    ``drain_s`` bounds what a rebalance waits for work in flight (keep it below the log's rebalance timeout), ``stop_s`` the whole
    stop. After a failure the loop waits ``backoff_s``, twice as long each time, up to ``max_backoff_s``.
    """

    stage: str
    project: str
    max_records: int = 4096
    target_batch_s: float = 0.1
    poll_s: float = 0.5
    gather_s: float = 0.0
    window_s: float = 0.0
    max_bad_share: float = 0.9
    bad_window: int = 1000
    publish_timeout_s: float = 30.0
    depth: int = 3
    commit_gap_s: float = 0.02
    drain_s: float = 10.0
    stop_s: float = 10.0
    backoff_s: float = 0.2
    max_backoff_s: float = 5.0
    lag_every_s: float = 5.0


class ConsumeLoop:
    """Runs one handler over one reader. Owns both ends: starts and closes ``reader`` and ``writer``.

    It is the reader's rebalance listener: work in flight is finished before a partition is given up.
    """

    def __init__(
        self, reader: Reader, writer: Writer, handler: Handler, settings: LoopSettings, metrics: Metrics, clock: Clock
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._settings = settings
        self._metrics = metrics
        metrics.begin(stage=settings.stage)
        self._clock = clock
        self._progress = Progress()
        self._limit = BatchLimit(settings.max_records, settings.target_batch_s)
        self._bad = BadShare(settings.max_bad_share, settings.bad_window)
        # Held while the handler works or state changes hands: the log's rebalances come from another task.
        self._turn = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None
        self._ready: deque[Polled] = deque()
        # Set by whatever gives the loop something to do.
        self._stirred = asyncio.Event()
        self._in_flight = InFlight(reader.commit, self._stirred.set, settings.commit_gap_s)
        self._retry_at: float | None = None
        # The handler has begun a batch that is not in flight yet: if that is how the loop ends, it must take it back.
        self._half_done = False
        self._failures = 0
        self._last_progress = clock.monotonic()
        self._idle = False
        self._log = structlog.get_logger("tiebreak.events").bind(stage=settings.stage, project=settings.project)

    @property
    def caught_up(self) -> bool:
        """The last poll found nothing and no work is left."""
        return self._idle and not self._ready and not self._in_flight

    @property
    def last_progress(self) -> float:
        """When the log last answered a poll or took a commit, on the clock's ``monotonic``."""
        return self._last_progress

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until ``stop``, then finish what is in flight within ``stop_s``.

        Raises TooManyBadRecords, whatever the handler raises besides SlowDown, and errors of the log that no waiting heals.
        """
        self._reader.listen(self)
        try:
            await self._writer.start()
            await self._reader.start()
            await self._consume(stop)
        finally:
            await self._shut_down()

    async def _consume(self, stop: asyncio.Event) -> None:
        stopping = self._stirring(asyncio.create_task(stop.wait()))
        lag = asyncio.create_task(self._watch_lag())
        try:
            while not stop.is_set():
                try:
                    await self._step()
                except _HEALS as error:
                    await self._recover(error, stopping)
        finally:
            await end(stopping, lag)

    async def _step(self) -> None:
        self._keep_polling()
        await self._something_to_do()
        async with self._turn:
            self._notice_polling()
            await self._keep_committing()
            if self._may_handle():
                await self._handle_next()

    def _stirring(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        task.add_done_callback(lambda _: self._stirred.set())
        return task

    def _may_handle(self) -> bool:
        due = self._retry_at is None or asyncio.get_running_loop().time() >= self._retry_at
        room = self._in_flight.has_room(self._settings.depth)
        return due and bool(self._ready) and room and self._window_s() <= 0.0

    def _window_s(self) -> float:
        """How much longer what was gathered waits for more."""
        if not self._settings.window_s or not self._ready or self._room() <= 0:
            return 0.0
        return self._ready[0].at_s + self._settings.window_s - asyncio.get_running_loop().time()

    async def _something_to_do(self) -> None:
        if self._may_handle():
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            return
        delay = None if self._retry_at is None else max(0.0, self._retry_at - asyncio.get_running_loop().time())
        if self._ready and delay is None and (window := self._window_s()) > 0.0:
            delay = window
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stirred.wait()
        self._stirred.clear()

    # ── gathering ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _room(self) -> int:
        """How many more records the next batch may have. While paused we poll for one at least: it keeps the membership alive."""
        deciding = 1 if self._half_done else 0
        left = self._limit.limit - sum(polled.count for polled in islice(self._ready, deciding, None))
        return left if self._retry_at is None else max(1, left)

    def _keep_polling(self) -> None:
        if self._polling is None and self._room() > 0:
            self._polling = self._stirring(asyncio.create_task(self._gather()))

    async def _gather(self) -> None:
        """Poll until the next batch is full, also while one is decided: the log sends more only once the last is taken."""
        while (room := self._room()) > 0:
            batch = await self._reader.poll(room, self._settings.poll_s)
            self._take(batch)
            if batch and self._settings.gather_s:
                await self._clock.sleep(self._settings.gather_s)

    def _take(self, batch: Batch) -> None:
        self._last_progress = self._clock.monotonic()
        self._idle = not batch
        if batch:
            now = asyncio.get_running_loop().time()
            self._ready.append(Polled(batch, self._progress.take(batch), now))
            self._stirred.set()
            self._metrics.count(
                "tiebreak_events_consumed_total", sum(map(len, batch.values())), stage=self._settings.stage
            )

    def _notice_polling(self) -> None:
        """Raise what ended the polling, if anything did."""
        polling = self._polling
        if polling is not None and polling.done():
            self._polling = None
            if not polling.cancelled():
                polling.result()

    # ── deciding ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _whole(self) -> Polled:
        """All that has been gathered, as one batch; it stays the first in line."""
        if len(self._ready) > 1:
            together = whole(self._ready)
            self._ready.clear()
            self._ready.append(together)
        return self._ready[0]

    async def _handle_next(self) -> None:
        polled = self._whole()
        began = self._clock.monotonic()
        self._half_done = True
        self._keep_polling()
        try:
            handled = await self._handler.handle(polled.batch)
        except SlowDown as slow:
            self._half_done = False
            self._hold(slow)
            return
        took = self._clock.monotonic() - began
        self._limit = self._limit.observed(polled.count, size_of(polled.batch), took)
        self._metrics.observe("tiebreak_events_handle_seconds", took, stage=self._settings.stage)
        self._let_go()
        # Before anything is published: a flood of bad records must not be drained into `dead`.
        self._bad.add(polled.count, len(handled.dead))
        self._ready.popleft()
        self._in_flight.add(polled.positions, handled.dead, self._publish(self._outputs(handled)))
        self._half_done = False

    def _hold(self, slow: SlowDown) -> None:
        self._log.info("slowed down", reason=slow.message, retry_after_s=slow.retry_after_s)
        self._retry_at = asyncio.get_running_loop().time() + slow.retry_after_s
        self._reader.pause(self._reader.assignment())
        self._metrics.set("tiebreak_events_paused", 1, stage=self._settings.stage)

    def _let_go(self) -> None:
        if self._retry_at is not None:
            self._retry_at = None
            self._reader.resume(self._reader.assignment())
            self._metrics.set("tiebreak_events_paused", 0, stage=self._settings.stage)

    def _outputs(self, handled: Handled) -> Outputs:
        if not handled.dead:
            return handled.outputs
        now_ms = int(self._clock.wall() * 1000)
        topic = Topic.DEAD.of(self._settings.project)
        letters = [
            Message(
                topic,
                dead_key(record),
                encode(dead_letter(self._settings.project, record, bad, now_ms)),
                headers_for(PROTOBUF),
            )
            for record, bad in handled.dead
        ]
        return Outputs([*handled.outputs.messages, *letters], handled.outputs.blocks)

    async def _publish(self, outputs: Outputs) -> None:
        if not outputs.messages and not outputs.blocks:
            return
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._settings.publish_timeout_s):
                await self._writer.publish(outputs)
        except TimeoutError:
            raise PublishFailed(f"Not acknowledged within {self._settings.publish_timeout_s} s.") from None
        stage = self._settings.stage
        self._metrics.observe("tiebreak_events_publish_seconds", self._clock.monotonic() - began, stage=stage)
        published = len(outputs.messages) + sum(len(block.keys) for block in outputs.blocks)
        self._metrics.count("tiebreak_events_published_total", published, stage=stage)

    async def _keep_committing(self) -> None:
        while (done := self._in_flight.advance()) is not None:
            await self._tell(done)

    async def _tell(self, done: Done) -> None:
        self._last_progress = self._clock.monotonic()
        self._failures = 0
        for _, bad in done.dead:
            self._metrics.count("tiebreak_events_dead_total", stage=self._settings.stage, reason=bad.reason.value)
        self._progress.commit(done.positions)
        await self._handler.committed(done.positions)

    # ── going back ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _recover(self, error: Exception, stopping: asyncio.Task[bool]) -> None:
        delay = min(self._settings.max_backoff_s, self._settings.backoff_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, 30)
        self._log.warning("going back to the last commit", error=str(error), kind=type(error).__name__, wait_s=delay)
        self._metrics.count("tiebreak_events_rewinds_total", stage=self._settings.stage)
        async with self._turn:
            with contextlib.suppress(*_HEALS):
                if (done := await self._in_flight.finish_commit()) is not None:
                    await self._tell(done)
            await self._drop_work()
            await self._handler.rewind()
            self._reader.seek(self._progress.rewind())
        waiting = asyncio.create_task(self._clock.sleep(delay))
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await end(waiting)

    async def _drop_work(self) -> None:
        """Forget everything that is fetched, held or in flight. The caller seeks."""
        await self._stop_polling()
        await self._in_flight.drop()
        self._ready.clear()
        self._let_go()
        self._bad.forget()

    async def _stop_polling(self) -> None:
        # A listener may be called from inside the poll itself: nobody can wait for himself. What it brings comes after the seek.
        if self._polling is asyncio.current_task():
            return
        polling, self._polling = self._polling, None
        await end(polling)

    async def _finish_or_drop(self, timeout_s: float) -> None:
        """Leave nothing in flight: committed if that works within ``timeout_s``, else taken back."""
        drained = await self._drain(timeout_s)
        await self._drop_work()
        if self._half_done or not drained:
            self._half_done = False
            await self._handler.rewind()

    async def _drain(self, timeout_s: float) -> bool:
        """Finish what is in flight. False: it could not be finished, its outcome is unknown."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._in_flight:
                    await self._in_flight.wait()
                    await self._keep_committing()
        except (TimeoutError, *_HEALS) as error:
            self._log.warning("work in flight was dropped", error=str(error), batches=len(self._in_flight))
            return False
        return True

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """The log gives us ``partitions``. Called by the reader."""
        async with self._turn:
            self._log.info("assigned", partitions=len(partitions))
            await self._handler.assigned(partitions)
            if self._retry_at is not None:
                self._reader.pause(self._reader.assignment())

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """The log takes ``partitions`` away. Called by the reader; returns once our work on them is committed or dropped."""
        async with self._turn:
            self._log.info("revoked", partitions=len(partitions))
            self._metrics.count("tiebreak_events_rebalances_total", stage=self._settings.stage)
            await self._finish_or_drop(self._settings.drain_s)
            await self._handler.revoked(partitions)
            self._progress.forget(partitions)
            self._reader.seek(self._progress.rewind())

    async def _shut_down(self) -> None:
        """Sources first, then the work, then the sinks; one deadline for all of it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.stop_s
        async with self._turn:
            await self._stop_polling()
            await self._finish_or_drop(self._settings.stop_s)
        await self._reader.close(max(0.5, deadline - loop.time()))
        await self._writer.close(max(0.5, deadline - loop.time()))

    async def _watch_lag(self) -> None:
        while True:
            with contextlib.suppress(*_HEALS):
                self._metrics.set("tiebreak_events_lag_records", await self._lag(), stage=self._settings.stage)
            await asyncio.sleep(self._settings.lag_every_s)

    async def _lag(self) -> int:
        ends = await self._reader.end_positions()
        # A producer's transactions leave marks that are no records: nothing to commit, and no lag.
        known = self._reader.positions() if self.caught_up else self._progress.positions()
        if ends.keys() - known.keys():
            known = {**await self._reader.committed(), **known}
        return sum(max(0, ends[partition] - known.get(partition, 0)) for partition in ends)

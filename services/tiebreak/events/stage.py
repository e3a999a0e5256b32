"""The consuming loop: poll, let the stage decide, publish, wait for every acknowledgement, commit.

While one batch is being published the next is already decided and the one after it fetched; commits stay in order. Every way
out of the happy path is the same one: drop what is not committed, go back to the last commit, let the handler forget.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import PROTOBUF, encode, headers_for
from tiebreak.contracts.errors import BadRecord, NotAssigned, PublishFailed, SlowDown, Unreachable
from tiebreak.contracts.handling import Handled, Handler
from tiebreak.contracts.log import Batch, Message, Outputs, Partition, Positions, Reader, Record, Writer
from tiebreak.contracts.topics import Topic
from tiebreak.events.bad_share import BadShare
from tiebreak.events.batching import BatchLimit, size_of
from tiebreak.events.dead_letters import dead_key, dead_letter
from tiebreak.events.progress import Progress
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.tasks import end

# What a rewind heals. Anything else that a handler raises ends the loop: retrying a bug stops a partition for ever.
_HEALS = (PublishFailed, Unreachable, NotAssigned)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How one stage consumes: batches of at most ``max_records``, fewer where handling them would take longer than
    ``target_batch_s``. ``depth`` batches at most wait for acknowledgements at a time.

    ``drain_s`` bounds what a rebalance waits for work in flight (keep it below the log's rebalance timeout), ``stop_s`` the whole
    stop. After a failure the loop waits ``backoff_s``, twice as long each time, up to ``max_backoff_s``.
    """

    stage: str
    project: str
    max_records: int = 4096
    target_batch_s: float = 0.1
    poll_s: float = 0.5
    max_bad_share: float = 0.9
    bad_window: int = 1000
    publish_timeout_s: float = 30.0
    depth: int = 2
    drain_s: float = 10.0
    stop_s: float = 10.0
    backoff_s: float = 0.2
    max_backoff_s: float = 5.0
    lag_every_s: float = 5.0


@dataclass(frozen=True, slots=True)
class _Polled:
    batch: Batch
    positions: Positions


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A decided batch whose outputs are on their way."""

    positions: Positions
    dead: Sequence[tuple[Record, BadRecord]]
    publishing: asyncio.Task[None]


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
        self._clock = clock
        self._progress = Progress()
        self._limit = BatchLimit(settings.max_records, settings.target_batch_s)
        self._bad = BadShare(settings.max_bad_share, settings.bad_window)
        # Held while the handler works or state changes hands: the log's rebalances come from another task.
        self._turn = asyncio.Lock()
        self._polling: asyncio.Task[Batch] | None = None
        self._ready: deque[_Polled] = deque()
        self._in_flight: deque[_InFlight] = deque()
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
        stopping = asyncio.create_task(stop.wait())
        lag = asyncio.create_task(self._watch_lag())
        try:
            while not stop.is_set():
                try:
                    await self._step(stopping)
                except _HEALS as error:
                    await self._recover(error, stopping)
        finally:
            await end(stopping, lag)

    async def _step(self, stopping: asyncio.Task[bool]) -> None:
        self._keep_polling()
        await self._something_to_do(stopping)
        async with self._turn:
            while self._in_flight and self._in_flight[0].publishing.done():
                await self._commit_first()
            self._take_polled()
            if self._may_handle():
                await self._handle_next()

    def _keep_polling(self) -> None:
        # While paused we go on polling although a batch waits: it is what keeps the membership alive.
        if self._polling is None and (not self._ready or self._retry_at is not None):
            self._polling = asyncio.create_task(self._reader.poll(self._limit.limit, self._settings.poll_s))

    def _may_handle(self) -> bool:
        due = self._retry_at is None or asyncio.get_running_loop().time() >= self._retry_at
        return due and bool(self._ready) and len(self._in_flight) < self._settings.depth

    async def _something_to_do(self, stopping: asyncio.Task[bool]) -> None:
        if self._may_handle():
            await asyncio.sleep(0)  # let publishing and the listener have their turn
            return
        events: set[asyncio.Task[object]] = {stopping}
        if self._polling is not None:
            events.add(self._polling)
        if self._in_flight:
            events.add(self._in_flight[0].publishing)
        delay = None if self._retry_at is None else max(0.0, self._retry_at - asyncio.get_running_loop().time())
        await asyncio.wait(events, timeout=delay, return_when=asyncio.FIRST_COMPLETED)

    def _take_polled(self) -> None:
        if self._polling is None or not self._polling.done():
            return
        polling, self._polling = self._polling, None
        if polling.cancelled():
            return
        batch = polling.result()
        self._last_progress = self._clock.monotonic()
        self._idle = not batch
        if batch:
            self._ready.append(_Polled(batch, self._progress.take(batch)))
            self._metrics.count(
                "tiebreak_events_consumed_total", sum(map(len, batch.values())), stage=self._settings.stage
            )

    async def _handle_next(self) -> None:
        polled = self._ready[0]
        # Fetch the next batch while this one is decided.
        if self._retry_at is None and self._polling is None:
            self._polling = asyncio.create_task(self._reader.poll(self._limit.limit, self._settings.poll_s))
        began = self._clock.monotonic()
        self._half_done = True
        try:
            handled = await self._handler.handle(polled.batch)
        except SlowDown as slow:
            self._half_done = False
            self._hold(slow)
            return
        took = self._clock.monotonic() - began
        self._limit = self._limit.observed(sum(map(len, polled.batch.values())), size_of(polled.batch), took)
        self._metrics.observe("tiebreak_events_handle_seconds", took, stage=self._settings.stage)
        self._let_go()
        # Before anything is published: a flood of bad records must not be drained into `dead`.
        self._bad.add(sum(map(len, polled.batch.values())), len(handled.dead))
        self._ready.popleft()
        publishing = asyncio.create_task(self._publish(self._outputs(handled)))
        self._in_flight.append(_InFlight(polled.positions, handled.dead, publishing))
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

    async def _commit_first(self) -> None:
        """The oldest batch in flight: acknowledged, then committed, then the handler may keep its state."""
        first = self._in_flight[0]
        # Not awaited itself: whoever runs out of time here must not cancel it.
        await asyncio.wait({first.publishing})
        first.publishing.result()
        await self._reader.commit(first.positions)
        self._in_flight.popleft()
        self._progress.commit(first.positions)
        self._last_progress = self._clock.monotonic()
        self._failures = 0
        for _, bad in first.dead:
            self._metrics.count("tiebreak_events_dead_total", stage=self._settings.stage, reason=bad.reason.value)
        await self._handler.committed(first.positions)

    # ── going back ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _recover(self, error: Exception, stopping: asyncio.Task[bool]) -> None:
        delay = min(self._settings.max_backoff_s, self._settings.backoff_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, 30)
        self._log.warning("going back to the last commit", error=str(error), kind=type(error).__name__, wait_s=delay)
        self._metrics.count("tiebreak_events_rewinds_total", stage=self._settings.stage)
        async with self._turn:
            await self._drop_work()
            await self._handler.rewind()
            self._reader.seek(self._progress.rewind())
        waiting = asyncio.create_task(self._clock.sleep(delay))
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await end(waiting)

    async def _drop_work(self) -> None:
        """Forget everything that is fetched, held or in flight. The caller seeks."""
        await self._stop_polling()
        await end(*(flying.publishing for flying in self._in_flight))
        self._in_flight.clear()
        self._ready.clear()
        self._let_go()
        self._bad.forget()

    async def _stop_polling(self) -> None:
        polling, self._polling = self._polling, None
        # A listener may be called from inside the poll itself: nobody can wait for himself.
        if polling is None or polling is asyncio.current_task():
            return
        await end(polling)
        if not polling.cancelled() and polling.exception() is None:
            # It had ended before it could be cancelled: what it took counts as taken, or a seek would skip it.
            self._progress.take(polling.result())

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
                    await self._commit_first()
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
        known = self._progress.positions()
        if ends.keys() - known.keys():
            known = {**await self._reader.committed(), **known}
        return sum(max(0, ends[partition] - known.get(partition, 0)) for partition in ends)

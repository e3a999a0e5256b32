"""A Kafka consumer as a Reader: bytes out, nothing committed but on request, no silent jump."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)

from tiebreak.contracts.errors import ConfigError, NotAssigned, Unreadable
from tiebreak.contracts.log import Batch, Partition, Positions, RebalanceListener, Record
from tiebreak.events.kafka_client import Cluster, drop_consumer, fetch_counted, to_client
from tiebreak.events.kafka_columns import read_columns
from tiebreak.events.leases import missing_topic, position_lost

Fetched = dict[TopicPartition, Sequence[Record]]
# getmany keeps its own time; ours only guards against its waiting for a rebalance without any limit.
_GRACE_S = 0.05


class Asker(Protocol):
    """What is asked about topics by another client than the reader's own, which may be waiting for records."""

    async def partitions(self, topic: str) -> int: ...

    async def first_positions(self, partitions: Collection[Partition]) -> Positions: ...

    async def end_positions(self, partitions: Collection[Partition]) -> Positions: ...


class KafkaReader:
    """A :class:`tiebreak.contracts.log.Reader`. ``count`` tells how many partitions a topic has, ``ends`` where they end."""

    def __init__(
        self,
        cluster: Cluster,
        asker: Asker,
        topics: Sequence[str],
        group: str | None,
    ) -> None:
        self._cluster = cluster
        self._asker = asker
        self._topics = tuple(topics)
        self._group = group
        self._listener: RebalanceListener | None = None
        self._consumer: AIOKafkaConsumer | None = None
        # Outlives a poll: a cancelled `getmany` would leave the client's books wrong, a slow one must not block `poll`.
        self._fetching: asyncio.Task[Fetched] | None = None
        self._owned: frozenset[Partition] = frozenset()
        self._paused: frozenset[Partition] = frozenset()
        self._settled = asyncio.Event()
        self._failure: BaseException | None = None
        # Where a reader without a group stood when its client was lost: nobody else knows.
        self._stood: Positions = {}

    def listen(self, listener: RebalanceListener) -> None:
        self._listener = listener

    async def start(self) -> None:
        if self._consumer is not None:
            return
        partitions = await self._all_partitions()
        consumer = AIOKafkaConsumer(
            **self._cluster.consumer_arguments(self._group),
            # Exactly one: with several, aiokafka joins once for each.
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        )
        self._consumer = consumer
        try:
            if self._group is None:
                await self._start_groupless(consumer, partitions)
            else:
                consumer.subscribe(self._topics, listener=_Bridge(self._begin_rebalance, self._end_rebalance))
                # Joining waits for the other members to finish their batches.
                join_s = self._cluster.options.connect_timeout_s + self._cluster.options.rebalance_timeout_s
                await self._cluster.bounded(self._join(consumer), join_s)
        except BaseException:
            self._consumer = None
            await drop_consumer(consumer, 1.0)
            raise

    async def _all_partitions(self) -> frozenset[Partition]:
        found: set[Partition] = set()
        for topic in self._topics:
            count = await self._asker.partitions(topic)
            if count == 0:
                raise missing_topic(topic)
            found.update(Partition(topic, index) for index in range(count))
        return frozenset(found)

    async def _join(self, consumer: AIOKafkaConsumer) -> None:
        await consumer.start()
        await self._settled.wait()

    async def _start_groupless(self, consumer: AIOKafkaConsumer, partitions: frozenset[Partition]) -> None:
        assigned = set(to_client(dict.fromkeys(partitions, 0)))
        consumer.assign(assigned)
        timeout_s = self._cluster.options.connect_timeout_s
        await self._cluster.bounded(consumer.start(), timeout_s)
        await self._cluster.bounded(consumer.seek_to_beginning(*assigned), timeout_s)
        for tp, position in to_client(self._stood).items():
            consumer.seek(tp, position)
        await self._end_rebalance(assigned)

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def poll(self, max_records: int, timeout_s: float) -> Batch:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while True:
            consumer = await self._running()
            left = max(0.0, end - loop.time())
            fetched = await self._fetched(consumer, max_records, left)
            batch = {} if fetched is None else self._hand_out(consumer, fetched)
            if batch or loop.time() >= end:
                return batch

    async def _running(self) -> AIOKafkaConsumer:
        if self._failure is not None:
            raise self._failure
        if self._consumer is None:
            if self._owned:
                await self._tell_revoked()
            await self.start()
        assert self._consumer is not None  # noqa: S101 (start made it)
        return self._consumer

    async def _fetched(self, consumer: AIOKafkaConsumer, max_records: int, left: float) -> Fetched | None:
        """What the client has for us within ``left`` seconds; None while partitions change hands."""
        if not self._settled.is_set():
            await _within(self._settled.wait(), left)
            return None
        if self._fetching is None:
            self._fetching = asyncio.create_task(_get_many(consumer, max_records, left))
        fetching = self._fetching
        await asyncio.wait({fetching}, timeout=left + _GRACE_S)
        if not fetching.done() or not self._settled.is_set() or self._fetching is not fetching:
            return None
        self._fetching = None
        try:
            return fetching.result()
        except NoOffsetForPartitionError as error:
            await self._start_at_oldest(consumer, error.args[0])
            return None
        except KafkaError as error:
            raise await self._poll_error(error) from error

    async def _start_at_oldest(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> None:
        """A group without a position begins with the oldest record. ``auto_offset_reset`` would also hide lost positions."""
        if partition in consumer.assignment():
            await self._cluster.bounded(consumer.seek_to_beginning(partition), self._cluster.options.request_timeout_s)

    async def _poll_error(self, error: KafkaError) -> Exception:
        if isinstance(error, OffsetOutOfRangeError):
            partition, position = next(iter(error.args[0].items()))
            where = Partition(partition.topic, partition.partition)
            return position_lost(where, position, "the broker has no such offset")
        if isinstance(error, RecordTooLargeError):
            _, partition, position, size = error.args
            return Unreadable(
                f"The record at {partition.topic}/{partition.partition} offset {position} is larger than the fetch size {size}.",
                fix="Raise max_record_bytes, or move the group past it.",
            )
        if isinstance(error, UnsupportedCodecError):
            return ConfigError(f"Records are compressed with {error.args[0]}.", fix="Install it: pip install cramjam.")
        if isinstance(error, GroupAuthorizationFailedError | TopicAuthorizationFailedError):
            return ConfigError(f"Kafka refuses us: {type(error).__name__} {error.args}.", fix="Grant the ACL.")
        # The client is beyond repair (its coordination has ended): the next poll starts a new one.
        await self._drop(1.0)
        return self._cluster.unreachable(error)

    def _hand_out(self, consumer: AIOKafkaConsumer, fetched: Fetched) -> Batch:
        batch: dict[Partition, Sequence[Record]] = {}
        for tp, records in fetched.items():
            partition = Partition(tp.topic, tp.partition)
            if partition in self._paused:
                # Fetched before the pause: hand it out when the pause is over.
                consumer.seek(tp, records[0].offset)
            elif records:
                batch[partition] = records
        return batch

    def seek(self, positions: Positions) -> None:
        for tp, position in to_client({p: at for p, at in positions.items() if p in self._owned}).items():
            if self._consumer is not None and tp in self._consumer.assignment():
                self._forget_fetched(tp)
                self._consumer.seek(tp, position)

    def _forget_fetched(self, tp: TopicPartition) -> None:
        """Records that lie ready from the old position are not the next ones any more."""
        self._ready().pop(tp, None)

    def _ready(self) -> Fetched:
        """Records that were fetched and not handed out yet."""
        ready = self._fetching
        if ready is not None and ready.done() and not ready.cancelled() and ready.exception() is None:
            return ready.result()
        return {}

    def pause(self, partitions: frozenset[Partition]) -> None:
        self._paused |= partitions & self._owned
        self._apply_pause()

    def resume(self, partitions: frozenset[Partition]) -> None:
        self._paused -= partitions
        if self._consumer is not None:
            ours = self._consumer.assignment()
            self._consumer.resume(*(tp for tp in to_client(dict.fromkeys(partitions, 0)) if tp in ours))

    def _apply_pause(self) -> None:
        if self._consumer is not None:
            ours = self._consumer.assignment()
            self._consumer.pause(*(tp for tp in to_client(dict.fromkeys(self._paused, 0)) if tp in ours))

    def assignment(self) -> frozenset[Partition]:
        return self._owned

    async def commit(self, positions: Positions) -> None:
        if self._group is None or not positions:
            return
        if self._consumer is None or positions.keys() - self._owned:
            raise NotAssigned("The partitions have moved on.")
        try:
            await self._cluster.bounded(
                _commit(self._consumer, to_client(positions)), self._cluster.options.request_timeout_s
            )
        except _Moved as error:
            raise NotAssigned(f"The partitions have moved on: {error}") from error

    async def committed(self) -> Positions:
        consumer, owned = self._consumer, sorted(self._owned)
        if self._group is None or consumer is None:
            return {}
        calls = asyncio.gather(*(consumer.committed(tp) for tp in to_client(dict.fromkeys(owned, 0))))
        stored = await self._cluster.bounded(calls, self._cluster.options.request_timeout_s)
        return {p: position for p, position in zip(owned, stored, strict=True) if position is not None}

    def positions(self) -> Positions:
        if self._consumer is None:
            return self._stood
        ours = self._consumer.assignment()
        state_of = self._consumer._subscription.subscription.assignment.state_value  # noqa: SLF001 (the public way waits)
        states = {p: state_of(tp) for tp in to_client(dict.fromkeys(self._owned, 0)) if tp in ours for p in [_ours(tp)]}
        found = {p: state.position for p, state in states.items() if state.has_valid_position}
        # The client is past what lies ready here and was not handed out.
        return found | {_ours(tp): records[0].offset for tp, records in self._ready().items() if records}

    async def end_positions(self) -> Positions:
        return await self._asker.end_positions(self._owned)

    async def first_positions(self) -> Positions:
        return await self._asker.first_positions(self._owned)

    # ── rebalances: aiokafka calls these from its own task ────────────────────────────────────────────────────────

    async def _begin_rebalance(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002 (all of them: eager)
        self._settled.clear()
        if self._fetching is not None and self._fetching.done():
            self._forget_fetching()
        await self._tell_revoked()

    async def _end_rebalance(self, assigned: set[TopicPartition]) -> None:
        self._owned = frozenset(Partition(tp.topic, tp.partition) for tp in assigned)
        self._paused &= self._owned
        # aiokafka forgets every pause at a rebalance.
        self._apply_pause()
        if self._owned and self._listener is not None:
            await self._tell(self._listener.assigned(self._owned))
        self._settled.set()

    async def _tell_revoked(self) -> None:
        if self._owned and self._listener is not None:
            await self._tell(self._listener.revoked(self._owned))
        self._owned = frozenset()

    async def _tell(self, call: Coroutine[Any, Any, None]) -> None:
        """aiokafka logs and swallows what a listener raises; we keep it for the next poll."""
        telling = asyncio.create_task(call)
        try:
            await asyncio.wait({telling})
        finally:
            telling.cancel()
        if telling.done() and not telling.cancelled() and telling.exception() is not None:
            self._failure = telling.exception()

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def close(self, timeout_s: float) -> None:
        await _within(self._tell_revoked(), timeout_s)
        self._listener = None  # the client must not tell it again while it leaves
        await self._drop(timeout_s)
        self._owned, self._stood = frozenset(), {}

    async def _drop(self, timeout_s: float) -> None:
        if self._group is None:
            self._stood = self.positions()
        consumer, self._consumer = self._consumer, None
        self._settled.clear()
        self._forget_fetching()
        if consumer is not None:
            await drop_consumer(consumer, timeout_s)

    def _forget_fetching(self) -> None:
        fetching, self._fetching = self._fetching, None
        if fetching is not None and not fetching.cancel() and not fetching.cancelled():
            fetching.exception()  # seen


def _ours(tp: TopicPartition) -> Partition:
    return Partition(tp.topic, tp.partition)


class _Moved(Exception):
    """The broker, or the client itself, says that the partitions are somebody else's."""


async def _commit(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
    try:
        await consumer.commit(offsets)
    except (CommitFailedError, IllegalStateError) as error:
        raise _Moved(str(error)) from error


async def _get_many(consumer: AIOKafkaConsumer, max_records: int, timeout_s: float) -> Fetched:
    with fetch_counted(consumer):
        read_columns(consumer)
        fetched: Fetched = await consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        return fetched


async def _within(call: Coroutine[Any, Any, Any], timeout_s: float) -> None:
    """Wait for ``call`` at most ``timeout_s``; a late one is given up."""
    try:
        async with asyncio.timeout(timeout_s):
            await call
    except TimeoutError:
        return


class _Bridge(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """aiokafka's listener as two of our callbacks."""

    def __init__(
        self,
        revoked: Callable[[set[TopicPartition]], Awaitable[None]],
        assigned: Callable[[set[TopicPartition]], Awaitable[None]],
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._assigned(assigned)

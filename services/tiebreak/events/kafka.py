"""The log on Apache Kafka, through aiokafka: production."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.producer.message_accumulator import BatchBuilder

from tiebreak.contracts.errors import ClockRefused, ConfigError, PublishFailed, TiebreakError, Unreachable
from tiebreak.contracts.log import Headers, Outputs, Partition, Positions, RebalanceListener
from tiebreak.contracts.topics import Topic, TopicSpec
from tiebreak.events.kafka_client import (
    Cluster,
    KafkaOptions,
    KafkaSecurity,
    drop_consumer,
    drop_producer,
    has_room,
    to_client,
)
from tiebreak.events.kafka_reader import KafkaReader
from tiebreak.events.leases import missing_topic
from tiebreak.events.runs import Run, runs_of

_DROP_S = 1.0
# Where a setting comes from, in Kafka's protocol: this one is the topic's own.
_OF_TOPIC = 1
# Kafka deletes whole segments, and none that is being written: with its own seven days a record would outlive a shorter retention.
_SEGMENTS = 8
_LEAST_SEGMENT_MS = 600_000


class KafkaLog:
    """A :class:`tiebreak.contracts.log.Log` on the cluster that ``bootstrap`` (``host:port``, comma separated) leads to."""

    def __init__(
        self,
        bootstrap: str,
        client_id: str = "tiebreak",
        security: KafkaSecurity | None = None,
        options: KafkaOptions | None = None,
    ) -> None:
        self._cluster = Cluster(bootstrap, client_id, security or KafkaSecurity(), options or KafkaOptions())
        self._admin: AIOKafkaAdminClient | None = None
        self._asker: AIOKafkaConsumer | None = None
        self._connecting = asyncio.Lock()

    def reader(
        self, topics: Sequence[str], group: str | None, listener: RebalanceListener | None = None
    ) -> KafkaReader:
        reader = KafkaReader(self._cluster, self, topics, group)
        if listener is not None:
            reader.listen(listener)
        return reader

    def writer(self) -> KafkaWriter:
        return KafkaWriter(self._cluster, self.partitions)

    async def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        admin = await self._connected()
        # Three copies where there are three brokers, and an acknowledgement then means two of them have it.
        copies = min(3, len(admin._client.cluster.brokers()))  # noqa: SLF001 (the admin client shows its brokers nowhere else)
        topics = [self._new_topic(spec, copies) for spec in specs]
        answer = await self._call(admin.create_topics(topics))
        for topic, code, detail in (error[:3] for error in answer.topic_errors):
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise ConfigError(f"Kafka refuses the topic {topic}: {error.__name__} {detail or ''}".rstrip() + ".")
        for spec in specs:
            await self._until_led(spec)

    async def retain(self, specs: Sequence[TopicSpec]) -> None:
        admin = await self._connected()
        for spec in specs:
            (known,) = await self._call(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, spec.name)]))
            code, detail, _, _, entries = known.resources[0]
            self._check(spec, code, detail)
            # What is not sent again would be set back to the broker's defaults: the old request replaces all that a topic has.
            own = {name: value for name, value, _, source, *_ in entries if source == _OF_TOPIC}
            wanted = ConfigResource(ConfigResourceType.TOPIC, spec.name, own | _kept(spec))
            (done,) = await self._call(admin.alter_configs([wanted]))
            self._check(spec, *done.resources[0][:2])

    def _check(self, spec: TopicSpec, code: int, detail: str | None) -> None:
        if code:
            raise ConfigError(f"Kafka refuses the retention of {spec.name}: {for_code(code).__name__} {detail or ''}.")

    def _new_topic(self, spec: TopicSpec, copies: int) -> NewTopic:
        limit = self._cluster.options.max_record_bytes
        configs = {
            **_kept(spec),
            "cleanup.policy": "compact" if spec.compacted else "delete",
            # A dead letter wraps a whole record.
            "max.message.bytes": str(2 * limit if spec.name.endswith(f".{Topic.DEAD}") else limit),
            "min.insync.replicas": str(2 if copies > 2 else 1),
        }
        return NewTopic(spec.name, spec.partitions, copies, topic_configs=configs)

    async def _until_led(self, spec: TopicSpec) -> None:
        """A topic is made before its partitions have leaders; until then clients would be told that it does not exist."""
        end = asyncio.get_running_loop().time() + self._cluster.options.request_timeout_s
        while await self.partitions(spec.name) == 0:
            if asyncio.get_running_loop().time() > end:
                raise self._cluster.unreachable()
            await asyncio.sleep(0.02)

    async def partitions(self, topic: str) -> int:
        admin = await self._connected()
        (described,) = await self._call(admin.describe_topics([topic]))
        if for_code(described["error_code"]) is UnknownTopicOrPartitionError:
            return 0
        partitions = described["partitions"]
        return len(partitions) if all(p["leader"] >= 0 for p in partitions) else 0

    async def end_positions(self, partitions: Collection[Partition]) -> Positions:
        """The position after the newest record of each of ``partitions``, which must exist.

        Asked by a client of its own: a broker answers a connection's requests in turn, so on a reader's own the question would
        wait until the fetch before it finds a record or ends (``fetch.max.wait.ms``, half a second on a quiet topic).
        """
        if not partitions:
            return {}
        asker = await self._asking()
        ends = await self._call(asker.end_offsets(list(to_client(dict.fromkeys(partitions, 0)))))
        return {Partition(tp.topic, tp.partition): end for tp, end in ends.items()}

    async def first_positions(self, partitions: Collection[Partition]) -> Positions:
        """The position of the oldest record of each of ``partitions``, asked as :meth:`end_positions` asks."""
        if not partitions:
            return {}
        asker = await self._asking()
        firsts = await self._call(asker.beginning_offsets(list(to_client(dict.fromkeys(partitions, 0)))))
        return {Partition(tp.topic, tp.partition): first for tp, first in firsts.items()}

    async def _asking(self) -> AIOKafkaConsumer:
        async with self._connecting:
            if self._asker is None:
                # An open transaction hides what comes after it from readers; that there is something must be seen all the same.
                arguments = self._cluster.consumer_arguments(None) | {"isolation_level": "read_uncommitted"}
                asker = AIOKafkaConsumer(**arguments)
                try:
                    await self._cluster.bounded(asker.start(), self._cluster.options.connect_timeout_s)
                except BaseException:
                    await drop_consumer(asker, _DROP_S)
                    raise
                self._asker = asker
            return self._asker

    async def ping(self) -> None:
        admin = await self._connected()
        await self._call(admin.describe_cluster())

    async def _connected(self) -> AIOKafkaAdminClient:
        async with self._connecting:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self._cluster.client_arguments())
                try:
                    await self._cluster.bounded(admin.start(), self._cluster.options.connect_timeout_s)
                except BaseException:
                    await admin.close()
                    raise
                self._admin = admin
            return self._admin

    async def _call(self, call: Awaitable[Any]) -> Any:
        try:
            return await self._cluster.bounded(call, self._cluster.options.connect_timeout_s)
        except Unreachable:
            # The brokers may come back at other addresses: look them up again next time.
            await self.close()
            raise

    async def close(self) -> None:
        admin, self._admin = self._admin, None
        asker, self._asker = self._asker, None
        if admin is not None:
            await admin.close()
        if asker is not None:
            await drop_consumer(asker, _DROP_S)


class KafkaWriter:
    """A :class:`tiebreak.contracts.log.Writer`: idempotent, ``acks=all``, every delivery awaited.

    After any failure the producer is thrown away: its sequence numbers may no longer be the broker's (aiokafka #1017), and a
    new one costs a round trip. What it held may or may not have been written, as PublishFailed says.
    """

    def __init__(self, cluster: Cluster, count: Callable[[str], Awaitable[int]]) -> None:
        self._cluster = cluster
        self._count = count
        self._counts: dict[str, int] = {}
        self._producer: AIOKafkaProducer | None = None
        # Held while records are queued, not while they are delivered: calls stay in order and overlap all the same.
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        async with self._turn:
            await self._running()

    async def _running(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(**self._cluster.producer_arguments())
            try:
                await self._cluster.bounded(producer.start(), self._cluster.options.connect_timeout_s)
            except BaseException:
                await drop_producer(producer, _DROP_S)
                raise
            self._producer = producer
        return self._producer

    async def publish(self, outputs: Outputs) -> None:
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._cluster.options.delivery_timeout_s):
                async with self._turn:
                    producer = await self._running()
                    deliveries = await self._queue(producer, outputs)
                await _all(deliveries)
        except (KafkaError, TiebreakError, TimeoutError) as error:
            await self._drop(producer)
            kind = ClockRefused if isinstance(error, InvalidTimestampError) else PublishFailed
            raise kind(f"Not every record was acknowledged: {_why(error)}") from error
        except asyncio.CancelledError:
            await self._drop(producer)
            raise

    async def _queue(self, producer: AIOKafkaProducer, outputs: Outputs) -> list[asyncio.Future[Any]]:
        """Hand all records to the producer. Partitions whose queue is full wait for it side by side, after all others."""
        await self._know({m.topic for m in outputs.messages} | {b.partition.topic for b in outputs.blocks})
        by_partition: dict[Partition, list[Run]] = {}
        for run in runs_of(outputs, self._counts.__getitem__):
            if run.partition.index >= self._counts[run.partition.topic]:
                raise missing_topic(f"{run.partition.topic}/{run.partition.index}")
            by_partition.setdefault(run.partition, []).append(run)
        deliveries: list[asyncio.Future[Any]] = []
        waiting: dict[Partition, Iterator[BatchBuilder]] = {}
        for partition, runs in by_partition.items():
            batches = _batches(producer, runs)
            first = list(islice(batches, 2))
            if len(first) < 2 and has_room(producer, partition):
                # This does not wait, and a task would cost as much again.
                deliveries += await _queue_batches(producer, partition, first)
            else:
                waiting[partition] = chain(first, batches)
        for queued in await _all([asyncio.ensure_future(_queue_batches(producer, *item)) for item in waiting.items()]):
            deliveries += queued
        return deliveries

    async def _know(self, topics: set[str]) -> None:
        # aiokafka asks for an unknown topic again and again until its timeout, a log line each time.
        for topic in topics - self._counts.keys():
            count = await self._count(topic)
            if count == 0:
                raise missing_topic(topic)
            self._counts[topic] = count

    async def _drop(self, producer: AIOKafkaProducer | None) -> None:
        if producer is not None and producer is self._producer:
            self._producer = None
            self._counts.clear()
            await drop_producer(producer, _DROP_S)

    async def close(self, timeout_s: float) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await drop_producer(producer, timeout_s)


def _batches(producer: AIOKafkaProducer, runs: Sequence[Run]) -> Iterator[BatchBuilder]:
    """One partition's records, in batches as full as they may be. A record above the batch size travels alone."""
    batch = producer.create_batch()
    shared: Headers = ()
    as_list: list[tuple[str, bytes]] = []
    for run in runs:
        for key, value, given in zip(run.keys, run.values, run.headers, strict=True):
            if given is not shared:
                # The record builder takes nothing but lists; the records of a block share theirs.
                shared, as_list = given, given if isinstance(given, list) else list(given)
            if batch.append(key=key, value=value, timestamp=None, headers=as_list) is None:
                yield batch
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=as_list)
    if batch.record_count():
        # Closed: nobody else's `send` may add to what we have counted.
        batch.close()
        yield batch


async def _queue_batches(
    producer: AIOKafkaProducer, partition: Partition, batches: Iterable[BatchBuilder]
) -> list[asyncio.Future[Any]]:
    return [await producer.send_batch(batch, partition.topic, partition=partition.index) for batch in batches]


def _why(error: Exception) -> str:
    if isinstance(error, InvalidTimestampError):
        return (
            "Kafka refuses its time (InvalidTimestampError): this machine's clock and the broker's are further apart than"
            " `message.timestamp.after.max.ms` of the topic allows (an hour). Set the clock that is wrong."
        )
    return f"{type(error).__name__} {error}"


async def _all(futures: Sequence[asyncio.Future[Any]]) -> list[Any]:
    """Every result, or the first error once all have ended: none may fail unseen."""
    results = await asyncio.gather(*futures, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _kept(spec: TopicSpec) -> dict[str, str]:
    if spec.retention_ms is None:
        return {"retention.ms": "-1"}
    segment_ms = max(_LEAST_SEGMENT_MS, spec.retention_ms // _SEGMENTS)
    return {"retention.ms": str(spec.retention_ms), "segment.ms": str(segment_ms)}

"""What the Kafka adapter needs around aiokafka 0.14: settings, an orderly end for clients that hang, errors as ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.helpers import create_ssl_context

from tiebreak.contracts.columns import FetchedRecord
from tiebreak.contracts.errors import ConfigError, Unreachable
from tiebreak.contracts.log import Partition

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """SASL and TLS, passed on to the client. Files are PEM. The password is never shown."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def client_arguments(self) -> dict[str, Any]:
        """As aiokafka's clients take them. Raises ConfigError for a file that cannot be read."""
        arguments: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            arguments |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        if self.protocol.endswith("SSL"):
            files = {"cafile": self.ca_file, "certfile": self.cert_file, "keyfile": self.key_file}
            try:
                arguments["ssl_context"] = create_ssl_context(**{name: path or None for name, path in files.items()})
            except OSError as error:
                raise ConfigError(f"A TLS file for Kafka cannot be used: {error}") from error
        return arguments


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """How the clients behave. ``rebalance_timeout_s`` must exceed the slowest batch plus its drain, or a member is thrown out.

    ``max_record_bytes`` is what topics made by us take (`dead` twice that: it wraps a record) and what clients send and fetch.
    """

    connect_timeout_s: float = 10.0
    request_timeout_s: float = 15.0
    delivery_timeout_s: float = 30.0
    session_timeout_s: float = 10.0
    heartbeat_s: float = 1.0
    rebalance_timeout_s: float = 60.0
    max_poll_interval_s: float = 300.0
    max_record_bytes: int = 4 * 2**20
    max_batch_bytes: int = 512 * 2**10
    compression: Literal["gzip", "snappy", "lz4", "zstd"] | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the brokers are and how to talk to them."""

    bootstrap: str
    client_id: str
    security: KafkaSecurity
    options: KafkaOptions

    def client_arguments(self) -> dict[str, Any]:
        """What every aiokafka client takes."""
        return {
            "bootstrap_servers": self.bootstrap,
            "client_id": self.client_id,
            "request_timeout_ms": _ms(self.options.request_timeout_s),
            **self.security.client_arguments(),
        }

    def consumer_arguments(self, group: str | None) -> dict[str, Any]:
        """What our consumers add; PROMISES.md says which traps each of these avoids."""
        options = self.options
        return {
            **self.client_arguments(),
            "group_id": group,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "isolation_level": "read_committed",
            "session_timeout_ms": _ms(options.session_timeout_s),
            "heartbeat_interval_ms": _ms(options.heartbeat_s),
            "rebalance_timeout_ms": _ms(options.rebalance_timeout_s),
            "max_poll_interval_ms": _ms(options.max_poll_interval_s),
            "max_partition_fetch_bytes": 2 * options.max_record_bytes,
        }

    def producer_arguments(self) -> dict[str, Any]:
        """What our producers add."""
        options = self.options
        return {
            **self.client_arguments(),
            "acks": "all",
            "enable_idempotence": True,
            "max_batch_size": options.max_batch_bytes,
            "max_request_size": 2 * options.max_record_bytes,
            "compression_type": options.compression,
        }

    def unreachable(self, error: BaseException | None = None) -> Unreachable:
        """The one line for a cluster that does not answer."""
        why = f" ({type(error).__name__})" if isinstance(error, KafkaError) else ""
        return Unreachable(
            f"Kafka at {self.bootstrap} does not answer{why}.",
            fix="Start it (`make kafka` starts one here), or name another with --kafka.",
        )

    async def bounded(self, call: Awaitable[T], timeout_s: float) -> T:
        """``call``'s answer. Raises Unreachable after ``timeout_s``, or when the client gives up."""
        try:
            async with asyncio.timeout(timeout_s):
                return await call
        except (KafkaError, TimeoutError, OSError) as error:
            raise self.unreachable(error) from error


def lighten_records(records: Any) -> None:
    """Have what ``aiokafka.consumer.fetcher.PartitionRecords`` holds come out as :class:`FetchedRecord`.

    aiokafka's own record is a frozen dataclass of eleven fields; making one takes longer than reading its bytes does.
    """
    records._consumer_record = _light  # noqa: SLF001


def _light(partition: TopicPartition, record: Any) -> FetchedRecord:
    # The class's own constructor takes half as long again.
    return tuple.__new__(
        FetchedRecord,
        (partition[0], partition[1], record.offset, record.timestamp, record.key, record.value, record.headers),
    )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def to_client(positions: Mapping[Partition, int]) -> dict[TopicPartition, int]:
    """Our partitions as aiokafka's."""
    return {TopicPartition(p.topic, p.index): position for p, position in positions.items()}


def has_room(producer: AIOKafkaProducer, partition: Partition) -> bool:
    """Whether a batch for ``partition`` would be taken at once: none waits to be sent."""
    place = TopicPartition(partition.topic, partition.index)
    return not producer._message_accumulator._batches.get(place)  # noqa: SLF001 (no public way, as below)


class _Leaving(set[Any]):
    """A set that nobody has to be in to leave it."""

    def remove(self, element: Any, /) -> None:
        """As ``discard``."""
        self.discard(element)


async def drop_producer(producer: AIOKafkaProducer, timeout_s: float) -> None:
    """End ``producer`` within ``timeout_s`` whatever the brokers do; what it still holds fails.

    An idempotent producer never lets a batch expire, so with the broker down ``stop()`` waits for ever (aiokafka #1101). The
    batches are failed first; the connections are closed under it if even that does not help.
    """
    accumulator = producer._message_accumulator  # noqa: SLF001 (no public way, see above)
    queued = (batch for batches in accumulator._batches.values() for batch in batches)  # noqa: SLF001
    held = [*accumulator._pending_batches, *queued]  # noqa: SLF001
    pending = set(accumulator._pending_batches)  # noqa: SLF001
    accumulator.fail_all(KafkaTimeoutError())
    # Each takes itself out of these when its failure is told. One that waits to be sent again is not among them, and the event loop
    # would print a traceback for it.
    accumulator._pending_batches = _Leaving(pending)  # noqa: SLF001
    for batch in held:
        for future in (batch.future, batch._drain_waiter):  # noqa: SLF001
            if future.done() and not future.cancelled():
                future.exception()  # seen: whoever published has been told already
    await _end(producer.stop(), producer.client.close, timeout_s)


async def drop_consumer(consumer: AIOKafkaConsumer, timeout_s: float) -> None:
    """End ``consumer`` within ``timeout_s``; the group notices by the session timeout when it could not be told."""
    fetcher = consumer._fetcher  # noqa: SLF001 (a stop that is cut short leaves it running)
    await _end(consumer.stop(), consumer._client.close, timeout_s)  # noqa: SLF001
    if fetcher is not None:
        await _end(fetcher.close(), None, 1.0)


async def _end(stop: Any, close_connections: Any, timeout_s: float) -> None:
    stopping = asyncio.ensure_future(stop)
    try:
        await asyncio.wait({stopping}, timeout=timeout_s)
        if not stopping.done() and close_connections is not None:
            # Requests in flight fail now, and with them what `stop` waits for.
            await asyncio.wait({asyncio.ensure_future(close_connections())}, timeout=1.0)
            await asyncio.wait({stopping}, timeout=1.0)
    finally:
        stopping.cancel()
        await asyncio.wait({stopping}, timeout=1.0)
        if stopping.done() and not stopping.cancelled():
            stopping.exception()  # seen: the client is gone either way


@contextlib.contextmanager
def fetch_counted(consumer: AIOKafkaConsumer) -> Iterator[None]:
    """Around a ``getmany`` that may raise: aiokafka 0.14 then counts it as going on for ever, and ``max_poll_interval`` dies."""
    state = consumer._subscription  # noqa: SLF001
    before = state._fetch_count  # noqa: SLF001
    try:
        yield
    finally:
        state._fetch_count = before  # noqa: SLF001

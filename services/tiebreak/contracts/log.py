"""The partitioned log as a port. Adapters: ``events/kafka.py``, ``events/redis_streams.py``, ``events/memory.py``.

One contract suite (``tests/contracts``) holds all three to what is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tiebreak.contracts.topics import TopicSpec

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one topic."""

    topic: str
    index: int


class Record(Protocol):
    """One record as the client hands it out: bytes, never deserialised by a client (a poison record would stop the partition).

    aiokafka's ``ConsumerRecord`` satisfies this without a copy. ``timestamp`` is in milliseconds.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """The :class:`Record` of the adapters that are ours."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


Batch = Mapping[Partition, Sequence[Record]]
Positions = Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class Message:
    """One record to publish. ``partition`` None: chosen from the key (murmur2, as Java's producer does)."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Many records for one partition, as columns: the hot path's way out (aiokafka ``send_batch``).

    ``keys`` and ``values`` have the same length; ``headers`` are shared by all records of the block, unless ``record_headers``,
    as many as keys, give each its own.
    """

    partition: Partition
    keys: Sequence[bytes]
    values: Sequence[bytes]
    headers: Headers = ()
    record_headers: Sequence[Headers] | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a handler wants published before the positions of its batch are committed."""

    messages: Sequence[Message] = ()
    blocks: Sequence[Block] = ()


class RebalanceListener(Protocol):
    """Told of changes in what a reader owns. Called in order, awaited, never concurrently with each other, never with nothing.

    They may run beside the owner's own work, even beside a ``poll`` that waits. A partition is revoked before anybody else may
    own it, and until ``revoked`` returns it may still be committed. An adapter may revoke what it assigns again at once (Kafka).
    An exception in a listener is raised by the next ``poll``.
    """

    async def revoked(self, partitions: frozenset[Partition]) -> None: ...
    async def assigned(self, partitions: frozenset[Partition]) -> None: ...


class Reader(Protocol):
    """A member of a consumer group (or, with ``group=None``, a reader of all partitions that commits nothing).

    Order holds within a partition. Nothing is committed but by :meth:`commit`. A new group, and a groupless reader,
    starts at the oldest record. One that has to connect anew goes on where it stood.
    """

    def listen(self, listener: RebalanceListener) -> None:
        """Replace the listener. Before :meth:`start`."""

    async def start(self) -> None:
        """Connect. Raises Unreachable within ``connect_timeout_s`` if no broker answers, ConfigError if a topic is missing."""

    async def poll(self, max_records: int, timeout_s: float) -> Batch:
        """Up to ``max_records`` records, waiting at most ``timeout_s`` for the first. Empty when there are none.

        Paused partitions give nothing, yet polling goes on: it is what keeps the membership alive. One call at a time;
        cancelling it loses no record. Raises Unreachable (call it again later), PositionLost or Unreadable.
        """

    async def commit(self, positions: Positions) -> None:
        """Store the *next* offset to read per partition. Raises NotAssigned if the partition has moved on, Unreachable."""

    async def committed(self) -> Positions:
        """The stored positions of the assigned partitions (absent: none stored)."""

    def seek(self, positions: Positions) -> None:
        """The next poll of these partitions starts there. Those that are not ours are ignored."""

    def pause(self, partitions: frozenset[Partition]) -> None:
        """Hand out nothing from them until resumed. Survives a rebalance as long as the partition stays ours."""

    def resume(self, partitions: frozenset[Partition]) -> None:
        """Undo :meth:`pause`."""

    def assignment(self) -> frozenset[Partition]:
        """What this member owns now."""

    def positions(self) -> Positions:
        """The next offset that :meth:`poll` has to give, per assigned partition where that is known.

        An end may be reached without a record at it: a transaction's mark takes an offset of its own (Kafka).
        """

    async def first_positions(self) -> Positions:
        """The offset of the oldest record that retention left, per assigned partition: the end where it left none."""

    async def end_positions(self) -> Positions:
        """The offset after the newest record, per assigned partition. Lag is end minus position.

        Before it may lie what is no record, and what somebody's open transaction holds back (Kafka): ``runtime/reading.py`` decides
        whether a reader is there.
        """

    async def close(self, timeout_s: float) -> None:
        """Revoke what is owned, leave the group. Bounded: with the broker down the client is dropped after ``timeout_s``."""


class Writer(Protocol):
    """Publishes with ``acks=all``."""

    async def start(self) -> None:
        """Connect. Raises Unreachable."""

    async def publish(self, outputs: Outputs) -> None:
        """Return once *every* record is acknowledged; otherwise raise PublishFailed.

        Order within a partition is kept, also between two calls of which the second begins before the first returns.
        """

    async def close(self, timeout_s: float) -> None: ...


class Log(Protocol):
    """A factory of readers and writers on one cluster, and its administration."""

    def reader(self, topics: Sequence[str], group: str | None, listener: RebalanceListener | None = None) -> Reader: ...

    def writer(self) -> Writer: ...

    async def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create what is missing. An existing topic is left as it is."""

    async def retain(self, specs: Sequence[TopicSpec]) -> None:
        """Give topics that exist the retention of their ``specs``, and nothing else. Raises ConfigError where the log refuses."""

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 when it does not exist."""

    async def ping(self) -> None:
        """Raise Unreachable, naming the address, if the cluster does not answer."""

    async def close(self) -> None: ...

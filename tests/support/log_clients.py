"""What the tests of the log share: topics nobody else uses, reading to an end, a listener that remembers, a counting handler."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.eventually import PATIENCE_S
from tiebreak.contracts.handling import Handled
from tiebreak.contracts.log import (
    Batch,
    Log,
    Message,
    Outputs,
    Partition,
    Positions,
    Reader,
    RebalanceListener,
    Record,
    StoredRecord,
)
from tiebreak.contracts.topics import TopicSpec


async def fresh_topic(log: Log, partitions: int = 1, *, project: str = "", name: str = "events") -> str:
    """A topic of a project of its own; ``project`` names one that exists."""
    topic = f"tiebreak.{project or 't' + uuid.uuid4().hex[:12]}.{name}"
    await log.ensure_topics([TopicSpec(topic, partitions, None)])
    return topic


def stored(
    value: bytes | None = b"v", *, key: bytes | None = b"k", partition: int = 0, offset: int = 0
) -> StoredRecord:
    """A record of topic ``t``, without headers."""
    return StoredRecord("t", partition, offset, 1_700_000_000_000, key, value)


def messages(topic: str, values: Sequence[str], partition: int | None = 0) -> Outputs:
    """One message per value, with the value as its key too."""
    return Outputs([Message(topic, v.encode(), v.encode(), (), partition) for v in values])


async def publish(log: Log, outputs: Outputs) -> None:
    """With a writer of its own."""
    writer = log.writer()
    await writer.start()
    try:
        await writer.publish(outputs)
    finally:
        await writer.close(5.0)


@asynccontextmanager
async def reading(
    log: Log, topic: str, group: str | None, listener: RebalanceListener | None = None
) -> AsyncIterator[Reader]:
    """A started reader, closed at the end."""
    reader = log.reader([topic], group, listener)
    try:
        await reader.start()
        yield reader
    finally:
        await reader.close(5.0)


async def take(reader: Reader, count: int, deadline_s: float = PATIENCE_S) -> list[Record]:
    """Poll until ``count`` records came (or more, if the last poll gave more)."""
    got: list[Record] = []
    async with asyncio.timeout(deadline_s):
        while len(got) < count:
            batch = await reader.poll(100, 0.5)
            got.extend(record for records in batch.values() for record in records)
    return got


def values(records: Sequence[Record]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


@dataclass
class Listener:
    """Remembers what it was told, in order."""

    told: list[tuple[str, frozenset[Partition]]] = field(default_factory=list)

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        self.told.append(("assigned", partitions))

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        self.told.append(("revoked", partitions))

    def owned(self) -> frozenset[Partition]:
        """What the calls add up to."""
        owned: frozenset[Partition] = frozenset()
        for what, partitions in self.told:
            owned = owned | partitions if what == "assigned" else owned - partitions
        return owned


@dataclass
class Collector:
    """A handler that copies each value to ``out``; its state follows the loop's commits and rewinds."""

    out: str
    taken: list[Record] = field(default_factory=list)
    positions: dict[Partition, int] = field(default_factory=dict)
    rewinds: int = 0

    @property
    def seen(self) -> list[str]:
        """What was handled and not taken back."""
        return values(self.taken)

    @property
    def kept(self) -> list[str]:
        """What of it is committed: later batches may have been handled when a commit comes."""
        return values(self._committed())

    def _committed(self) -> list[Record]:
        return [r for r in self.taken if r.offset < self.positions.get(Partition(r.topic, r.partition), 0)]

    async def handle(self, batch: Batch) -> Handled:
        records = [record for records in batch.values() for record in records]
        self.taken.extend(records)
        return Handled(Outputs([Message(self.out, r.key or b"", r.value or b"", (), 0) for r in records]))

    async def committed(self, positions: Positions) -> None:
        self.positions.update(positions)

    async def rewind(self) -> None:
        self.taken = self._committed()
        self.rewinds += 1

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """Nothing to load."""

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Nothing to forget."""

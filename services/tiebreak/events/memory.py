"""The log in memory: tests and simulation. Same positions, leases and retention as on Redis, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import NotAssigned, PublishFailed, TiebreakError, Unreachable
from tiebreak.contracts.log import Outputs, Partition, Positions, RebalanceListener, StoredRecord
from tiebreak.contracts.topics import TopicSpec
from tiebreak.events.assignment import share_of
from tiebreak.events.leases import Beat, Lease, missing_topic
from tiebreak.events.runs import Run, runs_of
from tiebreak.events.stage_reader import LeasedReader
from tiebreak.runtime.clock import SystemClock


@dataclass
class _Stream:
    """One partition. ``base`` is the offset of ``records[0]``: it grows as retention removes the oldest."""

    base: int = 0
    records: list[StoredRecord] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.base + len(self.records)

    def trim(self, before_ms: float) -> None:
        gone = next((i for i, r in enumerate(self.records) if r.timestamp >= before_ms), len(self.records))
        del self.records[:gone]
        self.base += gone

    def since(self, position: int, count: int) -> list[StoredRecord]:
        start = max(0, position - self.base)
        return self.records[start : start + count]


@dataclass
class _Group:
    leases: dict[str, float] = field(default_factory=dict)
    owners: dict[Partition, str] = field(default_factory=dict)
    positions: dict[Partition, int] = field(default_factory=dict)

    def drop(self, member: str) -> None:
        self.leases.pop(member, None)
        self.owners = {p: owner for p, owner in self.owners.items() if owner != member}


class _Signal:
    """Wakes everybody who waits now."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return


class MemoryLog:
    """A :class:`tiebreak.contracts.log.Log`. ``stop`` and ``resume``: a broker that goes down and comes back with its data."""

    def __init__(self, clock: Clock | None = None, lease: Lease | None = None) -> None:
        self._lease = lease or Lease()
        self._store = _MemoryStore(clock or SystemClock(), self._lease)

    def reader(
        self, topics: Sequence[str], group: str | None, listener: RebalanceListener | None = None
    ) -> LeasedReader:
        reader = LeasedReader(self._store, topics, group, self._lease)
        if listener is not None:
            reader.listen(listener)
        return reader

    def writer(self) -> MemoryWriter:
        return MemoryWriter(self._store)

    async def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        await self._store.ping()
        for spec in specs:
            self._store.create(spec)

    async def retain(self, specs: Sequence[TopicSpec]) -> None:
        await self._store.ping()
        for spec in specs:
            self._store.retain(spec)

    async def partitions(self, topic: str) -> int:
        return await self._store.partitions(topic)

    async def ping(self) -> None:
        await self._store.ping()

    async def close(self) -> None:
        """Nothing to let go."""

    def stop(self) -> None:
        """Answer nothing until :meth:`resume`."""
        self._store.set_down(True)

    def resume(self) -> None:
        """Be back, with all data."""
        self._store.set_down(False)


class MemoryWriter:
    """A :class:`tiebreak.contracts.log.Writer`."""

    def __init__(self, store: _MemoryStore) -> None:
        self._store = store

    async def start(self) -> None:
        await self._store.ping()

    async def publish(self, outputs: Outputs) -> None:
        try:
            await self._store.ping()
            for run in runs_of(outputs, self._store.count):
                self._store.append(run)
        except TiebreakError as error:
            raise PublishFailed(f"Nothing was acknowledged: {error}") from error
        # An acknowledgement takes a turn of the loop on every log: callers must not come to rely on less.
        await asyncio.sleep(0)

    async def close(self, timeout_s: float) -> None:
        """Nothing to let go."""


class _MemoryStore:
    """What the readers and writers of one log share."""

    def __init__(self, clock: Clock, lease: Lease) -> None:
        self._clock = clock
        self._session_s = lease.session_s
        self._topics: dict[str, TopicSpec] = {}
        self._streams: dict[Partition, _Stream] = {}
        self._groups: dict[str, _Group] = {}
        self._appended = _Signal()
        self._regrouped = _Signal()
        self._down = False

    def set_down(self, down: bool) -> None:
        self._down = down
        self._appended.fire()
        self._regrouped.fire()

    async def ping(self) -> None:
        if self._down:
            raise Unreachable("The log in memory was stopped.")

    def create(self, spec: TopicSpec) -> None:
        if spec.name not in self._topics:
            self._topics[spec.name] = spec
            self._streams.update({Partition(spec.name, i): _Stream() for i in range(spec.partitions)})

    def retain(self, spec: TopicSpec) -> None:
        self._topics[spec.name] = replace(spec, partitions=self.count(spec.name))

    def count(self, topic: str) -> int:
        if topic not in self._topics:
            raise missing_topic(topic)
        return self._topics[topic].partitions

    async def partitions(self, topic: str) -> int:
        await self.ping()
        return self._topics[topic].partitions if topic in self._topics else 0

    def append(self, run: Run) -> None:
        if run.partition.index >= self.count(run.partition.topic):
            raise missing_topic(f"{run.partition.topic}/{run.partition.index}")
        stream = self._streams[run.partition]
        now_ms = int(self._clock.wall() * 1000)
        topic, index = run.partition.topic, run.partition.index
        for key, value, headers in zip(run.keys, run.values, run.headers, strict=True):
            stream.records.append(StoredRecord(topic, index, stream.end, now_ms, key, value, tuple(headers)))
        retention = self._topics[topic].retention_ms
        if retention is not None:
            stream.trim(now_ms - retention)
        self._appended.fire()

    async def bounds(self, partitions: Collection[Partition]) -> Mapping[Partition, tuple[int, int]]:
        await self.ping()
        return {p: (self._streams[p].base, self._streams[p].end) for p in partitions}

    async def read(
        self, positions: Positions, max_records: int, timeout_s: float
    ) -> Mapping[Partition, list[StoredRecord]]:
        await self.ping()
        got = self._take(positions, max_records)
        if not got:
            await self._appended.wait(timeout_s)
            await self.ping()
            got = self._take(positions, max_records)
        return got

    def _take(self, positions: Positions, max_records: int) -> dict[Partition, list[StoredRecord]]:
        got: dict[Partition, list[StoredRecord]] = {}
        left = max_records
        for i, (partition, position) in enumerate(positions.items()):
            # A fair share of what is left, so that a deep partition does not starve the others.
            share = -(-left // (len(positions) - i))
            records = self._streams[partition].since(position, share)
            if records:
                got[partition] = records
                left -= len(records)
        return got

    async def changed(self, group: str, timeout_s: float) -> None:  # noqa: ARG002 (one signal for all groups is enough)
        await self._regrouped.wait(timeout_s)

    async def beat(self, group: str, member: str, partitions: Sequence[Partition], joining: bool) -> Beat | None:
        await self.ping()
        state = self._groups.setdefault(group, _Group())
        now = self._clock.monotonic()
        before = set(state.leases)
        for late in [name for name, end in state.leases.items() if end <= now]:
            state.drop(late)
        if member not in state.leases and not joining:
            return None
        state.leases[member] = now + self._session_s
        due = share_of(member, state.leases, partitions)
        for partition in due:
            state.owners.setdefault(partition, member)
        if before != set(state.leases):
            self._regrouped.fire()
        return Beat(due, frozenset(p for p in partitions if state.owners.get(p) == member))

    async def release(self, group: str, member: str, partitions: Collection[Partition]) -> None:
        await self.ping()
        owners = self._groups[group].owners
        for partition in partitions:
            if owners.get(partition) == member:
                del owners[partition]
        self._regrouped.fire()

    async def leave(self, group: str, member: str) -> None:
        await self.ping()
        self._groups[group].drop(member)
        self._regrouped.fire()

    async def commit(self, group: str, member: str, positions: Positions) -> None:
        await self.ping()
        state = self._groups[group]
        for partition in positions:
            if state.owners.get(partition) != member:
                raise NotAssigned(f"{partition.topic}/{partition.index} belongs to another reader.")
        state.positions.update(positions)

    async def committed(self, group: str, partitions: Collection[Partition]) -> Positions:
        await self.ping()
        stored = self._groups[group].positions if group in self._groups else {}
        return {p: stored[p] for p in partitions if p in stored}

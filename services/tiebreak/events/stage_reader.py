"""The shell of a reader of the logs that are ours (Redis Streams, memory): group membership by leases, over a port, ``Store``."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import structlog

from tiebreak.contracts.errors import NotAssigned, Unreachable
from tiebreak.contracts.log import Batch, Partition, Positions, RebalanceListener, StoredRecord
from tiebreak.events.leases import Beat, Lease, missing_topic, position_lost
from tiebreak.runtime.tasks import end


class Store(Protocol):
    """What an adapter does for :class:`LeasedReader`. Every call may raise Unreachable."""

    async def ping(self) -> None: ...

    async def partitions(self, topic: str) -> int: ...

    async def beat(self, group: str, member: str, partitions: Sequence[Partition], joining: bool) -> Beat | None:
        """Extend the lease, drop dead members, claim what is due and free. None: the lease had run out (``joining`` starts one)."""

    async def release(self, group: str, member: str, partitions: Collection[Partition]) -> None:
        """Give these up, as far as they are the member's."""

    async def leave(self, group: str, member: str) -> None:
        """Give all up at once."""

    async def changed(self, group: str, timeout_s: float) -> None:
        """Return when the group's membership may have changed, after ``timeout_s`` at the latest."""

    async def commit(self, group: str, member: str, positions: Positions) -> None:
        """All or nothing. Raises NotAssigned if one of them has another owner."""

    async def committed(self, group: str, partitions: Collection[Partition]) -> Positions: ...

    async def bounds(self, partitions: Collection[Partition]) -> Mapping[Partition, tuple[int, int]]:
        """The oldest offset there is and the one after the newest; equal when the partition is empty."""

    async def read(
        self, positions: Positions, max_records: int, timeout_s: float
    ) -> Mapping[Partition, list[StoredRecord]]:
        """Records from ``positions`` on, waiting for the first at most ``timeout_s``."""


class LeasedReader:
    """A :class:`tiebreak.contracts.log.Reader` over a :class:`Store`."""

    def __init__(self, store: Store, topics: Sequence[str], group: str | None, lease: Lease) -> None:
        self._store = store
        self._topics = tuple(topics)
        self._group = group
        self._lease = lease
        self._listener: RebalanceListener | None = None
        self._member = uuid.uuid4().hex
        self._partitions: tuple[Partition, ...] = ()
        self._positions: dict[Partition, int] = {}
        self._unchecked: set[Partition] = set()
        self._paused: frozenset[Partition] = frozenset()
        self._woken = asyncio.Event()
        self._membership: asyncio.Task[None] | None = None
        self._arriving: frozenset[Partition] = frozenset()
        self._failure: BaseException | None = None
        self._log = structlog.get_logger("tiebreak.events").bind(group=group)

    def listen(self, listener: RebalanceListener) -> None:
        self._listener = listener

    async def start(self) -> None:
        if self._partitions:
            return
        try:
            async with asyncio.timeout(self._lease.connect_timeout_s):
                await self._store.ping()
                self._partitions = await self._all_partitions()
                if self._group is None:
                    await self._own(frozenset(self._partitions))
                else:
                    await self._beat(self._group, joining=True)
        except TimeoutError:
            raise Unreachable(f"The log did not answer within {self._lease.connect_timeout_s} s.") from None
        if self._group is not None:
            self._membership = asyncio.create_task(self._keep_membership(self._group), name=f"membership {self._group}")
            self._membership.add_done_callback(self._membership_ended)

    async def _all_partitions(self) -> tuple[Partition, ...]:
        found: list[Partition] = []
        for topic in self._topics:
            count = await self._store.partitions(topic)
            if count == 0:
                raise missing_topic(topic)
            found.extend(Partition(topic, index) for index in range(count))
        return tuple(sorted(found))

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def poll(self, max_records: int, timeout_s: float) -> Batch:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            self._raise_failure()
            await self._check_positions()
            self._woken.clear()
            wanted = {p: at for p, at in self._positions.items() if p not in self._paused | self._arriving}
            left = max(0.0, deadline - loop.time())
            batch = self._accept(wanted, await self._read(wanted, max_records, left))
            if batch or loop.time() >= deadline:
                return batch

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _read(self, wanted: Positions, max_records: int, left: float) -> Mapping[Partition, list[StoredRecord]]:
        """Read until something comes, the time is over, or what we may read has changed."""
        woken = asyncio.create_task(self._woken.wait())
        tasks: set[asyncio.Task[object]] = {woken}
        reading = asyncio.create_task(self._store.read(wanted, max_records, left)) if wanted else None
        if reading is not None:
            tasks.add(reading)
        try:
            await asyncio.wait(tasks, timeout=None if reading else left, return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading is not None and reading.done() else {}
        finally:
            await end(*tasks)

    def _accept(self, wanted: Positions, got: Mapping[Partition, list[StoredRecord]]) -> Batch:
        """Hand out what is still ours, unpaused and at the position that was asked for; the rest will be read again."""
        batch: dict[Partition, list[StoredRecord]] = {}
        for partition, records in got.items():
            if partition in self._paused or self._positions.get(partition) != wanted[partition]:
                continue
            if records[0].offset != wanted[partition]:
                raise position_lost(partition, wanted[partition], f"the oldest record is {records[0].offset}")
            self._positions[partition] = records[-1].offset + 1
            batch[partition] = records
        return batch

    async def _check_positions(self) -> None:
        """A position outside the log would read nothing for ever, or jump: it must name itself instead."""
        unchecked = [p for p in self._unchecked if p in self._positions]
        self._unchecked.clear()
        if not unchecked:
            return
        for partition, (oldest, newest) in (await self._store.bounds(unchecked)).items():
            position = self._positions.get(partition, newest)
            if not oldest <= position <= newest:
                raise position_lost(partition, position, f"it holds {oldest} to {newest}")

    def seek(self, positions: Positions) -> None:
        for partition, position in positions.items():
            if partition in self._positions:
                self._positions[partition] = position
                self._unchecked.add(partition)
        self._woken.set()

    def pause(self, partitions: frozenset[Partition]) -> None:
        self._paused |= partitions & self.assignment()
        self._woken.set()

    def resume(self, partitions: frozenset[Partition]) -> None:
        self._paused -= partitions
        self._woken.set()

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._positions)

    def positions(self) -> Positions:
        return dict(self._positions)

    async def first_positions(self) -> Positions:
        return {p: bounds[0] for p, bounds in (await self._store.bounds(self.assignment())).items()}

    async def end_positions(self) -> Positions:
        return {p: bounds[1] for p, bounds in (await self._store.bounds(self.assignment())).items()}

    async def committed(self) -> Positions:
        return {} if self._group is None else await self._store.committed(self._group, self.assignment())

    async def commit(self, positions: Positions) -> None:
        if self._group is None or not positions:
            return
        strangers = positions.keys() - self._positions.keys()
        if strangers:
            raise NotAssigned(f"{min(strangers)} is not assigned to this reader.")
        await self._store.commit(self._group, self._member, positions)

    # ── membership ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep_membership(self, group: str) -> None:
        settled = False
        while True:
            await self._store.changed(group, self._lease.beat_s if settled else self._lease.settle_s)
            try:
                settled = await self._beat(group)
            except Unreachable as error:
                self._log.warning("heartbeat failed", error=str(error))
                settled = True  # no hurry: ask again after a whole beat

    def _membership_ended(self, task: asyncio.Task[None]) -> None:
        # A listener that raises ends the task, and nobody awaits it: the next poll says so.
        if not task.cancelled():
            self._failure = task.exception()
            self._woken.set()

    async def _beat(self, group: str, *, joining: bool = False) -> bool:
        """One heartbeat and what follows from it. True when we own exactly what we are due."""
        beat = await self._store.beat(group, self._member, self._partitions, joining)
        if beat is None:
            self._log.warning("lease lost", partitions=len(self._positions))
            await self._disown(self.assignment())
            # A new name: a commit still on its way under the old one must stay refused.
            self._member = uuid.uuid4().hex
            return await self._beat(group, joining=True)
        surplus = self.assignment() - beat.due
        if surplus:
            await self._disown(surplus)
            await self._store.release(group, self._member, surplus)
        gained = (beat.owned & beat.due) - self.assignment()
        if gained:
            await self._own(gained)
        return self.assignment() == beat.due

    async def _own(self, partitions: frozenset[Partition]) -> None:
        committed = {} if self._group is None else await self._store.committed(self._group, partitions)
        bounds = await self._store.bounds(partitions)
        self._arriving = partitions
        self._positions.update({p: committed.get(p, bounds[p][0]) for p in partitions})
        self._unchecked |= partitions
        if self._listener is not None:
            await self._listener.assigned(partitions)
        # Only now may they be read: the listener may have moved or paused them.
        self._arriving = frozenset()
        self._woken.set()

    async def _disown(self, partitions: frozenset[Partition]) -> None:
        if partitions and self._listener is not None:
            await self._listener.revoked(partitions)
        for partition in partitions:
            self._positions.pop(partition, None)
        self._paused -= partitions
        self._woken.set()

    async def close(self, timeout_s: float) -> None:
        await end(self._membership)
        self._membership = None
        try:
            async with asyncio.timeout(timeout_s):
                await self._disown(self.assignment())
                if self._group is not None and self._partitions:
                    await self._store.leave(self._group, self._member)
        except (TimeoutError, Unreachable):
            # The lease runs out by itself.
            self._log.warning("left without a word: the log does not answer")
        finally:
            self._positions.clear()
            self._partitions = ()

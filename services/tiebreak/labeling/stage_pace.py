"""A handler that does not begin a batch right after another: under load its batches grow, and each costs less per record."""

from __future__ import annotations

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.handling import Handled, Handler
from tiebreak.contracts.log import Batch, Partition, Positions


class Paced:
    """Implements ``Handler`` over another. At least ``every_s`` lie between the beginnings of two batches.

    After a pause a record is handled at once. Under load the API, which shares the process, gets its turn: a batch costs a dozen
    round trips whether it holds one answer or a hundred.
    """

    def __init__(self, handler: Handler, clock: Clock, every_s: float) -> None:
        self._handler = handler
        self._clock = clock
        self._every_s = every_s
        self._next = clock.monotonic()

    async def handle(self, batch: Batch) -> Handled:
        wait_s = self._next - self._clock.monotonic()
        if wait_s > 0:
            await self._clock.sleep(wait_s)
        self._next = self._clock.monotonic() + self._every_s
        return await self._handler.handle(batch)

    async def committed(self, positions: Positions) -> None:
        await self._handler.committed(positions)

    async def rewind(self) -> None:
        await self._handler.rewind()

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        await self._handler.assigned(partitions)

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        await self._handler.revoked(partitions)

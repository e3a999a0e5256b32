"""Reading again what came before a position: how a stage gets its memory of the stream back after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from tiebreak.contracts.errors import PositionLost, Unreachable
from tiebreak.contracts.log import Batch, Log, Partition

_MAX_RECORDS = 2000
_POLL_S = 0.5
_PATIENCE_POLLS = 20
_CLOSE_S = 2.0


class History:
    """One topic's past (the port ``contracts.ports.History``). Reads without a group, so it moves nobody's position."""

    def __init__(self, log: Log, topic: str) -> None:
        self._log = log
        self._topic = topic

    async def before(self, ranges: Mapping[Partition, tuple[int, int]]) -> AsyncIterator[Batch]:
        """The records from the first offset up to, but without, the second, where they are kept still.

        In order within a partition; some may come twice. Raises Unreachable.
        """
        try:
            async for batch in self._read(ranges, sought=True):
                yield batch
        except PositionLost:
            # Retention took the oldest of somebody's: nobody says whose, and the others must not be read from their very start.
            for partition, bounds in ranges.items():
                async for batch in self._alone({partition: bounds}):
                    yield batch

    async def _alone(self, ranges: Mapping[Partition, tuple[int, int]]) -> AsyncIterator[Batch]:
        try:
            async for batch in self._read(ranges, sought=True):
                yield batch
        except PositionLost:
            async for batch in self._read(ranges, sought=False):
                yield batch

    async def _read(self, ranges: Mapping[Partition, tuple[int, int]], *, sought: bool) -> AsyncIterator[Batch]:
        """``sought``: begin at the ranges' first offsets, else at the oldest record there is."""
        reader = self._log.reader([self._topic], None)
        await reader.start()
        try:
            if sought:
                reader.seek({partition: first for partition, (first, _) in ranges.items()})
            left = set(ranges)
            reader.pause(reader.assignment() - left)
            idle = 0
            while left:
                batch = await reader.poll(_MAX_RECORDS, _POLL_S)
                idle = 0 if batch else idle + 1
                if idle > _PATIENCE_POLLS:
                    raise Unreachable(f"The log does not give back the past of {self._topic}.")
                wanted = {p: [r for r in records if r.offset < ranges[p][1]] for p, records in batch.items()}
                yield {p: records for p, records in wanted.items() if records}
                done = frozenset(p for p, records in batch.items() if records[-1].offset + 1 >= ranges[p][1])
                reader.pause(done)
                left -= done
        finally:
            await reader.close(_CLOSE_S)

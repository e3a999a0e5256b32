"""Reading again what came before a position: how a stage gets its memory of the stream back after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from tiebreak.contracts.errors import PositionLost
from tiebreak.contracts.log import Batch, Log, Partition
from tiebreak.runtime.reading import short_of, up_to

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
            ends = {partition: end for partition, (_, end) in ranges.items()}
            reader.pause(reader.assignment() - ends.keys())
            async for batch in up_to(reader, ends):
                wanted = {p: [r for r in records if r.offset < ranges[p][1]] for p, records in batch.items()}
                yield {p: records for p, records in wanted.items() if records}
                reader.pause(frozenset(ends.keys() - short_of(reader, ends).keys()))
        finally:
            await reader.close(_CLOSE_S)

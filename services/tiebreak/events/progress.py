"""What a consumer has taken and what it has committed: where to go back to when a batch has to be done again."""

from __future__ import annotations

from collections.abc import Iterable

from tiebreak.contracts.columns import offset_at
from tiebreak.contracts.log import Batch, Partition, Positions


class Progress:
    """Positions of the partitions owned now. A position is the offset of the *next* record.

    Between ``start`` and ``took`` lie the records whose effects are not yet acknowledged.
    """

    def __init__(self) -> None:
        self._start: dict[Partition, int] = {}
        self._took: dict[Partition, int] = {}

    def take(self, batch: Batch) -> Positions:
        """A batch is about to be handled. Returns the positions to commit once its effects are acknowledged."""
        ends: dict[Partition, int] = {}
        for partition, records in batch.items():
            if records:
                self._start.setdefault(partition, offset_at(records, 0))
                ends[partition] = self._took[partition] = offset_at(records, -1) + 1
        return ends

    def commit(self, positions: Positions) -> None:
        """Everything before ``positions`` is acknowledged. Partitions that were given up meanwhile are left alone."""
        for partition, position in positions.items():
            if partition in self._start:
                self._start[partition] = position

    def rewind(self) -> Positions:
        """Take everything back that is not committed. Returns where to read on."""
        self._took = dict(self._start)
        return dict(self._start)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These belong to somebody else now."""
        for partition in partitions:
            self._start.pop(partition, None)
            self._took.pop(partition, None)

    def positions(self) -> Positions:
        """The committed position of every partition that has given a record since it was assigned."""
        return dict(self._start)

    def taken(self) -> Positions:
        """The next record to handle, per partition."""
        return dict(self._took)

"""Events that come again: a replay is predicted again and never selected twice; another event under a used id is set aside. Pure.

What is seen depends on the log alone, not on how it is cut into batches: a record looks back over at least ``window`` and fewer
than twice as many offsets of its own partition (an id is the record's key, so its repeats meet in one partition).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.columns import offsets_of, parts_of, values_of
from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.hashing import hashes, hashes_of_table
from tiebreak.contracts.log import Partition, Record
from tiebreak.contracts.tensors import EventColumns
from tiebreak.scoring.columns import keep_rows

WINDOW = 16_384
_PURPOSE = "value"


@dataclass(slots=True)
class _Generation:
    """The ids first seen in one run of ``window`` offsets, each with its row in ``offsets`` and ``digests``."""

    number: int
    rows: dict[bytes, int] = field(default_factory=dict)
    offsets: array[int] = field(default_factory=lambda: array("q"))
    digests: array[int] = field(default_factory=lambda: array("q"))


class Replays:
    """What was seen lately in each partition. Handing the same record out again (after a restart or a rewind) is no replay."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._seen: dict[Partition, list[_Generation]] = {}

    def sift(self, columns: EventColumns) -> tuple[EventColumns, list[tuple[Record, BadRecord]]]:
        """``columns`` with ``replayed`` filled in, less the rows whose id another event had before: those are dead."""
        replayed: list[int] = []
        clashing: list[int] = []
        for partition, rows in columns.spans:
            first = columns.records[rows.start].offset // self._window
            last = columns.records[rows.stop - 1].offset // self._window
            if first == last:
                self._sift(columns, partition, rows, (replayed, clashing))
                continue
            for part in _cut(columns, rows, self._window):
                self._sift(columns, partition, part, (replayed, clashing))
        if not replayed and not clashing:
            return columns, []
        dead = [(columns.records[row], _CLASH) for row in clashing]
        kept = np.ones(len(columns), np.bool_)
        kept[clashing] = False
        return keep_rows(replace(columns, replayed=sorted(replayed)), kept), dead

    def reach(self, offset: int) -> int:
        """The first offset that counts for a record at ``offset``: what was there must be sifted before that record is."""
        return max(0, (offset // self._window - 1) * self._window)

    def forget(self, partitions: frozenset[Partition]) -> None:
        """These partitions are no longer ours."""
        for partition in partitions:
            self._seen.pop(partition, None)

    def _sift(
        self, columns: EventColumns, partition: Partition, rows: slice, found: tuple[list[int], list[int]]
    ) -> None:
        ids = columns.ids[rows]
        older, newest = self._generations(partition, columns.records[rows.start].offset // self._window)
        base = len(newest.offsets)
        fresh = dict(zip(ids, range(base, base + len(ids)), strict=True))
        known = not newest.rows.keys().isdisjoint(ids) or any(not g.rows.keys().isdisjoint(ids) for g in older)
        if known or len(fresh) < len(ids):
            self._sift_one_by_one(columns, rows, [newest, *older], found)
            return
        newest.rows.update(fresh)
        newest.offsets.frombytes(offsets_of(columns.records[rows]).tobytes())
        newest.digests.frombytes(digests_of(columns.records[rows]).tobytes())

    def _sift_one_by_one(
        self, columns: EventColumns, rows: slice, generations: list[_Generation], found: tuple[list[int], list[int]]
    ) -> None:
        newest = generations[0]
        replayed, clashing = found
        records = columns.records[rows]
        for row, record, digest in zip(
            range(rows.start, rows.stop), records, digests_of(records).tolist(), strict=True
        ):
            event_id = columns.ids[row]
            home = next((g for g in generations if event_id in g.rows), None)
            if home is None:
                newest.rows[event_id] = len(newest.offsets)
                newest.offsets.append(record.offset)
                newest.digests.append(digest)
                continue
            place = home.rows[event_id]
            if home.offsets[place] == record.offset:
                continue  # the same record, handed out again
            (replayed if home.digests[place] == digest else clashing).append(row)

    def _generations(self, partition: Partition, number: int) -> tuple[list[_Generation], _Generation]:
        """The generation of ``number`` and the one before it; all others are forgotten, newer ones too after a rewind."""
        seen = [g for g in self._seen.get(partition, ()) if number - 1 <= g.number <= number + 1]
        newest = next((g for g in seen if g.number == number), None)
        if newest is None:
            newest = _Generation(number)
            seen.append(newest)
        self._seen[partition] = seen
        return [g for g in seen if g.number == number - 1], newest


_CLASH = BadRecord(DeadReason.DUPLICATE_ID, "another event with the same id came before")


def digests_of(records: Sequence[Record]) -> NDArray[np.int64]:
    """``(n,)``: the same for the same value, and hardly ever for another. Null is an empty value."""
    parts = parts_of(records)
    if parts is not None and len(parts) == 1 and (parts[0].lengths() == parts[0].lengths()[0]).all():
        table = parts[0].table(max(0, int(parts[0].lengths()[0])))
        return hashes_of_table(0, _PURPOSE, table).view(np.int64)
    return hashes(0, _PURPOSE, [value or b"" for value in values_of(records)]).view(np.int64)


def _cut(columns: EventColumns, rows: slice, window: int) -> Sequence[slice]:
    """The rows in runs whose offsets fall into one generation each."""
    numbers = offsets_of(columns.records[rows]) // window
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return [slice(rows.start + a, rows.start + b) for a, b in pairwise(starts)]

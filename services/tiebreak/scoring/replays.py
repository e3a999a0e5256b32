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

from tiebreak.contracts.columns import offsets_of, parts_of, table_of, values_of
from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.hashing import hashes, hashes_of_table
from tiebreak.contracts.log import Partition, Record
from tiebreak.contracts.tensors import EventColumns
from tiebreak.scoring.columns import keep_rows

Ints = NDArray[np.int64]
_Found = tuple[list[int], list[int]]  # rows that are replayed, rows whose id clashes

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
        offsets, digests = offsets_of(columns.records), digests_of(columns.records)
        for partition, whole in columns.spans:
            for rows in _cut(offsets, whole, self._window):
                self._sift(columns, (partition, rows), offsets[rows], digests[rows], (replayed, clashing))
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
        self, columns: EventColumns, span: tuple[Partition, slice], offsets: Ints, digests: Ints, found: _Found
    ) -> None:
        partition, rows = span
        ids = columns.ids[rows]
        older, newest = self._generations(partition, int(offsets[0]) // self._window)
        base = len(newest.offsets)
        fresh = dict(zip(ids, range(base, base + len(ids)), strict=True))
        known = not newest.rows.keys().isdisjoint(ids) or any(not g.rows.keys().isdisjoint(ids) for g in older)
        if known or len(fresh) < len(ids):
            generations = [newest, *older]
            for row, offset, digest in zip(range(len(ids)), offsets.tolist(), digests.tolist(), strict=True):
                _sift_one((rows.start + row, ids[row], offset, digest), generations, found)
            return
        newest.rows.update(fresh)
        newest.offsets.frombytes(offsets.tobytes())
        newest.digests.frombytes(digests.tobytes())

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


def _sift_one(event: tuple[int, bytes, int, int], generations: Sequence[_Generation], found: _Found) -> None:
    row, event_id, offset, digest = event
    newest = generations[0]
    replayed, clashing = found
    home = next((g for g in generations if event_id in g.rows), None)
    if home is None:
        newest.rows[event_id] = len(newest.offsets)
        newest.offsets.append(offset)
        newest.digests.append(digest)
        return
    place = home.rows[event_id]
    if home.offsets[place] != offset:  # else the same record, handed out again
        (replayed if home.digests[place] == digest else clashing).append(row)


def digests_of(records: Sequence[Record]) -> Ints:
    """``(n,)``: the same for the same value, and hardly ever for another. Null is an empty value."""
    parts = parts_of(records)
    if parts:
        table = table_of(records, max(0, int(parts[0].lengths()[0])))
        if table is not None:
            return hashes_of_table(0, _PURPOSE, table).view(np.int64)
    return hashes(0, _PURPOSE, [value or b"" for value in values_of(records)]).view(np.int64)


def _cut(offsets: Ints, rows: slice, window: int) -> Sequence[slice]:
    """The rows in runs whose offsets fall into one generation each."""
    first, last = int(offsets[rows.start]) // window, int(offsets[rows.stop - 1]) // window
    if first == last:
        return (rows,)
    numbers = offsets[rows] // window
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return [slice(rows.start + a, rows.start + b) for a, b in pairwise(starts)]

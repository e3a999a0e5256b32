"""The records of a partition as columns over the bytes they came in: no Python object per record until somebody asks for one.

Whoever takes a :class:`Sequence` of records takes these. ``keys_of`` and its neighbours read a column of any such sequence: at no cost
per record where the columns are there already.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.log import Headers, Partition, Record

Ints = NDArray[np.int64]


class FetchedRecord(NamedTuple):
    """What :class:`tiebreak.contracts.log.Record` asks for and no more."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where ``n`` byte strings lie: ``start`` and ``length`` ``(n,)``; a length below 0 is null."""

    start: Ints
    length: Ints

    def of(self, data: bytes) -> list[bytes | None]:
        """The byte strings."""
        starts, ends = self.start.tolist(), (self.start + self.length).tolist()
        if len(self.length) and self.length.min() < 0:
            return [data[a:b] if b >= a else None for a, b in zip(starts, ends, strict=True)]
        return [data[a:b] for a, b in zip(starts, ends, strict=True)]

    def __getitem__(self, rows: slice) -> Cuts:
        return Cuts(self.start[rows], self.length[rows])


class RecordColumns(Sequence[Record]):
    """``n`` records of one partition, in offset order. ``offsets`` and ``timestamps`` (ms) ``(n,)``.

    ``headers`` are the different ones there are, ``kinds`` ``(n,)`` says whose are which; None: all have the first.
    """

    __slots__ = ("_data", "_keys", "_values", "headers", "kinds", "offsets", "partition", "timestamps")

    def __init__(  # noqa: PLR0913, PLR0917 - the columns of a record
        self,
        partition: Partition,
        data: bytes,
        offsets: Ints,
        timestamps: Ints,
        keys: Cuts,
        values: Cuts,
        headers: Sequence[Headers],
        kinds: NDArray[np.intp] | None = None,
    ) -> None:
        self.partition = partition
        self.offsets = offsets
        self.timestamps = timestamps
        self.headers = headers
        self.kinds = kinds
        self._data = data
        self._keys = keys
        self._values = values

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> RecordColumns: ...
    def __getitem__(self, at: int | slice) -> Record | RecordColumns:
        if isinstance(at, slice):
            kinds = None if self.kinds is None else self.kinds[at]
            cuts = (self._keys[at], self._values[at])
            return RecordColumns(
                self.partition, self._data, self.offsets[at], self.timestamps[at], *cuts, self.headers, kinds
            )
        row = range(len(self))[at]
        return next(iter(self[row : row + 1]))

    def __iter__(self) -> Iterator[Record]:
        topic, index = self.partition.topic, self.partition.index
        columns = (self.offsets.tolist(), self.timestamps.tolist(), self.keys(), self.values(), self.all_headers())
        return (FetchedRecord(topic, index, *row) for row in zip(*columns, strict=True))

    def keys(self) -> list[bytes | None]:
        """``n`` keys."""
        return self._keys.of(self._data)

    def values(self) -> list[bytes | None]:
        """``n`` values."""
        return self._values.of(self._data)

    def all_headers(self) -> list[Headers]:
        """``n`` headers."""
        if self.kinds is None:
            return [self.headers[0]] * len(self) if len(self) else []
        return [self.headers[kind] for kind in self.kinds.tolist()]

    @property
    def size(self) -> int:
        """Bytes of all keys and values."""
        return int(np.maximum(self._keys.length, 0).sum() + np.maximum(self._values.length, 0).sum())

    def lengths(self) -> Ints:
        """``(n,)`` bytes per value, below 0 for null."""
        return self._values.length

    def table(self, size: int) -> NDArray[np.uint8]:
        """``(n, size)``: all values, each of which must have ``size`` bytes."""
        if not len(self) or not size:
            return np.zeros((len(self), size), np.uint8)
        # A window of `size` bytes at each byte: numpy's `sliding_window_view` is the same and takes longer than reading does.
        windows = np.ndarray((max(0, len(self._data) - size + 1), size), np.uint8, self._data, strides=(1, 1))
        return np.asarray(windows[self._values.start])


class JoinedColumns(Sequence[Record]):
    """The columns of several partitions, one after the other."""

    __slots__ = ("_ends", "parts")

    def __init__(self, parts: Sequence[RecordColumns]) -> None:
        self.parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            part, begin = self._part(start)
            if step == 1 and start < stop <= begin + len(part):
                return part[start - begin : stop - begin]
            return [self[row] for row in range(start, stop, step)]
        row = range(len(self))[at]
        part, begin = self._part(row)
        return part[row - begin]

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(self.parts)

    def offset_at(self, row: int) -> int:
        """The offset of row ``row``."""
        row = range(len(self))[row]
        part, begin = self._part(row)
        return int(part.offsets[row - begin])

    def timestamp_at(self, row: int) -> int:
        """The timestamp of row ``row``."""
        row = range(len(self))[row]
        part, begin = self._part(row)
        return int(part.timestamps[row - begin])

    def _part(self, row: int) -> tuple[RecordColumns, int]:
        """The part that ``row`` is in (the last one for rows beyond the end), and its first row."""
        place = min(bisect_right(self._ends, row), len(self.parts) - 1)
        return self.parts[place], self._ends[place - 1] if place else 0


def parts_of(records: Sequence[Record]) -> Sequence[RecordColumns] | None:
    """The columns that ``records`` are made of, in order; None where they are objects."""
    if isinstance(records, RecordColumns):
        return (records,)
    return records.parts if isinstance(records, JoinedColumns) else None


def offsets_of(records: Sequence[Record]) -> Ints:
    """``(n,)`` offsets."""
    parts = parts_of(records)
    if parts is None:
        return np.array([record.offset for record in records], np.int64)
    return _joined([part.offsets for part in parts])


def offset_at(records: Sequence[Record], row: int) -> int:
    """The offset of ``records[row]``, without making a record of it."""
    if isinstance(records, RecordColumns):
        return int(records.offsets[row])
    return records.offset_at(row) if isinstance(records, JoinedColumns) else records[row].offset


def timestamp_at(records: Sequence[Record], row: int) -> int:
    """The timestamp of ``records[row]`` in milliseconds, without making a record of it."""
    if isinstance(records, RecordColumns):
        return int(records.timestamps[row])
    return records.timestamp_at(row) if isinstance(records, JoinedColumns) else records[row].timestamp


def keys_of(records: Sequence[Record]) -> list[bytes | None]:
    """``n`` keys."""
    parts = parts_of(records)
    if parts is None:
        return [record.key for record in records]
    return [key for part in parts for key in part.keys()]  # noqa: SIM118 - a column, not a mapping


def values_of(records: Sequence[Record]) -> list[bytes | None]:
    """``n`` values."""
    parts = parts_of(records)
    if parts is None:
        return [record.value for record in records]
    return [value for part in parts for value in part.values()]


def sizes_of(records: Sequence[Record]) -> Ints:
    """``(n,)`` bytes of each value; 0 for null."""
    parts = parts_of(records)
    if parts is None:
        return np.array([len(record.value or b"") for record in records], np.int64)
    return np.maximum(_joined([part.lengths() for part in parts]), 0) if parts else np.zeros(0, np.int64)


def headers_of(records: Sequence[Record]) -> list[Headers]:
    """``n`` headers."""
    parts = parts_of(records)
    if parts is None:
        return [record.headers for record in records]
    return [headers for part in parts for headers in part.all_headers()]


def shared_headers(records: Sequence[Record]) -> Headers | None:
    """The headers of all records where the columns know that they are the same; None: nobody knows, or they differ."""
    parts = parts_of(records)
    if not parts or any(part.kinds is not None or not part.headers for part in parts):
        return None
    first = parts[0].headers[0]
    return first if all(part.headers[0] == first for part in parts[1:]) else None


def table_of(records: Sequence[Record], size: int) -> NDArray[np.uint8] | None:
    """``(n, size)``: the bytes of all values where each has ``size`` of them and the columns are there; else None."""
    parts = parts_of(records)
    if not parts or any((part.lengths() != size).any() for part in parts):
        return None
    return _joined([part.table(size) for part in parts])


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

"""The records of Kafka record batches (magic 2, uncompressed) as columns over their bytes. Pure.

https://kafka.apache.org/documentation/#recordbatch: a record is its length, attributes, time and offset since the batch's own, key,
value, headers; numbers are zigzag varints. Where a record ends only its own length tells; what is inside, all are asked at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.columns import Cuts, FetchedRecord, Ints, RecordColumns
from tiebreak.contracts.log import Headers, Partition, Record

# Below this many records of one length in a row, looking for more of them costs more than going on one by one.
_RUN, _STEPS = 32, 256
_MOST_BYTES = 10  # of a 64-bit varint


class Torn(ValueError):
    """The records do not fill their batch."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The records of one batch, ``data[start:stop]``. ``offset``: of the last one, as aiokafka's loop asks."""

    data: bytes
    start: int
    stop: int
    count: int
    base: int
    offset: int
    first_ms: int
    append_ms: int | None


def columns_of(partition: Partition, chunks: Sequence[Chunk], floor: int = 0) -> RecordColumns:
    """The records of ``chunks`` from offset ``floor`` on. Raises Torn where they do not fill their bytes."""
    chunks = _in_one(chunks)
    data = chunks[0].data if chunks else b""
    cuts = [_cut(chunk) for chunk in chunks]
    ends = _joined([end for _, end in cuts])
    read = _Reading(data, _joined([start for start, _ in cuts]) + 1)  # past the attributes, which mean nothing yet
    elapsed, deltas = read.varints(), read.varints()
    keys, values = read.cuts(), read.cuts()
    headers, kinds = _headers(data, read.at, ends)
    offsets = _of_chunks(chunks, [c.base for c in chunks]) + deltas
    appended = _of_chunks(chunks, [-1 if c.append_ms is None else c.append_ms for c in chunks])
    times = np.where(appended >= 0, appended, _of_chunks(chunks, [c.first_ms for c in chunks]) + elapsed)
    columns = RecordColumns(partition, data, offsets, times, keys, values, headers, kinds)
    skipped = int(np.count_nonzero(offsets < floor))  # a seek went into the middle of a batch
    return columns[skipped:] if skipped else columns


def records_of(partition: Partition, chunks: Sequence[Chunk], floor: int = 0) -> list[Record]:
    """The same records as :func:`columns_of`, one by one."""
    found: list[Record] = []
    for chunk in chunks:
        at = chunk.start
        for _ in range(chunk.count):
            length, begin = _length(chunk.data, at, chunk.stop)
            at = begin + length
            record = _record(partition, chunk, chunk.data[begin:at])
            if record.offset >= floor:
                found.append(record)
        if at != chunk.stop:
            raise Torn("A batch is longer than its records.")
    return found


def _record(partition: Partition, chunk: Chunk, data: bytes) -> FetchedRecord:
    elapsed, at = _varint(data, 1)
    delta, at = _varint(data, at)
    key, at = _text(data, at)
    value, at = _text(data, at)
    time_ms = chunk.first_ms + elapsed if chunk.append_ms is None else chunk.append_ms
    headers = _header_block(data[at:])
    return FetchedRecord(partition.topic, partition.index, chunk.base + delta, time_ms, key, value, headers)


def _of_chunks(chunks: Sequence[Chunk], values: Sequence[int]) -> Ints:
    return np.repeat(np.array(values, np.int64), [chunk.count for chunk in chunks])


def _in_one(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    """The same chunks over the same bytes: compressed ones have come out of their batches each by itself."""
    if all(chunk.data is chunks[0].data for chunk in chunks):
        return chunks
    data = b"".join(chunk.data[chunk.start : chunk.stop] for chunk in chunks)
    ends = accumulate(chunk.stop - chunk.start for chunk in chunks)
    return [
        replace(chunk, data=data, start=end - (chunk.stop - chunk.start), stop=end)
        for chunk, end in zip(chunks, ends, strict=True)
    ]


def _cut(chunk: Chunk) -> tuple[Ints, Ints]:
    """``(count,)`` where each record begins after its length, and where it ends.

    A record says its length and nothing else tells where the next one is; where many of one length follow each other, their lengths
    are compared at once.
    """
    data, at, left = chunk.data, chunk.start, chunk.count
    runs: list[tuple[Ints, Ints]] = []
    while left:
        length, begin = _length(data, at, chunk.stop)
        stride = begin - at + length
        run = _same_length(data, at, begin - at, stride, min(left, (chunk.stop - at) // stride)) if left >= _RUN else 1
        if run >= _RUN:
            starts = np.arange(begin, begin + run * stride, stride, dtype=np.int64)
            runs.append((starts, starts + length))
            at += run * stride
        else:
            run = min(left, _STEPS)
            at = _walk(data, at, chunk.stop, run, runs)
        left -= run
    if at != chunk.stop:
        raise Torn("A batch is longer than its records.")
    return _joined([start for start, _ in runs]), _joined([end for _, end in runs])


def _walk(data: bytes, at: int, stop: int, count: int, runs: list[tuple[Ints, Ints]]) -> int:
    """Add ``count`` records from ``at`` on to ``runs``, one after the other; where the next one is."""
    starts: list[int] = []
    ends: list[int] = []
    for _ in range(count):
        length, begin = _length(data, at, stop)
        at = begin + length
        starts.append(begin)
        ends.append(at)
    runs.append((np.array(starts, np.int64), np.array(ends, np.int64)))
    return at


def _length(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """How long the record at ``at`` is, and where it begins after saying so."""
    # Most records are shorter than 8 KiB, and this happens for each of them.
    if at + 1 < stop and data[at + 1] < 0x80 <= data[at]:
        length, begin = (data[at] & 0x7F | data[at + 1] << 7) >> 1, at + 2
        length = -1 if data[at] & 1 else length
    else:
        length, begin = _varint(data, at)
    if length <= 0 or begin + length > stop:
        raise Torn("A record is longer than its batch.")
    return length, begin


def _same_length(data: bytes, at: int, width: int, stride: int, most: int) -> int:
    """How many records from ``at`` on, of at most ``most``, say the same length in their first ``width`` bytes."""
    said = np.frombuffer(data, np.uint8, most * stride, at).reshape(most, stride)[:, :width]
    same = (said == said[0]).all(axis=1)
    return most if same.all() else int(same.argmin())


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint, and where the next field begins."""
    value = shift = 0
    for place in range(at, min(at + _MOST_BYTES, len(data))):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), place + 1
        shift += 7
    raise Torn("A number has no end.")


class _Reading:
    """Reads the same field of many records at once; ``at`` ``(n,)`` is where each goes on."""

    def __init__(self, data: bytes, at: Ints) -> None:
        self._data = np.frombuffer(data, np.uint8)
        self.at = at

    def varints(self) -> Ints:
        """``(n,)`` zigzag varints."""
        value = np.zeros(len(self.at), np.uint64)
        more = np.ones(len(self.at), np.bool_)
        for place in range(_MOST_BYTES):
            byte = np.where(more, self._data.take(self.at, mode="clip"), 0).astype(np.uint64)
            value |= (byte & np.uint64(0x7F)) << np.uint64(7 * place)
            self.at = self.at + more
            more = byte > 0x7F
            if not more.any():
                break
        return (value >> np.uint64(1)).astype(np.int64) ^ -(value & np.uint64(1)).astype(np.int64)

    def cuts(self) -> Cuts:
        """``(n,)`` byte strings, each after its length."""
        length = self.varints()
        found = Cuts(self.at, length)
        self.at = self.at + np.maximum(length, 0)
        return found


def _headers(data: bytes, at: Ints, ends: Ints) -> tuple[Sequence[Headers], NDArray[np.intp] | None]:
    """The different headers of records that have them at ``data[at:ends]``, and whose are which."""
    lengths = ends - at
    if not len(at):
        return (), None
    if lengths.min() <= 0:
        raise Torn("A record's fields are longer than it is.")
    width = int(lengths[0])
    if (lengths == width).all():
        rows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), width)[at]
        if (rows == rows[0]).all():
            return (_header_block(rows[0].tobytes()),), None
    blocks = [data[a:b] for a, b in zip(at.tolist(), ends.tolist(), strict=True)]
    known = {block: place for place, block in enumerate(dict.fromkeys(blocks))}
    return [_header_block(block) for block in known], np.array([known[block] for block in blocks], np.intp)


def _header_block(block: bytes) -> Headers:
    count, at = _varint(block, 0)
    found: list[tuple[str, Any]] = []
    for _ in range(count):
        name, at = _text(block, at)
        value, at = _text(block, at)
        if name is None:
            raise Torn("A header has no name.")
        # A name that is no text belongs to nobody here: one such record must not stop its partition.
        found.append((name.decode(errors="replace"), value))
    if count < 0 or at != len(block):
        raise Torn("A record's headers do not fill it.")
    return tuple(found)


def _text(block: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(block, at)
    if length < 0:
        return None, at
    return block[at : at + length], at + length


def _joined(arrays: Sequence[Ints]) -> Ints:
    return arrays[0] if len(arrays) == 1 else np.concatenate([*arrays, np.zeros(0, np.int64)])

"""Fetched Kafka records as columns (``contracts.columns``), read straight from the bytes of the fetch.

aiokafka makes two objects per record, its batch's and its consumer's, which takes longer than scoring it. Which batches count
(checksums, aborted transactions, control batches) and where reading goes on stays aiokafka's decision: its own loop over batches
runs, and meets one chunk per batch where it would meet records (``docs/adr/0012``).
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import ref

from aiokafka import AIOKafkaConsumer, TopicPartition, codec
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords

from tiebreak.contracts.log import Partition, Record
from tiebreak.events.kafka_client import lighten_records
from tiebreak.events.record_batches import Chunk, Torn, columns_of, records_of

# Of a batch's header: length at 8, magic at 16, attributes, (last offset delta), first and largest timestamp, ..., record count.
_HEAD = struct.Struct(">xxxxxxxxixxxxbxxxxhxxxxqqxxxxxxxxxxxxxxi")
_BEFORE_LENGTH = 12
_CODEC, _APPEND_TIME = 0x07, 0x08
_CODECS: Mapping[int, tuple[str, Callable[[], bool], Callable[[bytes], bytes]]] = {
    1: ("gzip", codec.has_gzip, codec.gzip_decode),
    2: ("snappy", codec.has_snappy, codec.snappy_decode),
    3: ("lz4", codec.has_lz4, codec.lz4_decode),
    4: ("zstd", codec.has_zstd, codec.zstd_decode),
}
# Fewer records than this are sooner read one by one than by arrays.
_FEW = 24


class KeptRecords:
    """aiokafka's ``MemoryRecords`` with the bytes still at hand. Its batches are aiokafka's own until :meth:`give_chunks`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._batches = MemoryRecords(data)
        self._at = 0
        self._chunks = False

    def give_chunks(self) -> bool:
        """From now on batches give chunks instead of records. False, and no change, where one is of a format before magic 2."""
        self._chunks = self._is_columnar()
        return self._chunks

    def has_next(self) -> bool:
        return bool(self._batches.has_next())

    def size_in_bytes(self) -> int:
        return len(self._data)

    def next_batch(self) -> Any:
        batch = self._batches.next_batch()
        if not self._chunks or batch is None:
            return batch
        start = self._at
        self._at = start + _BEFORE_LENGTH + _HEAD.unpack_from(self._data, start)[0]
        return batch if batch.is_control_batch else _Batch(batch, self._data, start, self._at)

    def _is_columnar(self) -> bool:
        at, end = 0, len(self._data)
        while at + _HEAD.size <= end:
            length, magic, *_ = _HEAD.unpack_from(self._data, at)
            if magic != 2:
                return False
            at += _BEFORE_LENGTH + length
        return True


class _Batch:
    """A record batch that gives one chunk where aiokafka's gives its records; for all else it is aiokafka's."""

    def __init__(self, batch: Any, data: bytes, start: int, stop: int) -> None:
        self._batch = batch
        self._data = data
        self._place = (start, stop)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Chunk]:
        start, stop = self._place
        _, _, attributes, first_ms, most_ms, count = _HEAD.unpack_from(self._data, start)
        if count <= 0:
            return
        data, start = self._data, start + _HEAD.size
        if attributes & _CODEC:
            data = _decompressed(attributes & _CODEC, data[start:stop])
            start, stop = 0, len(data)
        append_ms = most_ms if attributes & _APPEND_TIME else None
        last = self._batch.next_offset - 1
        yield Chunk(data, start, stop, count, self._batch.base_offset, last, first_ms, append_ms)


def _decompressed(number: int, data: bytes) -> bytes:
    name, is_there, decode = _CODECS.get(number, (f"codec {number}", lambda: False, bytes))
    if not is_there():
        raise UnsupportedCodecError(name)
    return bytes(decode(data))


def read_columns(consumer: AIOKafkaConsumer) -> None:
    """From now on ``getmany`` gives :class:`RecordColumns`, also of what lies fetched. After the consumer's start; again: no change.

    What was fetched before the process first called this comes out as aiokafka's own records, of the fewest fields.
    """
    fetcher.MemoryRecords = KeptRecords
    found = consumer._fetcher._records  # noqa: SLF001 (no public way to what is fetched)
    if isinstance(found, _Fetched):
        return
    mine = _Fetched()
    for partition, result in found.items():
        mine[partition] = result
    consumer._fetcher._records = mine  # noqa: SLF001


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What aiokafka keeps by partition until it is asked for: results and errors."""

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        records = getattr(result, "_partition_records", None)
        if records is not None:
            if isinstance(records._records, KeptRecords) and records._records.give_chunks():  # noqa: SLF001
                records._consumer_record = _as_it_is  # noqa: SLF001
                # aiokafka asks for the very type of a result, so it is told on the object itself.
                result.getall = _Taker(result, Partition(partition.topic, partition.partition)).take
            else:
                lighten_records(records)
        super().__setitem__(partition, result)


def _as_it_is(_partition: TopicPartition, chunk: Chunk) -> Chunk:
    return chunk


class _Taker:
    """``FetchResult.getall`` over chunks, whole ones as far as they fit. What was read too far waits here."""

    def __init__(self, result: Any, partition: Partition) -> None:
        self._result = ref(result)  # the result has us: both would wait for the garbage collector, with megabytes
        self._partition = partition
        self._rest: Sequence[Record] | None = None
        self._ahead: Chunk | None = None
        self._ended = False
        self._resume = 0  # where aiokafka's loop stands

    def take(self, max_records: int | None = None) -> Sequence[Record]:
        """At most ``max_records`` records, none where the position was moved meanwhile."""
        result = self._result()
        if result is None or not result.check_assignment(result._topic_partition) or not result.has_more():  # noqa: SLF001
            return ()
        records = result._partition_records  # noqa: SLF001
        found, self._rest = self._rest, None
        if found is None:
            floor = records.next_fetch_offset
            chunks = self._gather(records, max_records)
            few = sum(chunk.count for chunk in chunks) < _FEW
            found = _read(self._partition, chunks, floor, few=few)
        if max_records is not None and len(found) > max_records:
            found, self._rest = found[:max_records], found[max_records:]
        records.next_fetch_offset = self._position()
        result._update_position()  # noqa: SLF001
        if self._ended and self._ahead is None and self._rest is None:
            result._partition_records = None  # noqa: SLF001
        return found

    def _gather(self, records: Any, max_records: int | None) -> list[Chunk]:
        chunks: list[Chunk] = []
        count = 0
        while not chunks or max_records is None or count < max_records:
            chunk = self._next(records)
            if chunk is None:
                break
            if chunks and max_records is not None and count + chunk.count > max_records:
                self._ahead = chunk
                break
            chunks.append(chunk)
            count += chunk.count
        return chunks

    def _next(self, records: Any) -> Chunk | None:
        chunk, self._ahead = self._ahead, None
        if chunk is None and not self._ended:
            chunk = next(records, None)
            self._ended, self._resume = chunk is None, records.next_fetch_offset
        return chunk

    def _position(self) -> int:
        if self._rest is not None:
            return self._rest[0].offset
        return self._resume if self._ahead is None else self._ahead.base


def _read(partition: Partition, chunks: Sequence[Chunk], floor: int, *, few: bool) -> Sequence[Record]:
    try:
        return records_of(partition, chunks, floor) if few else columns_of(partition, chunks, floor)
    except Torn as torn:
        raise CorruptRecordException(str(torn)) from torn

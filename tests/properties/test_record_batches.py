"""Record batches read as columns, and read one by one, hold what aiokafka's own reader finds in them; torn ones are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts.columns import (
    JoinedColumns,
    headers_of,
    keys_of,
    offset_at,
    offsets_of,
    shared_headers,
    table_of,
    timestamp_at,
    values_of,
)
from tiebreak.contracts.log import Partition, Record
from tiebreak.events.kafka_columns import KeptRecords
from tiebreak.events.record_batches import Chunk, Torn, columns_of, records_of

HOME = Partition("t", 3)
Row = tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]
texts = st.one_of(st.none(), st.binary(max_size=4), st.integers(0, 3).map(lambda n: b"x" * (60 * n)))
headers = st.one_of(
    st.just([("content-type", b"a")]),
    st.lists(st.tuples(st.text(max_size=3), st.one_of(st.none(), st.binary(max_size=3))), max_size=2),
)


class Written(NamedTuple):
    """One batch: its bytes from base offset ``base`` on."""

    base: int
    data: bytes


@st.composite
def batches(draw: st.DrawFn) -> list[Written]:
    """One to four batches, compressed or not, of records alike and unlike; offsets may have gaps, as compaction leaves them."""
    written: list[Written] = []
    base = draw(st.integers(0, 2**40))
    for _ in range(draw(st.integers(1, 4))):
        builder = DefaultRecordBatchBuilder(2, draw(st.sampled_from([0, 1])), 0, -1, -1, -1, 1 << 20)
        alike = draw(st.tuples(texts, texts, headers))
        offset = 0
        for _ in range(draw(st.sampled_from([1, 3, 40, 150]))):
            key, value, head = alike if draw(st.integers(0, 9)) else draw(st.tuples(texts, texts, headers))
            time_ms = 1_700_000_000_000 + draw(st.sampled_from([0, 1, -5, 2**33]))
            assert builder.append(offset, time_ms, key, value, head) is not None
            offset += draw(st.sampled_from([1, 1, 1, 70]))
        data = bytearray(builder.build())
        data[:8] = base.to_bytes(8, "big")
        written.append(Written(base, bytes(data)))
        base += offset
    return written


def chunks_of(data: bytes) -> list[Chunk]:
    kept, found = KeptRecords(data), list[Chunk]()
    assert kept.give_chunks()
    while kept.has_next():
        found.extend(kept.next_batch())
    return found


def rows(records: Sequence[Record]) -> list[Row]:
    return [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records]


@given(batches(), st.data())
def test_columns_are_what_aiokafka_reads(written: list[Written], data: st.DataObject) -> None:
    """Every field of every record, from any floor on, sliced anywhere; each column alone says the same."""
    truth = [row for batch in written for row in rows(list(DefaultRecordBatch(batch.data)))]
    floor = data.draw(st.sampled_from([0, *(row[0] for row in truth)]))
    wanted = [row for row in truth if row[0] >= floor]
    chunks = chunks_of(b"".join(batch.data for batch in written))
    columns = columns_of(HOME, chunks, floor)
    assert rows(columns) == rows(records_of(HOME, chunks, floor)) == wanted
    a, b = sorted(data.draw(st.tuples(st.integers(0, len(wanted)), st.integers(0, len(wanted)))))
    joined = JoinedColumns([columns[:a], columns[a:b], columns[b:]])
    assert rows(joined) == rows([joined[i] for i in range(len(joined))]) == wanted
    assert (rows(joined[a:b]), rows(joined[: b + 1]), rows(joined[-2:])) == (wanted[a:b], wanted[: b + 1], wanted[-2:])
    for records in (columns, joined, list(columns)):
        assert [timestamp_at(records, row) for row in range(len(wanted))] == [row[1] for row in wanted]
        read = [offsets_of(records).tolist(), keys_of(records), values_of(records), headers_of(records)]
        assert [offset_at(records, row) for row in range(-len(wanted), len(wanted))] == 2 * read[0]
        assert read == [[row[0] for row in wanted], *([row[at] for row in wanted] for at in (2, 3, 4))]
    shared = shared_headers(columns)
    assert (shared is not None) == (len({row[4] for row in truth}) == 1)
    assert shared is None or {row[4] for row in wanted} <= {tuple(shared)}
    table, sizes = table_of(joined, 60), {len(row[3]) if row[3] is not None else -1 for row in wanted}
    if table is not None:
        assert [row.tobytes() for row in table] == [row[3] for row in wanted]
    assert (table is not None) == (sizes <= {60})


@given(batches(), st.data())
def test_torn_batches_are_refused_and_never_read_as_something_else(written: list[Written], data: st.DataObject) -> None:
    """Bytes that a broken producer signed: the one error, and both readers agree whether there is one."""
    raw = bytearray(written[0].data)
    at = data.draw(st.integers(61, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    if raw[22] & 0x07:
        return  # the decompressor's business
    chunks = chunks_of(bytes(raw))
    answers = []
    for read in (columns_of, records_of):
        try:
            answers.append(rows(read(HOME, chunks)))
        except Torn:
            answers.append([])
    assert answers[0] == answers[1]


def test_no_records_are_no_columns() -> None:
    """A fetch of nothing but control batches."""
    empty = columns_of(HOME, [])
    assert (len(empty), list(empty), offsets_of(empty).tolist(), shared_headers(empty)) == (0, [], [], None)
    with pytest.raises(IndexError):
        empty[0]

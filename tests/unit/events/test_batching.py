"""The limit of a batch follows what records cost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts.columns import Cuts, FetchedRecord, RecordColumns, parts_of
from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.events.batching import LEAST, BatchLimit, joined, size_of


def test_a_cheap_record_is_taken_by_the_thousand_and_a_dear_one_by_the_dozen() -> None:
    """A tenth of a second of handling per batch, whatever a record costs."""
    cheap = BatchLimit(4096).observed(4096, 4096 * 256, 0.04)
    dear = BatchLimit(4096).observed(1000, 256_000, 2.0)
    hopeless = BatchLimit(4096).observed(100, 25_600, 60.0)
    assert (cheap.limit, dear.limit, hopeless.limit) == (4096, 50, LEAST)


def test_huge_records_are_held_to_their_bytes() -> None:
    """64 MiB at a time, and one record at least."""
    assert BatchLimit(4096).observed(64, 64 * 2**22, 0.01).limit == LEAST
    assert BatchLimit(4096).observed(2, 2 * 2**30, 0.01).limit == 1


def test_a_lone_record_does_not_lower_the_limit() -> None:
    """One record in 5 ms is the fixed cost of a batch: the flood after it is still taken by the thousand."""
    limit = BatchLimit(4096).observed(4096, 4096 * 256, 0.04)
    for _ in range(50):
        limit = limit.observed(1, 256, 0.005)
    assert limit.limit == 4096


def test_the_limit_recovers_when_records_become_cheap_again() -> None:
    """A slow model is swapped for a quick one: within a few batches the limit is where it was."""
    limit = BatchLimit(4096).observed(16, 4096, 1.6)
    for _ in range(40):
        limit = limit.observed(limit.limit, 256 * limit.limit, 1e-5 * limit.limit)
    assert limit.limit == 4096


@given(
    st.integers(1, 65_536),
    st.lists(st.tuples(st.integers(0, 65_536), st.integers(0, 2**32), st.floats(0.0, 1e6)), max_size=8),
)
def test_the_limit_stays_between_one_and_the_most(most: int, seen: list[tuple[int, int, float]]) -> None:
    """Whatever is observed."""
    limit = BatchLimit(most)
    for each in seen:
        limit = limit.observed(*each)
    assert 1 <= limit.limit <= most


def test_the_size_of_a_batch_is_that_of_its_keys_and_values() -> None:
    """Absent keys and values count nothing."""
    records = [StoredRecord("t", 0, 0, 0, b"ab", b"cdef"), StoredRecord("t", 0, 1, 0, None, None)]
    assert size_of({Partition("t", 0): records, Partition("t", 1): []}) == 6


def test_batches_polled_one_after_the_other_join_in_the_order_of_each_partition() -> None:
    """Objects, columns, or some of each: the records are the same ones, and columns stay columns."""
    first, second = Partition("t", 0), Partition("t", 1)
    records = [FetchedRecord("t", 0, offset, 7, b"k", f"v{offset}".encode(), [("h", b"1")]) for offset in range(4)]
    other = [FetchedRecord("t", 1, 9, 7, b"k", b"v", [("h", b"1")])]
    columns = joined([{first: _columns(records[:2])}, {second: other}, {first: _columns(records[2:])}])
    mixed = joined([{first: _columns(records[:2])}, {first: records[2:], second: other}])
    assert {p: list(each) for p, each in columns.items()} == {first: records, second: other}
    assert {p: list(each) for p, each in mixed.items()} == {first: records, second: other}
    assert [len(part) for part in parts_of(columns[first]) or ()] == [2, 2]


def _columns(records: list[FetchedRecord]) -> RecordColumns:
    values = [record.value or b"" for record in records]
    starts = np.cumsum([1, *map(len, values)])[:-1]
    return RecordColumns(
        Partition("t", 0),
        b"k" + b"".join(values),
        np.array([record.offset for record in records]),
        np.full(len(records), 7),
        Cuts(np.zeros(len(records), np.int64), np.ones(len(records), np.int64)),
        Cuts(starts, np.array(list(map(len, values)))),
        [records[0].headers],
    )

"""The limit of a batch follows what records cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.events.batching import LEAST, BatchLimit, size_of


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

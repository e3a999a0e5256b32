"""Commit bookkeeping: a rewind goes back to the last commit, never past it, never before it."""

from __future__ import annotations

from tests.support.log_clients import stored
from tiebreak.contracts.log import Partition, Record
from tiebreak.events.progress import Progress

P0, P1 = Partition("t", 0), Partition("t", 1)


def records(partition: Partition, start: int, stop: int) -> list[Record]:
    return [stored(partition=partition.index, offset=offset) for offset in range(start, stop)]


def test_a_rewind_goes_back_to_the_last_commit() -> None:
    """Three batches taken, the first committed: after a rewind reading goes on behind the first."""
    progress = Progress()
    first = progress.take({P0: records(P0, 5, 8), P1: records(P1, 0, 2)})
    progress.take({P0: records(P0, 8, 9)})
    progress.take({P1: records(P1, 2, 4)})
    assert first == {P0: 8, P1: 2}
    progress.commit(first)
    assert progress.taken() == {P0: 9, P1: 4}
    assert progress.rewind() == {P0: 8, P1: 2}
    assert progress.taken() == {P0: 8, P1: 2}


def test_a_rewind_without_a_commit_goes_back_to_the_first_record_handed_out() -> None:
    """A partition that never committed is read again from where its first batch began, gaps before it included."""
    progress = Progress()
    progress.take({P0: records(P0, 17, 19)})
    assert progress.rewind() == {P0: 17}


def test_a_partition_given_up_is_forgotten() -> None:
    """A late acknowledgement for a partition that moved on changes nothing, and a rewind does not touch it."""
    progress = Progress()
    ends = progress.take({P0: records(P0, 0, 3), P1: records(P1, 0, 3)})
    progress.forget([P1])
    progress.commit(ends)
    assert (progress.positions(), progress.rewind()) == ({P0: 3}, {P0: 3})


def test_an_empty_batch_moves_nothing() -> None:
    """A partition listed without records has no position."""
    assert Progress().take({P0: []}) == {}

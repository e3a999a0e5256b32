"""Outputs become runs: one partition each, in order, cut where the server's limits are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts.log import Block, Message, Outputs, Partition
from tiebreak.events.partitioner import partition_of
from tiebreak.events.runs import Run, chunks, runs_of

P0, P1 = Partition("t", 0), Partition("t", 1)


def test_messages_and_blocks_keep_their_order_within_a_partition() -> None:
    """Messages come first, as given; blocks after them; headers stay with their record."""
    h = (("a", b"1"),)
    outputs = Outputs(
        [Message("t", b"k", b"1", (), 0), Message("t", b"k", b"2", h, 1), Message("t", b"k", b"3", h, 0)],
        [Block(P1, [b"x"], [b"4"], h), Block(P1, [b"y", b"z"], [b"5", b"6"], record_headers=[h, ()])],
    )
    assert runs_of(outputs, {"t": 2}.__getitem__) == [
        Run(P0, [b"k", b"k"], [b"1", b"3"], [(), h]),
        Run(P1, [b"k"], [b"2"], [h]),
        Run(P1, [b"x"], [b"4"], [h]),
        Run(P1, [b"y", b"z"], [b"5", b"6"], [h, ()]),
    ]


def test_a_message_without_a_partition_goes_where_its_key_says() -> None:
    """The number of partitions is asked for, and only then."""
    (run,) = runs_of(Outputs([Message("t", b"foobar", b"v")]), {"t": 4}.__getitem__)
    assert run.partition == Partition("t", partition_of(b"foobar", 4))


@given(st.lists(st.binary(max_size=20), max_size=30), st.integers(1, 10), st.integers(1, 60))
def test_chunks_lose_nothing_and_keep_to_the_limits(values: list[bytes], max_records: int, max_bytes: int) -> None:
    """Put together again the chunks are the run; a chunk above the byte limit holds a single record."""
    run = Run(P0, [b"k"] * len(values), values, [()] * len(values))
    pieces = list(chunks(run, max_records, max_bytes))
    assert [value for piece in pieces for value in piece.values] == values
    for piece in pieces:
        size = sum(len(k) + len(v) for k, v in zip(piece.keys, piece.values, strict=True))
        assert 1 <= len(piece) <= max_records
        assert size <= max_bytes or len(piece) == 1

"""The same event again is a replay; another event under its id is set aside; the same record handed out again is neither."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tiebreak.contracts.errors import DeadReason
from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.contracts.tensors import EventColumns
from tiebreak.scoring.replays import Replays

P0, P1 = Partition("t", 0), Partition("t", 1)
Row = tuple[int, str, bytes]


def columns_of(*chunks: tuple[Partition, Iterable[Row]]) -> EventColumns:
    records: list[StoredRecord] = []
    spans: list[tuple[Partition, slice]] = []
    for partition, rows in chunks:
        start = len(records)
        records += [StoredRecord("t", partition.index, offset, 0, name.encode(), value) for offset, name, value in rows]
        spans.append((partition, slice(start, len(records))))
    numbers = np.array([[record.offset] for record in records], np.float32)
    return EventColumns([record.key or b"" for record in records], {"x": numbers}, records, spans)


def sift(
    replays: Replays, *rows: Row, partition: Partition = P0
) -> tuple[list[str], list[int], list[tuple[int, DeadReason]]]:
    """Ids that are left, which of these rows are replays, and what died."""
    left, dead = replays.sift(columns_of((partition, rows)))
    assert len(left.inputs["x"]) == len(left.records) == len(left)
    return [i.decode() for i in left.ids], list(left.replayed), [(r.offset, bad.reason) for r, bad in dead]


def test_fresh_ids_pass_untouched() -> None:
    """The common case gives the very same columns back."""
    columns = columns_of((P0, [(0, "a", b"1"), (1, "b", b"1")]), (P1, [(0, "c", b"1")]))
    left, dead = Replays().sift(columns)
    assert left is columns
    assert dead == []


def test_within_one_batch() -> None:
    """A replay stays, and is marked; a clash is dead; the neighbours keep their rows."""
    found = sift(
        Replays(), (0, "a", b"1"), (1, "b", b"2"), (2, "a", b"1"), (3, "b", b"X"), (4, "c", b"3"), (5, "a", b"1")
    )
    assert found == (["a", "b", "a", "c", "a"], [2, 4], [(3, DeadReason.DUPLICATE_ID)])


def test_across_batches() -> None:
    """What an earlier batch held counts as well."""
    replays = Replays()
    assert sift(replays, (0, "a", b"1"), (1, "b", b"2")) == (["a", "b"], [], [])
    assert sift(replays, (2, "a", b"X"), (3, "c", b"3"), (4, "b", b"2")) == (
        ["c", "b"],
        [1],
        [(2, DeadReason.DUPLICATE_ID)],
    )


def test_the_same_records_handed_out_again_give_the_same_answer() -> None:
    """After a rewind nothing has become a replay of itself, and what was dead is dead again."""
    replays = Replays()
    rows: tuple[Row, ...] = ((0, "a", b"1"), (1, "a", b"1"), (2, "a", b"X"), (3, "b", b"2"))
    first = sift(replays, *rows)
    assert first == (["a", "a", "b"], [1], [(2, DeadReason.DUPLICATE_ID)])
    assert sift(replays, *rows) == first
    assert sift(replays, *rows[1:]) == (["a", "b"], [0], [(2, DeadReason.DUPLICATE_ID)])


def test_partitions_do_not_see_each_other() -> None:
    """Order holds within a partition only, so another partition's ids cannot decide anything here."""
    replays = Replays()
    assert sift(replays, (0, "a", b"1")) == (["a"], [], [])
    assert sift(replays, (0, "a", b"X"), partition=P1) == (["a"], [], [])


def test_batch_boundaries_change_nothing() -> None:
    """However the log is cut into batches, the same rows are replays: also where the memory turns over."""
    rng = np.random.default_rng(3)
    rows = [(i, f"e{rng.integers(12)}", b"1" if rng.random() < 0.8 else b"X") for i in range(120)]

    def run(size: int) -> tuple[list[int], list[int]]:
        replays, again, dead = Replays(window=16), list[int](), list[int]()
        for start in range(0, len(rows), size):
            left, bad = replays.sift(columns_of((P0, rows[start : start + size])))
            again += [left.records[row].offset for row in left.replayed]
            dead += [record.offset for record, _ in bad]
        return again, dead

    expected = run(1)
    assert len(expected[0]) > 20
    assert len(expected[1]) > 5
    assert [run(size) for size in (2, 7, 16, 33, 120)] == [expected] * 5


def test_memory_is_bounded() -> None:
    """An id is forgotten after two windows."""
    replays = Replays(window=4)
    sift(replays, *((i, f"e{i}", b"1") for i in range(12)))
    assert sift(replays, (12, "e0", b"X"), (13, "e11", b"1")) == (["e0", "e11"], [1], [])


def test_a_partition_that_moved_away_is_forgotten() -> None:
    """When it comes back, it starts anew."""
    replays = Replays()
    sift(replays, (0, "a", b"1"))
    replays.forget(frozenset({P0}))
    assert sift(replays, (5, "a", b"X")) == (["a"], [], [])

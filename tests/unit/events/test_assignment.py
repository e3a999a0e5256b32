"""Partitions are dealt out completely, evenly and without overlap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts.log import Partition
from tiebreak.events.assignment import share_of


@given(st.sets(st.text(min_size=1), min_size=1, max_size=7), st.integers(min_value=0, max_value=40))
def test_the_deal_covers_each_partition_once_and_evenly(members: set[str], count: int) -> None:
    """Every partition has exactly one member, and no member has two more than another."""
    partitions = [Partition("t", index) for index in range(count)]
    shares = [share_of(member, members, partitions) for member in members]
    assert sorted(p for share in shares for p in share) == partitions
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_stranger_is_due_nothing() -> None:
    """A member that the group does not know gets no partition."""
    assert share_of("c", {"a", "b"}, [Partition("t", 0)]) == frozenset()

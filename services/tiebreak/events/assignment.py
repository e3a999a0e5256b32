"""Who of a consumer group reads which partition."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tiebreak.contracts.log import Partition


def share_of(member: str, members: Collection[str], partitions: Sequence[Partition]) -> frozenset[Partition]:
    """The partitions that ``member`` is due: dealt out in turn, so that two members differ by one partition at most.

    Every member computes the same deal from the same ``members`` (any order) and ``partitions``. Empty for a stranger.
    ``lua/beat.lua`` deals in the same way.

    >>> ps = [Partition("t", i) for i in range(3)]
    >>> sorted(share_of("b", {"a", "b"}, ps))
    [Partition(topic='t', index=1)]
    """
    order = sorted(members)
    if member not in order:
        return frozenset()
    return frozenset(sorted(partitions)[order.index(member) :: len(order)])

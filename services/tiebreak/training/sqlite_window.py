"""What the trainer holds of a ledger in memory: the newest standing labels, whatever the ledger has seen before."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from itertools import islice

from tiebreak.contracts.codec import decode_label
from tiebreak.training.dataset import Dataset, row_of
from tiebreak.training.retraction import without
from tiebreak.training.sqlite import Ledger


def window_of(ledger: Ledger, capacity: int, retracted: AbstractSet[str] = frozenset()) -> Dataset:
    """The newest ``capacity`` labels of each kind without the votes of those ``retracted``, read by index."""
    dataset = Dataset(capacity=capacity)
    for audit in (False, True):
        rows = (row_of(without(decode_label(wire), retracted)) for wire in ledger.newest(audit=audit))
        standing = (row for row in rows if not row.withdrawn)
        # As many as make it let go of some, if there are so many: then it knows that the ledger has more.
        for row in islice(standing, capacity + capacity // 4 + 1):
            dataset.add(row)
    return dataset

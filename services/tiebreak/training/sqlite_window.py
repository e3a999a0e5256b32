"""What the trainer holds of a ledger in memory: the newest standing labels, whatever the ledger has seen before."""

from __future__ import annotations

from itertools import islice

from tiebreak.contracts.codec import decode_label
from tiebreak.training.dataset import Dataset, row_of
from tiebreak.training.retraction import Struck
from tiebreak.training.sqlite import Ledger

_NOBODY = Struck()


def window_of(ledger: Ledger, capacity: int, struck: Struck = _NOBODY) -> Dataset:
    """The newest ``capacity`` labels of each kind without what is ``struck``, read by index."""
    dataset = Dataset(capacity=capacity)
    for audit in (False, True):
        rows = (row_of(struck.apply(decode_label(wire))) for wire in ledger.newest(audit=audit))
        standing = (row for row in rows if not row.withdrawn)
        # As many as make it let go of some, if there are so many: then it knows that the ledger has more.
        for row in islice(standing, capacity + capacity // 4 + 1):
            dataset.add(row)
    return dataset

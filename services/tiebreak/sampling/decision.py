"""What was decided about a batch, and what a budget allows of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import DriftRecord, Selection
from tiebreak.contracts.ports import Grant

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decision:
    """``rows`` ascending, one selection each, ``audits`` of them audit tasks. ``utility`` ``(n,)`` is of kind ``kind``."""

    kind: str
    utility: Floats
    rows: tuple[int, ...]
    selections: tuple[Selection, ...]
    records: tuple[DriftRecord, ...]
    audits: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a budget allows of a batch: audits first, since a thinned audit slice is no longer uniform."""

    audits: int
    others: int

    @classmethod
    def of(cls, grant: Grant, wanted: Decision) -> Allowance:
        """Split a grant that is smaller than what was wanted."""
        audits = min(grant.granted, wanted.audits)
        return cls(audits, grant.granted - audits)


UNLIMITED = Allowance(2**62, 2**62)
NOTHING = Allowance(0, 0)

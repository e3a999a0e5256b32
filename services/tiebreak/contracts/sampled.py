"""What sampling says about a scored micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiebreak.contracts.messages import DriftRecord, Selection
from tiebreak.contracts.tensors import FloatArray


@dataclass(frozen=True, slots=True)
class Sampled:
    """``uncertainty`` ``(n,)`` of kind ``kind``; ``rows[i]`` is the row that ``selections[i]`` chose, rows ascending."""

    kind: str
    uncertainty: FloatArray
    rows: Sequence[int]
    selections: Sequence[Selection]
    drift: Sequence[DriftRecord] = ()

"""What members of forests said of audit rows, kept from step to step. Pure: it saves work and changes no bit of any answer.

Every step judges champion and challenger on thousands of audit labels. A step grows one member of a forest anew and the audit slice
gains a few rows, so nearly all of what there is to say was said the step before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiebreak.contracts.hashing import Words
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.blocks import marks
from tiebreak.training.dataset import Row
from tiebreak.training.trees import Forest, TreeModel

_MODELS = 3  # whose members are kept: the champion, the challenger, and the one before it


@dataclass(frozen=True, slots=True)
class _Said:
    """Of one member: ``sums`` ``(n, k)`` of the rows with these marks, in ascending order."""

    marks: Words
    sums: FloatArray


class Recall:
    """Asked by one thread at a time. It holds what was asked in the last few calls of each member, and forgets the rest."""

    def __init__(self) -> None:
        self._said: dict[bytes, _Said] = {}

    def __len__(self) -> int:
        return len(self._said)

    def sums(self, model: TreeModel, rows: Sequence[Row], x: FloatArray) -> FloatArray:
        """``(m, n, k)``: :meth:`TreeModel.sums` of the rows, whose features are ``x`` ``(n, d)``."""
        named = marks(rows)
        order = np.argsort(named)
        result = np.empty((model.size, len(rows), len(model.classes)), np.float32)
        for member in range(model.size):
            part = model.forest.part(member)
            key = part.digest()
            said = self._said.pop(key, None)
            result[member] = _recalled(said, part, named, x)
            # Of a member that was asked of a tenth of the rows before it is asked of all, both stay known; of gone rows nothing does.
            if said is None or len(rows) >= len(said.marks) // 2:
                said = _Said(named[order], result[member][order])
            self._said[key] = said
        while len(self._said) > _MODELS * model.size:
            del self._said[next(iter(self._said))]
        return result


def _recalled(said: _Said | None, part: Forest, named: Words, x: FloatArray) -> FloatArray:
    if said is None:
        found: FloatArray = part.sums(x)[0]
        return found
    at = np.minimum(np.searchsorted(said.marks, named), len(said.marks) - 1)
    result: FloatArray = said.sums[at]
    new = np.flatnonzero(said.marks[at] != named)
    if len(new):
        result[new] = part.sums(x[new])[0]
    return result

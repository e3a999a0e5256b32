"""What was found out about audit rows, kept from model to model. Pure: it saves work and changes no bit of any answer.

Every step judges champion, challenger and reference on thousands of audit labels. A step grows one member of a forest anew and the
audit slice gains a few rows, so nearly all of what members have to say was said the step before. Heads share the map from inputs to
kernels for as long as they go on from one base: its columns are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.hashing import Words
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.blocks import marks
from tiebreak.training.dataset import Row
from tiebreak.training.features import FeatureMap
from tiebreak.training.trees import TreeModel

_MODELS = 4  # whose members are kept: the champion, the challenger, the one before it, the one accepted last


@dataclass(frozen=True, slots=True)
class _Said:
    """Of one member: ``sums`` ``(n, k)`` of the rows with these marks, in ascending order."""

    marks: Words
    sums: FloatArray


class Recall:
    """Asked by one thread at a time. It holds what was asked in the last few calls of each member, and forgets the rest."""

    def __init__(self) -> None:
        self._said: dict[bytes, _Said] = {}
        self._asked: FloatArray | None = None
        self._columns: list[tuple[FeatureMap, FloatArray]] = []

    def __len__(self) -> int:
        return len(self._said)

    def columns(self, features: FeatureMap, x: FloatArray) -> FloatArray:
        """``features.apply(x)``. Kept for this very ``x`` until another one comes."""
        if x is not self._asked:
            self._asked, self._columns = x, []
        known = next((columns for one, columns in self._columns if one.same(features)), None)
        if known is None:
            known = features.apply(x)
            self._columns.append((features, known))
        return known

    def sums(self, model: TreeModel, rows: Sequence[Row], x: FloatArray) -> FloatArray:
        """``(m, n, k)``: :meth:`TreeModel.sums` of the rows, whose features are ``x`` ``(n, d)``."""
        named = marks(rows)
        order = np.argsort(named)
        ascending = named[order]
        result = np.empty((model.size, len(rows), len(model.classes)), np.float32)
        parts = [model.forest.part(member) for member in range(model.size)]
        keys = [part.digest() for part in parts]
        known = [self._said.pop(key, None) for key in keys]
        # Members that were asked together hold the same marks: where the rows stand among them is looked up once.
        places: dict[int, NDArray[np.int64]] = {}
        for member, (part, key, said) in enumerate(zip(parts, keys, known, strict=True)):
            if said is None:
                result[member] = part.sums(x)[0]
            else:
                if id(said.marks) not in places:
                    places[id(said.marks)] = _places(said.marks, named)
                result[member] = said.sums[places[id(said.marks)]]
                new = np.flatnonzero(places[id(said.marks)] < 0)
                if len(new):
                    result[member, new] = part.sums(x[new])[0]
            # Of a member that was asked of a tenth of the rows before it is asked of all, both stay known; of gone rows nothing does.
            fewer = said is not None and len(rows) < len(said.marks) // 2
            self._said[key] = said if said is not None and fewer else _Said(ascending, result[member][order])
        while len(self._said) > _MODELS * model.size:
            del self._said[next(iter(self._said))]
        return result


def _places(known: Words, named: Words) -> NDArray[np.int64]:
    """``(n,)``: where each of ``named`` stands in ``known``, ascending; -1 where it does not."""
    at = np.minimum(np.searchsorted(known, named), len(known) - 1)
    return np.where(known[at] == named, at, -1)

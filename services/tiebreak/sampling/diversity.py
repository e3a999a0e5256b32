"""Not the same question twice, and a question about what nothing asked so far resembles.

Vectors are unit rows, so that a product is a cosine. Memories are small arrays, oldest first: bounded in space and time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray, product

FLOOR = 0.001  # what an exact repetition keeps of its utility


@dataclass(frozen=True, slots=True)
class Memory:
    """Unit vectors ``(m, d)``, oldest first."""

    units: FloatArray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.units)


def unit_rows(features: NDArray[np.floating]) -> FloatArray:
    """Rows scaled to length 1. A row without a direction (zero or not finite) becomes zero: it resembles nothing.

    >>> unit_rows(np.array([[3.0, 4.0], [np.nan, 1.0]])).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    rows = np.asarray(features, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    good = np.isfinite(norms) & (norms > 0.0)
    if good.all():
        return np.asarray(rows / norms[:, None])
    return np.where(good[:, None], np.nan_to_num(rows) / np.where(good, norms, 1.0)[:, None], 0.0).astype(np.float32)


def nearest(memory: Memory, units: FloatArray) -> NDArray[np.float64]:
    """``(c,)``: the highest cosine of each of ``(c, d)`` unit rows to the memory, in [0, 1]; 0 where the memory is empty."""
    if not len(memory) or memory.units.shape[1] != units.shape[1]:
        return np.zeros(len(units))
    return np.asarray(np.clip(product(units, memory.units.T).max(axis=1), 0.0, 1.0), dtype=np.float64)


def nearest_one(memory: Memory, unit: FloatArray) -> float:
    """:func:`nearest` of one unit row ``(d,)``."""
    if not len(memory) or memory.units.shape[1] != len(unit):
        return 0.0
    return min(1.0, max(0.0, float(product(memory.units, unit).max())))


def nearest_each(memory: Memory, units: FloatArray) -> NDArray[np.float64]:
    """:func:`nearest` of few rows ``(c, d)``, each row's answer being the same whatever rows stand beside it."""
    if not len(memory) or not len(units) or memory.units.shape[1] != units.shape[1]:
        return np.zeros(len(units))
    # A matrix product may add in another order for another number of rows; einsum's does not.
    cosines = np.einsum("cd,md->cm", units, memory.units)
    return np.asarray(cosines.max(axis=1).clip(0.0, 1.0), dtype=np.float64)


def remember(memory: Memory, unit: FloatArray, size: int) -> Memory:
    """Add one unit row ``(d,)`` and forget the oldest beyond ``size``. Vectors of another width start a new memory."""
    if size == 0:
        return memory
    if memory.units.shape[1] != len(unit):
        return Memory(unit[None, :].copy())
    return Memory(np.concatenate([memory.units, unit[None, :]])[-size:])


def cover(memory: Memory, unit: FloatArray, size: int, similarity: float) -> Memory:
    """Add one unit row unless something within ``similarity`` is there already: few vectors then span much."""
    if nearest_one(memory, unit) > similarity:
        return memory
    return remember(memory, unit, size)


def penalty(cosine: float, similarity: float) -> float:
    """What a near-duplicate loses of its log utility: 0 up to ``similarity``, then ``ln(1.001 - share of the rest)``.

    >>> round(penalty(0.5, 0.75), 3), round(penalty(1.0, 0.75), 3)
    (0.001, -6.908)
    """
    return log(1.0 + FLOOR - max(0.0, cosine - similarity) / (1.0 - similarity))


def penalties(cosines: NDArray[np.float64], similarity: float) -> NDArray[np.float64]:
    """:func:`penalty` of each of ``(c,)`` cosines."""
    over = np.maximum(0.0, cosines - similarity)
    return np.asarray(np.log(1.0 + FLOOR - over / (1.0 - similarity)))

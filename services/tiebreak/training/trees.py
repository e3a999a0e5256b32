"""A committee of forests as plain arrays: what every learner of trees gives, and what the graph of trees is made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.learner import softmax

Indices = NDArray[np.int32]

# A forest that never saw a class near an event still does not rule it out: log-probabilities stay finite.
SMOOTHING = 0.02
_MOST_STEPS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """All trees of all members, node by node; the trees of a member give its probabilities as a sum.

    ``feature``, ``threshold``, ``left``, ``right`` ``(nodes,)``: go left where x[feature] <= threshold; ``left`` is -1 at a leaf,
    whose row in ``values`` ``(leaves, k)`` is ``right`` then. ``roots`` and ``member`` ``(trees,)``, members in ascending order.
    """

    feature: Indices
    threshold: FloatArray
    left: Indices
    right: Indices
    values: FloatArray
    roots: Indices
    member: Indices

    def leaves(self, x: FloatArray) -> Indices:
        """``(n, d)`` to ``(trees, n)``: rows of ``values``."""
        at = np.repeat(self.roots[:, None], len(x), axis=1)
        rows = np.arange(len(x))[None, :]
        for _ in range(_MOST_STEPS):
            inner = self.left[at] >= 0
            if not inner.any():
                break
            goes_left = x[rows, self.feature[at]] <= self.threshold[at]
            at = np.where(inner, np.where(goes_left, self.left[at], self.right[at]), at)
        result: Indices = self.right[at]
        return result


@dataclass(frozen=True, slots=True)
class TreeModel:
    """A fitted committee over inputs of ``width`` numbers; ``seed`` of the bootstrap."""

    classes: tuple[str, ...]
    width: int
    forest: Forest
    seed: int

    @property
    def size(self) -> int:
        """How many members there are."""
        return int(self.forest.member[-1]) + 1

    def members(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, d)`` to ``(m, n, k)`` probabilities."""
        summed = np.zeros((self.size, len(x), len(self.classes)), np.float32)
        for member, leaf in zip(self.forest.member.tolist(), self.forest.leaves(x), strict=True):
            summed[member] += self.forest.values[leaf]
        smooth = np.float32(1.0 - SMOOTHING) * summed + np.float32(SMOOTHING / len(self.classes))
        return softmax(np.log(smooth) / np.float32(temperature))

    def probabilities(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, d)`` to ``(n, k)``: the mean of the members."""
        result: FloatArray = self.members(x, temperature).mean(axis=0)
        return result

    def voters(self, x: FloatArray) -> FloatArray:
        """``(n, d)`` to ``(m, n, k)``: the members."""
        return self.members(x)

    def digest(self) -> str:
        """sha256 of the classes and of every array: name, shape, little-endian bytes."""
        h = sha256(repr((self.classes, self.width, self.seed)).encode())
        for name in Forest.__slots__:
            array = getattr(self.forest, name)
            h.update(f"{name}{array.shape}".encode())
            h.update(np.ascontiguousarray(array, "<f4" if array.dtype.kind == "f" else "<i4").tobytes())
        return h.hexdigest()

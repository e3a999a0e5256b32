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
_PART = 512  # rows at a time: what they need then stays in the processor's cache


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
        inner = self.left >= 0
        here = np.arange(len(self.left), dtype=np.int32)
        # A leaf leads to itself: every row takes as many steps as the deepest one of its part.
        ways = np.stack([np.where(inner, self.left, here), np.where(inner, self.right, here)], axis=1).ravel()
        found = np.empty((len(self.roots), len(x)), np.int32)
        for start in range(0, len(x), _PART):
            found[:, start : start + _PART] = self._descend(x[start : start + _PART], ways, inner)
        return found

    def _descend(self, x: FloatArray, ways: Indices, inner: NDArray[np.bool_]) -> Indices:
        n, width = x.shape
        flat, first = np.ascontiguousarray(x).ravel(), np.tile(np.arange(n, dtype=np.int32) * width, len(self.roots))
        result = np.repeat(self.roots, n)
        going = np.arange(len(result))
        at = result
        for _ in range(_MOST_STEPS):
            still = np.flatnonzero(inner[at])
            if len(still) < len(at):
                result[going] = at
                going, at, first = going[still], at[still], first[still]
            if not len(at):
                break
            right = ~(flat[first + self.feature[at]] <= self.threshold[at])
            at = ways[2 * at + right]
        leaves: Indices = self.right[result].reshape(len(self.roots), n)
        return leaves


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

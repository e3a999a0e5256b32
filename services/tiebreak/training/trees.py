"""A committee of forests as plain arrays: what every learner of trees gives, and what the graph of trees is made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b, sha256

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.learner import softmax

Indices = NDArray[np.int32]

# A forest that never saw a class near an event still does not rule it out: log-probabilities stay finite.
SMOOTHING = 0.02
_MOST_STEPS = 10_000
_PART = 1024  # rows at a time: what they need then stays in the processor's cache
_BETWEEN = (
    4  # steps before those at a leaf are let go: to look after each step takes longer than to let them stand there
)


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

    def part(self, member: int) -> Forest:
        """The trees of one member, as a forest of their own."""
        trees = np.flatnonzero(self.member == member)
        start = int(self.roots[trees[0]])
        after = int(self.roots[trees[-1] + 1]) if trees[-1] + 1 < len(self.roots) else len(self.left)
        left, right = self.left[start:after], self.right[start:after]
        leaf = left < 0
        rows = right[leaf]
        return Forest(
            feature=self.feature[start:after],
            threshold=self.threshold[start:after],
            left=np.where(leaf, -1, left - start).astype(np.int32),
            right=np.where(leaf, right - rows.min(), right - start).astype(np.int32),
            values=self.values[rows.min() : rows.max() + 1],
            roots=(self.roots[trees] - start).astype(np.int32),
            member=np.zeros(len(trees), np.int32),
        )

    def digest(self) -> bytes:
        """Two forests with the same one answer alike."""
        h = blake2b(digest_size=16)
        for name in Forest.__slots__:
            array = np.ascontiguousarray(getattr(self, name))
            h.update(f"{name}{array.shape}{array.dtype}".encode())
            h.update(array.data)
        return h.digest()

    def sums(self, x: FloatArray) -> FloatArray:
        """``(n, d)`` to ``(m, n, k)``: what the trees of each member add up to."""
        summed = np.zeros((int(self.member[-1]) + 1, len(x), self.values.shape[1]), np.float32)
        for member, leaf in zip(self.member.tolist(), self.leaves(x), strict=True):
            summed[member] += self.values[leaf]
        return summed

    def leaves(self, x: FloatArray) -> Indices:
        """``(n, d)`` to ``(trees, n)``: rows of ``values``."""
        inner = self.left >= 0
        here = np.arange(len(self.left))
        # A leaf leads to itself: every row takes as many steps as the deepest one of its part. Left is second: where ``<=`` holds.
        ways = np.stack([np.where(inner, self.right, here), np.where(inner, self.left, here)], axis=1).ravel()
        nodes = _Nodes(self.feature.astype(np.intp), self.threshold, ways, inner)
        found = np.empty((len(self.roots), len(x)), np.int32)
        for start in range(0, len(x), _PART):
            part = x[start : start + _PART]
            found[:, start : start + _PART] = self.right[nodes.descended(part, self.roots)].reshape(len(self.roots), -1)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Nodes:
    """What a descent asks at each node, as the processor's own integers: others are converted anew at each look-up."""

    feature: NDArray[np.intp]
    threshold: FloatArray
    ways: NDArray[np.intp]
    inner: NDArray[np.bool_]

    def descended(self, x: FloatArray, roots: Indices) -> NDArray[np.intp]:
        """``(n, d)`` to ``(trees * n,)``: the node at which each row ends in each tree."""
        n, width = x.shape
        flat, first = np.ascontiguousarray(x).ravel(), np.tile(np.arange(n) * width, len(roots))
        at = np.repeat(roots.astype(np.intp), n)
        result, going = at, np.arange(len(at))
        for step in range(_MOST_STEPS):
            if step % _BETWEEN == 0:
                still = np.flatnonzero(self.inner.take(at))
                result[going] = at
                if not len(still):
                    break
                going, at, first = going.take(still), at.take(still), first.take(still)
            # Written so that NaN goes right, as in the graph.
            below = flat.take(first + self.feature.take(at)) <= self.threshold.take(at)
            at = self.ways.take(2 * at + below)
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
        return self.tempered(self.forest.sums(x), temperature)

    def tempered(self, summed: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(m, n, k)`` sums of the forest's trees to :meth:`members` of the same rows."""
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

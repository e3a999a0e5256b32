"""Trees by scikit-learn: a committee of extremely randomised forests, refitted from the ledger on each step.

Geurts, Ernst and Wehenkel, Machine Learning 2006. Linear heads lose to trees where columns mean different things (tables); the
figures are in ``loadtests/bench_models.py``. As with the softmax committee, each member has its own Poisson bootstrap by hash.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.ids import unit_hash
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.learner import TrainingSet, bootstrap
from tiebreak.training.trees import Forest, Indices, TreeModel

_TREES = 20


@dataclass(frozen=True, slots=True)
class _Tree:
    feature: Indices
    threshold: FloatArray
    left: Indices
    right: Indices
    values: FloatArray


class SklearnTrees:
    """A Learner. Raises ConfigError where scikit-learn is not installed."""

    def __init__(self, committee: int, seed: int) -> None:
        self._committee, self._seed = committee, seed
        try:
            self._ensemble = importlib.import_module("sklearn.ensemble")
        except ImportError as error:
            raise ConfigError(
                "training.learner: 'trees' needs scikit-learn.", fix="Install the extra `trees`, or use 'softmax'."
            ) from error

    def fit(self, labels: TrainingSet) -> TreeModel:
        """Raises ValueError for an empty set."""
        return self.base(labels).model

    def base(self, labels: TrainingSet) -> TreesBase:
        """All members. Raises ValueError for an empty set."""
        if not len(labels):
            raise ValueError("fit: no labels")
        members = self._grown(labels, range(self._committee))
        return TreesBase(_model(labels, members, self._seed), members, self._grown)

    def _grown(self, labels: TrainingSet, members: Sequence[int]) -> list[list[_Tree]]:
        counts = bootstrap(labels.label_ids, self._committee, self._seed)
        return [self._grow(labels, labels.weights * counts[member], member) for member in members]

    def _grow(self, labels: TrainingSet, weights: NDArray[np.float64], member: int) -> list[_Tree]:
        # A soft target is several rows, one per class, each with its share of the weight.
        rows, columns = np.nonzero(labels.targets * weights[:, None])
        if not len(rows):
            rows, columns = np.nonzero(labels.targets)
            weights = labels.weights
        forest = self._ensemble.ExtraTreesClassifier(
            _TREES, random_state=(self._seed + member) % 2**32, n_jobs=1, min_samples_leaf=1
        )
        forest.fit(labels.x[rows], columns, sample_weight=weights[rows] * labels.targets[rows, columns])
        return [_tree(e.tree_, forest.classes_, len(labels.classes)) for e in forest.estimators_]


@dataclass(frozen=True, slots=True)
class TreesBase:
    """Each step grows one member anew, whose turn it is by the newest label; the others are the base's."""

    model: TreeModel
    members: list[list[_Tree]]
    grown: Callable[[TrainingSet, Sequence[int]], list[list[_Tree]]]

    def after(self, labels: TrainingSet) -> TreeModel:
        turn = int(unit_hash(self.model.seed, "turn", labels.label_ids[-1]) * len(self.members))
        members = [*self.members[:turn], *self.grown(labels, [turn]), *self.members[turn + 1 :]]
        return _model(labels, members, self.model.seed)


def _model(labels: TrainingSet, members: list[list[_Tree]], seed: int) -> TreeModel:
    return TreeModel(labels.classes, labels.x.shape[1], _joined(members), seed)


def _tree(tree: Any, known: NDArray[np.int64], classes: int) -> _Tree:
    left = tree.children_left.astype(np.int32)
    leaf = left < 0
    shares = tree.value[leaf, 0, :]
    values = np.zeros((int(leaf.sum()), classes), np.float32)
    values[:, known] = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12) / _TREES
    right = tree.children_right.astype(np.int32)
    right[leaf] = np.arange(len(values))
    feature = np.where(leaf, 0, tree.feature).astype(np.int32)
    return _Tree(feature, _rounded_down(np.where(leaf, 0.0, tree.threshold)), left, right, values)


def _rounded_down(thresholds: NDArray[np.float64]) -> FloatArray:
    # The graph compares in float32: the largest float32 that is not above the threshold splits every float32 input alike.
    narrow = thresholds.astype(np.float32)
    return np.where(narrow > thresholds, np.nextafter(narrow, np.float32(-np.inf)), narrow).astype(np.float32)


def _joined(members: list[list[_Tree]]) -> Forest:
    trees = [tree for member in members for tree in member]
    starts = np.cumsum([0, *(len(t.left) for t in trees[:-1])])
    leaves = np.cumsum([0, *(len(t.values) for t in trees[:-1])])
    moved = list(zip(trees, starts.tolist(), leaves.tolist(), strict=True))
    return Forest(
        feature=np.concatenate([t.feature for t in trees]),
        threshold=np.concatenate([t.threshold for t in trees]),
        left=np.concatenate([np.where(t.left < 0, -1, t.left + start) for t, start, _ in moved]).astype(np.int32),
        right=np.concatenate([t.right + np.where(t.left < 0, leaf, start) for t, start, leaf in moved]).astype(
            np.int32
        ),
        values=np.concatenate([t.values for t in trees]),
        roots=starts.astype(np.int32),
        member=np.repeat(np.arange(len(members)), [len(m) for m in members]).astype(np.int32),
    )

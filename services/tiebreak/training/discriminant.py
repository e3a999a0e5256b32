"""Linear discriminant analysis on standardised embeddings: closed form, so every label of the window counts at little cost.

One covariance S for all classes, shrunk towards a multiple of the identity (Friedman, JASA 1989), and one mean per class, shrunk
towards the mean of all: W = S^-1 M, b_k = log(prior_k) - M_k W_k / 2. On embeddings of many classes it keeps up with softmax
regression on all labels and needs a fraction of its time. Members differ by their bootstrap of the means and priors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.training.features import Matrix, fit_features
from tiebreak.training.learner import SoftmaxModel, TrainingSet, bootstrap

_ABSENT = 0.05


@dataclass(frozen=True, slots=True)
class Discriminant:
    """A Learner. ``shrinkage`` of the covariance in [0, 1]; ``pull`` is how many labels the mean of all weighs in a class's mean."""

    committee: int
    seed: int
    shrinkage: float = 0.1
    pull: float = 1.0

    def fit(self, labels: TrainingSet) -> SoftmaxModel:
        """Raises ValueError for an empty set."""
        return self.base(labels).model

    def base(self, labels: TrainingSet) -> DiscriminantBase:
        """Fitted; the covariance and the members stay as they are until the next base."""
        if not len(labels):
            raise ValueError("fit: no labels")
        features = fit_features(labels.x, 0, 1.0)
        z = features.standardise(labels.x).astype(np.float64)
        mass = labels.targets * labels.weights[:, None]
        counts = bootstrap(labels.label_ids, self.committee, self.seed)
        found = [_means(z, share, self.pull) for share in (mass, *(mass * count[:, None] for count in counts))]
        means, priors = np.stack([m for m, _ in found]), np.stack([p for _, p in found])
        heads, k, d = means.shape
        covariance = self._covariance(z, mass)
        solved = np.linalg.solve(covariance, means.reshape(heads * k, d).T)
        weights = solved.reshape(d, heads, k)
        bias = priors - 0.5 * np.einsum("hkd,dhk->hk", means, weights)
        model = SoftmaxModel(
            labels.classes, features, weights.astype(np.float32), bias.astype(np.float32), self.seed, whole=True
        )
        return DiscriminantBase(model, covariance, self.pull)

    def _covariance(self, z: Matrix, mass: Matrix) -> Matrix:
        means, _ = _means(z, mass, self.pull)
        total, rows = mass.sum(axis=0), mass.sum(axis=1)
        # Within classes, around the shrunk means: sum of w (z - M)(z - M)^T, multiplied out.
        cross = (means.T * (total + 2.0 * self.pull)) @ means
        within = ((z.T * rows) @ z - cross) / max(float(total.sum()), 1e-12)
        d = len(within)
        level = max(float(np.trace(within)) / d, 1e-9)
        result: Matrix = (1.0 - self.shrinkage) * within + self.shrinkage * level * np.eye(d)
        return result


@dataclass(frozen=True, slots=True)
class DiscriminantBase:
    """What serves has its means and priors from every label at each step, over the base's columns and ``covariance`` ``(d, d)``."""

    model: SoftmaxModel
    covariance: Matrix
    pull: float

    def after(self, labels: TrainingSet) -> SoftmaxModel:
        z = self.model.features.standardise(labels.x)
        mass = (labels.targets * labels.weights[:, None]).astype(np.float32)
        means, priors = _means(z, mass, self.pull)
        head = np.linalg.solve(self.covariance, means.T.astype(np.float64))
        weights, bias = self.model.weights.copy(), self.model.bias.copy()
        weights[:, 0], bias[0] = head, priors - 0.5 * np.einsum("kd,dk->k", means, head)
        return replace(self.model, weights=weights, bias=bias)


def _means(z: NDArray[np.floating], mass: NDArray[np.floating], pull: float) -> tuple[Matrix, Matrix]:
    """``(k, d)`` class means and ``(k,)`` log priors of the rows ``z`` ``(n, d)`` with class masses ``(n, k)``."""
    total = mass.sum(axis=0)
    return (mass.T @ z) / (total + pull)[:, None], np.log((total + _ABSENT) / (total.sum() + _ABSENT))

"""Linear discriminant analysis on standardised embeddings: closed form, so every label of the window counts at little cost.

One covariance S for all classes, shrunk towards a multiple of the identity (Friedman, JASA 1989), and one mean per class, shrunk
towards the mean of all: W = S^-1 M, b_k = log(prior_k) - M_k W_k / 2. On embeddings of many classes it keeps up with softmax
regression on all labels and needs a fraction of its time. Members differ by their bootstrap of the means and priors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

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
        if not len(labels):
            raise ValueError("fit: no labels")
        features = fit_features(labels.x, 0, 1.0)
        z = features.standardise(labels.x).astype(np.float64)
        mass = labels.targets * labels.weights[:, None]
        factor = cho_factor(self._covariance(z, mass), lower=True)
        counts = bootstrap(labels.label_ids, self.committee, self.seed)
        shares = [mass, *(mass * counts[m][:, None] for m in range(self.committee))]
        heads = [_head(factor, *self._means(z, share)) for share in shares]
        weights = np.stack([w for w, _ in heads], axis=1).astype(np.float32)
        bias = np.stack([b for _, b in heads]).astype(np.float32)
        return SoftmaxModel(labels.classes, features, weights, bias, self.seed, whole=True)

    def _means(self, z: Matrix, mass: Matrix) -> tuple[Matrix, Matrix]:
        """``(k, d)`` class means and ``(k,)`` log priors of the rows ``z`` ``(n, d)`` with class masses ``(n, k)``."""
        total = mass.sum(axis=0)
        return (mass.T @ z) / (total + self.pull)[:, None], np.log((total + _ABSENT) / (total.sum() + _ABSENT))

    def _covariance(self, z: Matrix, mass: Matrix) -> Matrix:
        means, _ = self._means(z, mass)
        total, rows = mass.sum(axis=0), mass.sum(axis=1)
        # Within classes, around the shrunk means: sum of w (z - M)(z - M)^T, multiplied out.
        cross = (means.T * (total + 2.0 * self.pull)) @ means
        within = ((z.T * rows) @ z - cross) / max(float(total.sum()), 1e-12)
        d = len(within)
        level = max(float(np.trace(within)) / d, 1e-9)
        result: Matrix = (1.0 - self.shrinkage) * within + self.shrinkage * level * np.eye(d)
        return result


def _head(factor: tuple[Matrix, bool], means: Matrix, priors: Matrix) -> tuple[Matrix, Matrix]:
    weights: Matrix = cho_solve(factor, means.T)
    bias: Matrix = priors - 0.5 * (means.T * weights).sum(axis=0)
    return weights, bias

"""Linear discriminant analysis on standardised embeddings: closed form, so every label of the window counts at little cost.

One covariance S for all classes, shrunk towards a multiple of the identity (Friedman, JASA 1989), and one mean per class, shrunk
towards the mean of all: W = S^-1 M, b_k = log(prior_k) - M_k W_k / 2. On embeddings of many classes it keeps up with softmax
regression on all labels and needs a fraction of its time. Members differ by their bootstrap of the means and priors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.features import Matrix, fit_features
from tiebreak.training.learner import SoftmaxModel, TrainingSet, bootstrap

_ABSENT = 0.05
_TRUST = 0.3


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
        covariance = self.covariance(z, mass)
        solved = np.linalg.solve(covariance, means.reshape(heads * k, d).T)
        weights = solved.reshape(d, heads, k)
        bias = priors - 0.5 * np.einsum("hkd,dhk->hk", means, weights)
        model = SoftmaxModel(
            labels.classes, features, weights.astype(np.float32), bias.astype(np.float32), self.seed, whole=True
        )
        return DiscriminantBase(model, covariance, self.pull)

    def covariance(self, z: Matrix, mass: Matrix) -> Matrix:
        """``(d, d)``, within the classes of the rows ``z`` ``(n, d)`` with class masses ``(n, k)``, shrunk."""
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
        return _served(self.model, self.covariance, z, labels.targets * labels.weights[:, None], self.pull)


@dataclass(frozen=True, slots=True)
class Taught:
    """A Learner: the ``inner`` discriminant, whose serving head is taught by unlabelled events too (self-training: Scudder 1965).

    What it says of them, by :data:`_TRUST` of a label at most and as far as it is sure, counts in means, priors and covariance. The
    members learn from labels alone: they judge the labels that they left out, and must not have heard of them in another way.
    """

    inner: Discriminant

    def fit(self, labels: TrainingSet) -> SoftmaxModel:
        """Raises ValueError for an empty set."""
        return self.base(labels).after(labels)

    def base(self, labels: TrainingSet) -> TaughtBase:
        """Raises ValueError for an empty set."""
        base = self.inner.base(labels)
        z, mass = _with_unlabelled(base.model, labels)
        return TaughtBase(base, self.inner.covariance(z.astype(np.float64), mass))


@dataclass(frozen=True, slots=True)
class TaughtBase:
    """The ``plain`` base is the teacher; ``covariance`` ``(d, d)`` is of labels and unlabelled events."""

    plain: DiscriminantBase
    covariance: Matrix

    @property
    def model(self) -> None:
        """Not at hand: the head that serves is made by :meth:`after`."""

    def after(self, labels: TrainingSet) -> SoftmaxModel:
        teacher = self.plain.after(labels)
        if not labels.unlabelled:
            return teacher
        return _served(teacher, self.covariance, *_with_unlabelled(teacher, labels), self.plain.pull)


def _with_unlabelled(teacher: SoftmaxModel, labels: TrainingSet) -> tuple[FloatArray, Matrix]:
    """Standardised rows ``(n + u, d)`` and their class masses ``(n + u, k)``."""
    mass = labels.targets * labels.weights[:, None]
    z = teacher.features.standardise(labels.x)
    if not labels.unlabelled:
        return z, mass
    passed = np.frombuffer(b"".join(labels.unlabelled), "<f4").reshape(len(labels.unlabelled), -1)
    said = teacher.probabilities(passed).astype(np.float64)
    trust = _TRUST * said * said.max(axis=1, keepdims=True)
    return np.concatenate([z, teacher.features.standardise(passed)]), np.concatenate([mass, trust])


def _served(
    model: SoftmaxModel, covariance: Matrix, z: FloatArray, mass: NDArray[np.floating], pull: float
) -> SoftmaxModel:
    """``model`` with the head that serves from the means and priors of these rows."""
    means, priors = _means(z, mass.astype(np.float32), pull)
    head = np.linalg.solve(covariance, means.T.astype(np.float64))
    weights, bias = model.weights.copy(), model.bias.copy()
    weights[:, 0], bias[0] = head, priors - 0.5 * np.einsum("kd,dk->k", means, head)
    return replace(model, weights=weights, bias=bias)


def _means(z: NDArray[np.floating], mass: NDArray[np.floating], pull: float) -> tuple[Matrix, Matrix]:
    """``(k, d)`` class means and ``(k,)`` log priors of the rows ``z`` ``(n, d)`` with class masses ``(n, k)``."""
    total = mass.sum(axis=0)
    return (mass.T @ z) / (total + pull)[:, None], np.log((total + _ABSENT) / (total.sum() + _ABSENT))

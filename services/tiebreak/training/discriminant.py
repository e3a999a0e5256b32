"""Linear discriminant analysis on standardised embeddings: closed form, so every label of the window counts at little cost.

One covariance S for all classes, shrunk towards a multiple of the identity (Friedman, JASA 1989), and one mean per class, shrunk
towards the mean of all: W = S^-1 M, b_k = log(prior_k) - M_k W_k / 2. S is estimated from few labels in many columns, so these logits
are ten to thirty times too large: they are divided by the temperature that fits labels left out (:class:`_LeftOut`). On embeddings of
many classes it keeps up with softmax regression on all labels and needs a fraction of its time. Members differ by their bootstrap of
the means and priors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.features import Matrix, fit_features
from tiebreak.training.learner import SoftmaxModel, TrainingSet, bootstrap
from tiebreak.training.temperature import temperature_of

_ABSENT = 0.05
_TRUST = 0.3
_TAUGHT_SHRINKAGE = 0.3  # its covariance is of guesses for the most part
# With fewer labels than columns S is nothing but the identity in many directions, and what leaves it cannot be told in closed form.
_FEW_LABELS = 20.0
_JUDGES = 500  # of the newest labels: a temperature needs no more, and a step must not cost more with more of them


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
        covariance, level = self.covariance(z, mass)
        solved = np.linalg.solve(covariance, means.reshape(heads * k, d).T)
        weights = solved.reshape(d, heads, k)
        bias = priors - 0.5 * np.einsum("hkd,dhk->hk", means, weights)
        hot = SoftmaxModel(
            labels.classes, features, weights.astype(np.float32), bias.astype(np.float32), self.seed, whole=True
        )
        judged = _LeftOut(self, covariance, means[0], np.asarray(solved[:, :k], np.float64), mass, level)
        return DiscriminantBase(hot, covariance, self.pull, judged.temperature(z[-_JUDGES:], mass[-_JUDGES:]))

    def covariance(self, z: Matrix, mass: Matrix) -> tuple[Matrix, float]:
        """``(d, d)``, within the classes of the rows ``z`` ``(n, d)`` with class masses ``(n, k)``, shrunk; and the mean variance."""
        means, _ = _means(z, mass, self.pull)
        total, rows = mass.sum(axis=0), mass.sum(axis=1)
        # Within classes, around the shrunk means: sum of w (z - M)(z - M)^T, multiplied out.
        cross = (means.T * (total + 2.0 * self.pull)) @ means
        within = ((z.T * rows) @ z - cross) / max(float(total.sum()), 1e-12)
        d = len(within)
        level = max(float(np.trace(within)) / d, 1e-9)
        result: Matrix = (1.0 - self.shrinkage) * within + self.shrinkage * level * np.eye(d)
        return result, level


@dataclass(frozen=True, slots=True)
class DiscriminantBase:
    """What serves has its means and priors from every label at each step, over the base's columns and ``covariance`` ``(d, d)``."""

    hot: SoftmaxModel
    covariance: Matrix
    pull: float
    temperature: float

    @property
    def model(self) -> SoftmaxModel:
        return self.cooled(self.hot)

    def cooled(self, model: SoftmaxModel) -> SoftmaxModel:
        """As sure as labels left out say that it may be."""
        by = np.float32(self.temperature)
        return replace(model, weights=model.weights / by, bias=model.bias / by)

    def after(self, labels: TrainingSet) -> SoftmaxModel:
        return self.cooled(self.hot_after(labels))

    def hot_after(self, labels: TrainingSet) -> SoftmaxModel:
        """Before its temperature."""
        z = self.hot.features.standardise(labels.x)
        return _served(self.hot, self.covariance, z, labels.targets * labels.weights[:, None], self.pull)


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """A fitted discriminant: ``means`` ``(k, d)``, ``head`` ``(d, k)`` = S^-1 M^T, and the class masses ``(n, k)`` of its labels."""

    inner: Discriminant
    covariance: Matrix
    means: Matrix
    head: Matrix
    mass: Matrix
    level: float

    def temperature(self, z: Matrix, mass: Matrix) -> float:
        """The one of the lowest NLL of labels ``z`` ``(n, d)`` with ``mass`` ``(n, k)`` of those fitted, each left out by itself; at
        least 1, and a usual one where there are too few."""
        if len(self.mass) <= len(self.covariance):
            return _FEW_LABELS
        logits = self._logits(z, mass)
        logits -= logits.max(axis=1, keepdims=True)
        return max(temperature_of(logits[None].astype(np.float32), mass.argmax(axis=1)), 1.0)

    def _logits(self, z: Matrix, mass: Matrix) -> Matrix:
        """``(n, k)``: what a fit without the label says of it.

        A label of weight w in a class of mass N (the pull among it) is r away from its mean. Without it the mean is w / (N - w) r
        further off, and S loses b r r^T, whose inverse is known in closed form (Sherman and Morrison 1950).
        """
        total, pull = self.mass.sum(axis=0), self.inner.pull
        rows, c, w = np.arange(len(z)), mass.argmax(axis=1), mass.sum(axis=1)
        gram, said = self.means @ self.head, z @ self.head
        rest = total[c] + pull - w
        away, own, square = w / rest, said[rows, c], gram[c, c]
        b = (1.0 - self.inner.shrinkage) * w * (rest + w) / (rest * total.sum())
        zz = np.einsum("nd,dn->n", z, np.linalg.solve(self.covariance, z.T))
        # Inner products by S^-1 of r with the means, with z and with itself.
        of_means, of_z, of_r = said - gram[c], zz - own, zz - 2.0 * own + square
        apart = np.maximum(((z - self.means[c]) ** 2).sum(axis=1), 1e-12)
        # What the identity adds to S stays whoever leaves, so no direction may lose more than the rest.
        rest_of_s = np.minimum(self.inner.shrinkage * self.level * of_r / apart, 1.0)
        gain = b / np.maximum(1.0 - b * of_r, np.maximum(rest_of_s, 1e-6))
        priors = np.log((total + _ABSENT) / (total.sum() + _ABSENT))
        logits = said + gain[:, None] * of_means * of_z[:, None] + priors
        logits -= 0.5 * (np.diag(gram) + gain[:, None] * of_means**2)
        mean_r = own - square - away * of_r
        inside = square - 2.0 * away * (own - square) + away**2 * of_r + gain * mean_r**2
        prior = np.log((total[c] - w + _ABSENT) / (total.sum() + _ABSENT))
        logits[rows, c] = own - away * of_z + gain * mean_r * of_z - 0.5 * inside + prior
        return np.asarray(logits)


@dataclass(frozen=True, slots=True)
class Taught:
    """A Learner: the ``inner`` discriminant, whose serving head is taught by unlabelled events too (self-training: Scudder 1965).

    What it says of them, by :data:`_TRUST` of a label at most and as far as it is sure, counts in means, priors and covariance. The
    members learn from labels alone: they judge the labels that they left out, and must not have heard of them in another way. What
    to ask about is the ``inner`` one's to say: whoever has taught himself is sure of what he believes.
    """

    inner: Discriminant

    def fit(self, labels: TrainingSet) -> SoftmaxModel:
        """Raises ValueError for an empty set."""
        return self.base(labels).after(labels)

    def base(self, labels: TrainingSet) -> TaughtBase:
        """Raises ValueError for an empty set."""
        base = self.inner.base(labels)
        z, mass = _with_unlabelled(base.hot, labels)
        shrunk = replace(self.inner, shrinkage=max(self.inner.shrinkage, _TAUGHT_SHRINKAGE))
        return TaughtBase(base, shrunk.covariance(z.astype(np.float64), mass)[0])


@dataclass(frozen=True, slots=True)
class TaughtBase:
    """The ``plain`` base is the teacher; ``covariance`` ``(d, d)`` is of labels and unlabelled events."""

    plain: DiscriminantBase
    covariance: Matrix

    @property
    def model(self) -> None:
        """Not at hand: the head that serves is made by :meth:`after`."""

    def after(self, labels: TrainingSet) -> SoftmaxModel:
        # A cooled teacher would teach less, and pupils of a sure one are right more often.
        teacher = self.plain.hot_after(labels)
        if not labels.unlabelled:
            return self.plain.cooled(teacher)
        taught = _served(teacher, self.covariance, *_with_unlabelled(teacher, labels), self.plain.pull)
        weights = np.concatenate([taught.weights[:, :1], teacher.weights], axis=1)
        both = replace(taught, weights=weights, bias=np.concatenate([taught.bias[:1], teacher.bias]), asks=True)
        return self.plain.cooled(both)


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

"""A committee of softmax heads over fixed features, refitted to convergence: a pure function of a *set* of labels.

Each member sees every label with its own Poisson(1) weight (online bootstrap: Oza and Russell, AISTATS 2001), drawn from a
hash of label and member. So weights, and with them the model, do not depend on when or in which batches labels came,
and the labels a member never saw judge it without bias (out-of-bag estimates: Breiman 1996). What serves is one head more, which
saw every label once: a member misses a third of them, and with one or two labels of a class that is felt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b, sha256
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.features import FeatureMap, Matrix, fit_features, whitening
from tiebreak.training.solver import ITERATIONS, Solver, smoothed, ties

# P(Poisson(1) <= i) for i = 0..5: a uniform number below the first counts 0, below the second 1, and so on.
_POISSON = np.array([0.36787944, 0.73575888, 0.9196986, 0.98101184, 0.99634015, 0.99940582])
_PRECISE_ROWS = 1000
_FEW_ITERATIONS = 10  # of members, when there are many labels: what serves is fitted to convergence
_DRAWS = 8  # members served by one hash of a label


@dataclass(frozen=True, slots=True)
class Settings:
    """What the learner may be told. ``hidden`` bounds the kernel part; None: ``landmarks``, and none of it for ``wide`` inputs.

    ``ordered``: the classes are levels in their order, and weights of near ones are tied (:func:`ties`).
    ``smoothing``: of the targets (:func:`smoothed`).
    """

    committee: int = 5
    l2: float = 1e-3
    seed: int = 7
    hidden: int | None = None
    landmarks: int = 256
    sharpness: float = 1.7
    wide: int = 256
    linear_gain: float = 3.5
    kernel_gain: float = 18.0
    wide_gain: float = 14.0
    ordered: bool = False
    smoothing: float = 0.0

    def units(self, width: int) -> int:
        """How many Gaussian units the hidden layer may have for inputs of this width."""
        if self.hidden is not None:
            return self.hidden
        return 0 if width >= self.wide else self.landmarks


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """``n`` labels in canonical order: ``x`` ``(n, d)``, soft targets ``(n, k)`` over ``classes``, ``weights`` ``(n,)`` > 0.

    ``unlabelled``: the features ``(d,)`` of events that nobody labelled, little-endian float32, the newest first.
    """

    label_ids: tuple[str, ...]
    classes: tuple[str, ...]
    x: FloatArray
    targets: Matrix
    weights: Matrix
    unlabelled: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.label_ids)


@dataclass(frozen=True, slots=True)
class SoftmaxModel:
    """Fitted heads: ``weights`` ``(d + L, h, k)`` and ``bias`` ``(h, k)`` over ``features``, float32; ``seed`` of the bootstrap.

    ``whole``: the first head saw every label and gives the probabilities; else they are the mean of the members. ``asks``: the head
    after it says what to ask about, since what serves knows too little of how sure it may be.
    """

    classes: tuple[str, ...]
    features: FeatureMap
    weights: FloatArray
    bias: FloatArray
    seed: int
    whole: bool = False
    asks: bool = False

    @property
    def size(self) -> int:
        """How many members there are."""
        return int(self.weights.shape[1]) - self.whole - self.asks

    @property
    def width(self) -> int:
        """How many numbers an input has."""
        return len(self.features.mean)

    def members(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, d)`` to ``(m, n, k)`` probabilities."""
        logits = self._logits(self.features.apply(x), self.whole + self.asks)
        return softmax(logits / np.float32(temperature)).transpose(1, 0, 2)

    def asking(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, d)`` to ``(n, k)``: what to ask about is chosen by these."""
        if not self.asks:
            return self.probabilities(x, temperature)
        logits = self._logits(self.features.apply(x), 1, 2)[:, 0]
        return softmax(logits / np.float32(temperature))

    def probabilities(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, d)`` to ``(n, k)``: of the head that saw every label, or the mean of the members."""
        return self.answers(self.logits(self.features.apply(x)), temperature)

    def logits(self, columns: FloatArray) -> FloatArray:
        """``(n, d + L)``, columns of ``features``, to ``(n, h, k)``: of the heads whose mean is what serves."""
        return self._logits(columns, 0, 1 if self.whole else None)

    def answers(self, logits: FloatArray, temperature: float = 1.0) -> FloatArray:
        """:meth:`probabilities` of rows of which :meth:`logits` gives these."""
        result: FloatArray = softmax(logits / np.float32(temperature)).transpose(1, 0, 2).mean(axis=0)
        return result

    def voters(self, x: FloatArray) -> FloatArray:
        """``(n, d)`` to ``(h, n, k)``: the probabilities, at temperature 1, whose mean is what serves."""
        return softmax(self.logits(self.features.apply(x))).transpose(1, 0, 2)

    def _logits(self, columns: FloatArray, first: int, end: int | None = None) -> FloatArray:
        weights, bias = self.weights[:, first:end], self.bias[first:end]
        p, m, k = weights.shape
        result: FloatArray = columns @ weights.reshape(p, m * k) + bias.reshape(m * k)
        return result.reshape(len(columns), m, k)

    def digest(self) -> str:
        """sha256 of the classes and of every array."""
        return heads_digest((self.classes, self.seed), self.features, self.weights, self.bias)


def asking(model: Model, x: FloatArray, temperature: float = 1.0) -> FloatArray:
    """``(n, d)`` to ``(n, k)``: the probabilities by which a model has events chosen; what serves, unless it says otherwise."""
    return (model.asking if isinstance(model, SoftmaxModel) else model.probabilities)(x, temperature)


class Model(Protocol):
    """A model of any learner: a committee of ``size`` members whose bootstrap has the seed ``seed``."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def seed(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def width(self) -> int: ...
    def members(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, width)`` to ``(size, n, k)`` probabilities."""

    def probabilities(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, width)`` to ``(n, k)``: what serves."""

    def voters(self, x: FloatArray) -> FloatArray:
        """``(n, width)`` to ``(h, n, k)``: the probabilities, at temperature 1, whose mean is what serves."""

    def digest(self) -> str:
        """sha256 of everything learned."""


class Learner(Protocol):
    """A pure function from labels to a model. The same set gives the same bits, whatever came before."""

    def fit(self, labels: TrainingSet) -> Model:
        """Raises ValueError for an empty set."""


class Base(Protocol):
    """What a learner found out from many labels, to go on from."""

    @property
    def model(self) -> Model | None:
        """What a fit to the same labels gives, to the bit; None where that is not at hand."""

    def after(self, labels: TrainingSet) -> Model:
        """A model of ``labels``: those of the base, then those that came since. A function of both sets; cheaper than a fit."""


@runtime_checkable
class Accompanied(Protocol):
    """A Learner whose members do not serve, so that predictions can be had without them."""

    def alone(self) -> Self:
        """The same without members: probabilities are the same to the bit."""


@runtime_checkable
class Continuing(Protocol):
    """A Learner that can go on from what it knows."""

    def base(self, labels: TrainingSet) -> Base:
        """Raises ValueError for an empty set."""


class SoftmaxCommittee:
    """The default: L2-regularised multinomial regression per member, by L-BFGS on preconditioned parameters."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fit(self, labels: TrainingSet) -> SoftmaxModel:
        if not len(labels):
            raise ValueError("fit: no labels")
        s = self._settings
        features = features_of(labels, s, s.units(labels.x.shape[1]))
        back = fold(features, s)
        solver = solver_of(s, basis_of(features, labels.x, back), labels)
        whole = solver.solve(labels.weights)
        counts = bootstrap(labels.label_ids, s.committee, s.seed)
        most = ITERATIONS if len(labels) <= _PRECISE_ROWS else _FEW_ITERATIONS
        # From nothing, not from `whole`: that has seen what a member leaves out, and would speak for itself through it.
        members = [solver.solve(labels.weights * counts[m], most) for m in range(s.committee)]
        weights, bias = folded(back, [whole, *members])
        return SoftmaxModel(labels.classes, features, weights, bias, s.seed, whole=True)

    def alone(self) -> Self:
        return type(self)(replace(self._settings, committee=0))

    def base(self, labels: TrainingSet) -> SoftmaxBase:
        """Fitted; features and members stay as they are until the next base."""
        model = self.fit(labels)
        back = fold(model.features, self._settings)
        head = np.concatenate([np.linalg.solve(back, model.weights[:, 0].astype(np.float64)), model.bias[:1]])
        return SoftmaxBase(self._settings, model, back, head)


@dataclass(frozen=True, slots=True)
class SoftmaxBase:
    """What serves is fitted to every label at each step, beginning at the base's ``head`` ``(p, k)``.

    Kernels are the base's, and so are the members, which tell where models disagree.
    """

    settings: Settings
    model: SoftmaxModel
    back: Matrix
    head: Matrix

    def after(self, labels: TrainingSet) -> SoftmaxModel:
        basis, s = basis_of(self.model.features, labels.x, self.back), self.settings
        head = solver_of(s, basis, labels).solve(labels.weights, begin=self.head)
        weights, bias = self.model.weights.copy(), self.model.bias.copy()
        weights[:, 0], bias[0] = self.back @ head[:-1], head[-1]
        return replace(self.model, weights=weights, bias=bias)


def features_of(labels: TrainingSet, s: Settings, units: int) -> FeatureMap:
    """The map for these labels with ``units`` kernels at most, at labels drawn by hash."""
    order = np.argsort(np.array([_digest(s.seed, "landmark", i) for i in labels.label_ids], "S16"), kind="stable")
    return fit_features(labels.x[order], units, s.sharpness)


def heads_digest(facts: tuple[object, ...], features: FeatureMap, weights: FloatArray, bias: FloatArray) -> str:
    """sha256 of ``facts`` and of everything learned: name, shape and little-endian bytes of each array."""
    f = features
    named = {"mean": f.mean, "scale": f.scale, "landmarks": f.landmarks, "weights": weights, "bias": bias}
    h = sha256(repr(facts).encode())
    for name, array in sorted((named | {"gamma": np.array([f.gamma], np.float32)}).items()):
        h.update(f"{name}{array.shape}".encode())
        h.update(np.ascontiguousarray(array, "<f4").tobytes())
    return h.hexdigest()


def solver_of(s: Settings, basis: NDArray[np.floating], labels: TrainingSet) -> Solver:
    """For softmax heads over these labels."""
    targets = smoothed(labels.targets, s.smoothing, 1.0 / max(len(labels.classes), 1))
    return Solver(basis, targets, s.l2, ties_for(s, labels.classes))


def ties_for(s: Settings, classes: Sequence[str]) -> Matrix | None:
    """What ties the weights of these classes, where they have an order."""
    return ties(len(classes)) if s.ordered else None


def fold(features: FeatureMap, s: Settings) -> Matrix:
    """``(p, p)``: what folds heads that are fitted in a basis of comparable columns back onto the plain features."""
    d, count = len(features.mean), len(features.landmarks)
    wide = d >= s.wide
    back = np.zeros((d + count, d + count))
    back[:d, :d] = np.eye(d) * ((s.wide_gain if wide else s.linear_gain) / np.sqrt(d))
    if count:
        back[d:, d:] = whitening(features) * s.kernel_gain
    return back


def folded(back: Matrix, heads: Sequence[Matrix]) -> tuple[FloatArray, FloatArray]:
    """``weights`` ``(p, h, k)`` and ``bias`` ``(h, k)`` of heads ``(p + 1, k)`` that were fitted in the basis.

    Each by itself, so that none depends on what stands beside it.
    """
    weights = np.stack([back @ head[:-1] for head in heads], axis=1).astype(np.float32)
    return weights, np.stack([head[-1] for head in heads]).astype(np.float32)


def basis_of(features: FeatureMap, x: FloatArray, back: Matrix) -> NDArray[np.floating]:
    """``(n, p + 1)`` comparable columns to fit heads in, the last of ones."""
    kind = np.float64 if len(x) <= _PRECISE_ROWS else np.float32
    phi = features.apply(x).astype(kind)
    return np.concatenate([phi @ back.astype(kind), np.ones((len(x), 1), kind)], axis=1)


def softmax(logits: FloatArray) -> FloatArray:
    """Over the last axis.

    >>> softmax(np.array([[0.0, 0.0]], np.float32)).tolist()
    [[0.5, 0.5]]
    """
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: FloatArray = exp / exp.sum(axis=-1, keepdims=True)
    return result


def bootstrap(label_ids: Sequence[str], committee: int, seed: int) -> Matrix:
    """``(m, n)`` Poisson(1) counts that depend on nothing but seed, member and label id."""
    groups = range(0, committee, _DRAWS)
    raw = b"".join(_digest(seed, f"bootstrap-{g}", label, 8 * _DRAWS) for g in groups for label in label_ids)
    draws = np.frombuffer(raw, "<u8").reshape(len(groups), len(label_ids), _DRAWS).transpose(0, 2, 1)
    unit = draws.reshape(len(groups) * _DRAWS, len(label_ids))[:committee] / 2.0**64
    return np.searchsorted(_POISSON, unit, side="right").astype(np.float64)


def _digest(seed: int, purpose: str, key: str, size: int = 16) -> bytes:
    return blake2b(
        key.encode("utf-8", "surrogatepass"), digest_size=size, key=f"{seed}:{purpose}".encode()[:64]
    ).digest()

"""Committees of heads that are no softmax: a sigmoid for each class, or a number. The learners beside ``learner.py``.

Features, bootstrap, members and the head that saw every label are those of the softmax committee, so that all it promises holds here:
a pure function of a *set* of labels, members judged on what they left out, one graph.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.training.features import FeatureMap, Matrix
from tiebreak.training.learner import (
    Settings,
    TrainingSet,
    basis_of,
    bootstrap,
    features_of,
    fold,
    folded,
    heads_digest,
)
from tiebreak.training.solver import ITERATIONS, Solver, smoothed

_PRECISE_ROWS = 1000
_FEW_ITERATIONS = 10
_PENALTIES = np.geomspace(1e-5, 1e3, 33)  # of the mean squared column, times the number of labels
# Standard errors of the left-out gain by which a fit must beat another to count as better: at twenty labels the best of many penalties
# looks better than it is.
_PROOF = 1.0


@dataclass(frozen=True, slots=True)
class HeadsModel:
    """Fitted heads: ``weights`` ``(p, h, c)`` and ``bias`` ``(h, c)``, float32; the first head saw every label and serves.

    ``form`` MULTI: a sigmoid over each of ``classes``. VALUES: one column, the number, kept within ``low`` and ``high``.
    """

    form: Form
    classes: tuple[str, ...]
    features: FeatureMap
    weights: FloatArray
    bias: FloatArray
    seed: int
    low: float = 0.0
    high: float = 1.0

    @property
    def size(self) -> int:
        """How many members there are."""
        return int(self.weights.shape[1]) - 1

    @property
    def width(self) -> int:
        """How many numbers an input has."""
        return len(self.features.mean)

    def members(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, d)`` to ``(m, n, c)``."""
        return self._heads(x, temperature, slice(1, None))

    def probabilities(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, d)`` to ``(n, c)``: what serves."""
        result: FloatArray = self._heads(x, temperature, slice(0, 1))[0]
        return result

    def voters(self, x: FloatArray) -> FloatArray:
        """``(n, d)`` to ``(1, n, c)``: the head that serves."""
        return self._heads(x, 1.0, slice(0, 1))

    def _heads(self, x: FloatArray, temperature: float, which: slice) -> FloatArray:
        weights, bias = self.weights[:, which], self.bias[which]
        p, h, c = weights.shape
        raw = self.features.apply(x) @ weights.reshape(p, h * c) + bias.reshape(h * c)
        said: NDArray[np.floating]
        if self.form is Form.VALUES:
            said = np.clip(raw, np.float32(self.low), np.float32(self.high))
        else:
            said = sigmoid(raw / np.float32(temperature))
        result: FloatArray = said.reshape(len(x), h, c).transpose(1, 0, 2).astype(np.float32, copy=False)
        return result

    def digest(self) -> str:
        """sha256 of the form, the classes and every array."""
        facts = (self.form.value, self.classes, self.seed, self.low, self.high)
        return heads_digest(facts, self.features, self.weights, self.bias)


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Elementwise, without overflow.

    >>> sigmoid(np.array([0.0, -1000.0], np.float32)).tolist()
    [0.5, 0.0]
    """
    exp = np.exp(-np.abs(logits))
    result: NDArray[np.floating] = np.where(logits >= 0.0, 1.0, exp) / (1.0 + exp)
    return result


class SigmoidCommittee:
    """Multi-label: an L2-regularised logistic regression per class and member (binary relevance), over shared features.

    The bias is all but free of the penalty, so a class that few labels name keeps its low rate instead of being pulled to a half.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fit(self, labels: TrainingSet) -> HeadsModel:
        if not len(labels):
            raise ValueError("fit: no labels")
        s = self._settings
        features = features_of(labels, s, s.units(labels.x.shape[1]))
        back = fold(features, s)
        solver = _Sigmoids(basis_of(features, labels.x, back), smoothed(labels.targets, s.smoothing, 0.5), s.l2)
        counts = bootstrap(labels.label_ids, s.committee, s.seed)
        most = ITERATIONS if len(labels) <= _PRECISE_ROWS else _FEW_ITERATIONS
        members = [solver.solve(labels.weights * counts[m], most) for m in range(s.committee)]
        weights, bias = folded(back, [solver.solve(labels.weights), *members])
        return HeadsModel(Form.MULTI, labels.classes, features, weights, bias, s.seed)

    def alone(self) -> Self:
        return type(self)(replace(self._settings, committee=0))


class _Sigmoids(Solver):
    """The same problem with a sigmoid per column. A quarter bounds the Hessian of each, as it does in the preconditioner."""

    def _objective(self, flat: NDArray[np.float64], share: NDArray[np.floating]) -> tuple[float, NDArray[np.float64]]:
        v = flat.reshape(self._rows.shape[1], -1)
        logits = self._rows @ v.astype(self._kind)
        pull = self._penalty @ v
        losses = np.maximum(logits, 0.0) - logits * self._targets + np.log1p(np.exp(-np.abs(logits)))
        loss = float(share @ losses.sum(axis=1)) + 0.5 * float((v * pull).sum())
        slope = self._rows.T @ ((sigmoid(logits) - self._targets) * share[:, None])
        return loss, (slope.astype(np.float64) + pull).ravel()


class RidgeCommittee:
    """Regression: ridge around the mean, its penalty by the closed form of leave-one-out errors (Allen 1974; Golub et al. 1979).

    Straight lines and kernels are both tried, and the mean alone is what remains where neither predicts left-out labels clearly better.
    Members are fitted with the penalty found on all labels: their spread is that of a bootstrap around what serves.
    """

    def __init__(self, settings: Settings, low: float, high: float) -> None:
        self._settings, self._low, self._high = settings, low, high

    def fit(self, labels: TrainingSet) -> HeadsModel:
        if not len(labels):
            raise ValueError("fit: no labels")
        s, y = self._settings, labels.targets[:, 0]
        found = [self._basis(labels, units) for units in sorted({0, s.units(labels.x.shape[1])})]
        scored = [_penalty(basis, y, labels.weights) for _, basis, _ in found]
        best = int(np.argmin([score for _, score in scored]))
        (features, basis, back), (penalty, _) = found[best], scored[best]
        counts = bootstrap(labels.label_ids, s.committee, s.seed)
        weightings = [labels.weights, *(labels.weights * counts[m] for m in range(s.committee))]
        heads = [_ridge(basis, y, w if w.any() else labels.weights, penalty) for w in weightings]
        weights = np.stack([back @ slope for slope, _ in heads], axis=1)[:, :, None].astype(np.float32)
        bias = np.array([[offset] for _, offset in heads], np.float32)
        return HeadsModel(Form.VALUES, (), features, weights, bias, s.seed, self._low, self._high)

    def _basis(self, labels: TrainingSet, units: int) -> tuple[FeatureMap, Matrix, Matrix]:
        s = self._settings
        features = features_of(labels, s, units)
        back = fold(features, s)
        return features, basis_of(features, labels.x, back)[:, :-1].astype(np.float64), back


def _penalty(basis: Matrix, y: Matrix, weights: Matrix) -> tuple[float, float]:
    """The penalty of the least squared left-out error, infinite for the mean alone, and that error.

    With rows and ``y`` centred and scaled by the root of their weights, the left-out residual is r_i / (1 - h_ii), where h has the part
    of the mean, w_i / sum w, and that of the ridge, sum_j u_ij^2 s_j^2 / (s_j^2 + penalty), from one singular value decomposition.
    """
    share = weights / weights.sum()
    root = np.sqrt(weights)
    rows = (basis - share @ basis) * root[:, None]
    rest = (y - share @ y) * root
    u, values, _ = np.linalg.svd(rows, full_matrices=False)
    along, square = u.T @ rest, values**2

    def left_out(kept: Matrix) -> Matrix:
        leverage = share + (u * u) @ kept
        result: Matrix = (rest - u @ (kept * along)) / np.maximum(1.0 - leverage, 1e-6)
        return result**2

    mean = left_out(np.zeros_like(square))
    scale = float(square.sum()) / max(len(square), 1)
    tried = [left_out(square / (square + penalty * scale)) for penalty in _PENALTIES] if scale > 0.0 else []
    # The least error, then the largest penalty that is not clearly worse: the one-standard-error rule (Breiman et al. 1984).
    best = min(range(len(tried)), key=lambda i: (float(tried[i].sum()), -i), default=-1)
    if best < 0:
        return float("inf"), float(mean.mean())
    if not _tells(mean - tried[best]):
        return float("inf"), float(mean.mean())
    chosen = max(i for i in range(best, len(tried)) if not _tells(tried[i] - tried[best]))
    return float(_PENALTIES[chosen]) * scale, float(tried[chosen].mean())


def _tells(gain: Matrix) -> bool:
    return bool(gain.mean() > _PROOF * gain.std() / np.sqrt(len(gain)))


def _ridge(basis: Matrix, y: Matrix, weights: Matrix, penalty: float) -> tuple[Matrix, float]:
    """Slope ``(p,)`` and offset of the weighted ridge; an infinite penalty is the mean."""
    share = weights / weights.sum()
    middle, level = share @ basis, float(share @ y)
    if np.isinf(penalty):
        return np.zeros(basis.shape[1]), level
    rows = basis - middle
    gram = rows.T @ (rows * weights[:, None])
    slope: Matrix = np.linalg.solve(gram + penalty * np.eye(len(gram)), rows.T @ (weights * (y - level)))
    return slope, level - float(middle @ slope)

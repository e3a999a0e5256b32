"""Anytime-valid evidence about the mean of bounded differences: a test by betting and the bounds it gives. Pure.

Against "the mean is at most m" a gambler bets constant shares of the wealth on "more": W(m) = mean over g of
prod_i (1 + g (d_i - m) / (1 + m)), with d_i in [-1, 1] and g in (0, 1). Under the hypothesis W is a non-negative supermartingale,
so it ever exceeds 1 / alpha with probability at most alpha (Ville 1939), however often it is looked at. Where labels were drawn
with unequal probabilities p_i, d_i - m becomes w_i (d_i - m) with w_i = p / p_i in (0, 1] for a constant p: as bounded, and its
expectation under the draw has the sign of that of d - m, so all of this stays true. Betting for bounded means:
Waudby-Smith and Ramdas, JRSSB 2024 (https://arxiv.org/abs/2010.09686); the mixture of constant bets is Cover's universal portfolio
on a grid (Orabona and Jun, IEEE TIT 2024). It depends on the values alone, not on their order: the same labels, the same verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# Neighbours a factor of 2 apart: the best constant bet is never missed by more than a factor of 1.41, which costs a sixth of
# its growth at most. The smallest one suits differences of half a point.
_BETS = 0.96 * 0.5 ** np.arange(9.0)
_STEPS = 30


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a mean; each side holds at its level whenever it is looked at. ``n`` values stand behind them."""

    low: float
    high: float
    n: int


def bounds(differences: Sequence[float], alpha: float, weights: Sequence[float] | None = None) -> Bounds:
    """Lower and upper bound of the mean of values in [-1, 1], each anytime-valid at level ``alpha``. Raises ValueError outside.

    ``weights`` in [0, 1] undo unequal chances of being drawn; without them all were alike.

    >>> bounds([], 0.05)
    Bounds(low=-1.0, high=1.0, n=0)
    >>> b = bounds([0.0] * 95 + [1.0] * 5, 0.05); round(b.low, 3), round(b.high, 3)
    (-0.017, 0.16)
    """
    if not len(differences):
        return Bounds(-1.0, 1.0, 0)
    drawn = _counted(differences, weights)
    mirrored = _Drawn(-drawn.values, drawn.weights, drawn.counts)
    return Bounds(_lower(drawn, alpha), -_lower(mirrored, alpha), len(differences))


def evidence_above(differences: Sequence[float], mean: float, weights: Sequence[float] | None = None) -> float:
    """The e-value against "the mean is at most ``mean``", for ``mean`` in (-1, 1); 1 without data."""
    return float(exp(min(_log_wealth(_counted(differences, weights), mean), 700.0)))


def running_evidence_above(differences: Matrix, mean: float) -> Matrix:
    """``(..., n)`` to ``(..., n)``: the e-value after each value. For simulations that look after every label."""
    bets = _BETS.reshape(-1, *([1] * differences.ndim)) / (1.0 + mean)
    wealth = np.cumsum(np.log1p(bets * (differences[None] - mean)), axis=-1)
    result: Matrix = np.exp(np.minimum(_log_mean(wealth), 700.0))
    return result


class _Drawn(NamedTuple):
    """Values with their weights, each such pair once, and how often it came."""

    values: Matrix
    weights: Matrix
    counts: Matrix


def _counted(differences: Sequence[float], weights: Sequence[float] | None) -> _Drawn:
    given = np.ones(len(differences)) if weights is None else np.asarray(weights, np.float64)
    both = np.stack([np.asarray(differences, np.float64), given], axis=1)
    pairs, counts = np.unique(both, axis=0, return_counts=True)
    values, own = pairs[:, 0], pairs[:, 1]
    if not (np.abs(values) <= 1.0).all():  # so written, NaN is refused too
        raise ValueError("differences must be within [-1, 1]")
    if not ((own >= 0.0) & (own <= 1.0)).all():
        raise ValueError("weights must be within [0, 1]")
    return _Drawn(values, own, counts.astype(np.float64))


def _lower(drawn: _Drawn, alpha: float) -> float:
    # The wealth against "at most m" falls as m grows: all hypotheses below the root are rejected.
    low, high = -1.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if _log_wealth(drawn, middle) >= log(1.0 / alpha):
            low = middle
        else:
            high = middle
    return low


def _log_wealth(drawn: _Drawn, mean: float) -> float:
    stakes = _BETS[:, None] * drawn.weights[None, :]
    growth = np.log1p(stakes * (drawn.values[None, :] - mean) / (1.0 + mean)) @ drawn.counts
    return float(_log_mean(growth))


def _log_mean(growth: Matrix) -> Matrix:
    top = growth.max(axis=0)
    # Numpy's own mean takes longer than all else here.
    result: Matrix = top + np.log(np.exp(growth - top).sum(axis=0) / len(growth))
    return result

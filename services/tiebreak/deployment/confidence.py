"""Anytime-valid evidence about the mean of bounded differences: a test by betting and the bounds it gives. Pure.

Against "the mean is at most m" a gambler bets constant shares of the wealth on "more": W(m) = mean over g of
prod_i (1 + g (d_i - m) / (1 + m)), with d_i in [-1, 1] and g in (0, 1). Under the hypothesis W is a non-negative supermartingale,
so it ever exceeds 1 / alpha with probability at most alpha (Ville 1939), however often it is looked at. Betting for bounded means:
Waudby-Smith and Ramdas, JRSSB 2024 (https://arxiv.org/abs/2010.09686); the mixture of constant bets is Cover's universal portfolio
on a grid (Orabona and Jun, IEEE TIT 2024). It depends on the values alone, not on their order: the same labels, the same verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

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


def bounds(differences: Sequence[float], alpha: float) -> Bounds:
    """Lower and upper bound of the mean of values in [-1, 1], each anytime-valid at level ``alpha``. Raises ValueError outside.

    >>> bounds([], 0.05)
    Bounds(low=-1.0, high=1.0, n=0)
    >>> b = bounds([0.0] * 95 + [1.0] * 5, 0.05); round(b.low, 3), round(b.high, 3)
    (-0.017, 0.16)
    """
    values, counts = _counted(differences)
    return Bounds(_lower(values, counts, alpha), -_lower(-values, counts, alpha), len(differences))


def evidence_above(differences: Sequence[float], mean: float) -> float:
    """The e-value against "the mean is at most ``mean``", for ``mean`` in (-1, 1); 1 without data."""
    return float(exp(min(_log_wealth(*_counted(differences), mean), 700.0)))


def running_evidence_above(differences: Matrix, mean: float) -> Matrix:
    """``(..., n)`` to ``(..., n)``: the e-value after each value. For simulations that look after every label."""
    bets = _BETS.reshape(-1, *([1] * differences.ndim)) / (1.0 + mean)
    wealth = np.cumsum(np.log1p(bets * (differences[None] - mean)), axis=-1)
    result: Matrix = np.exp(np.minimum(_log_mean(wealth), 700.0))
    return result


def _counted(differences: Sequence[float]) -> tuple[Matrix, Matrix]:
    values, counts = np.unique(np.asarray(differences, np.float64), return_counts=True)
    if not (np.abs(values) <= 1.0).all():  # so written, NaN is refused too
        raise ValueError("differences must be within [-1, 1]")
    return values, counts.astype(np.float64)


def _lower(values: Matrix, counts: Matrix, alpha: float) -> float:
    # The wealth against "at most m" falls as m grows: all hypotheses below the root are rejected.
    low, high = -1.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if _log_wealth(values, counts, middle) >= log(1.0 / alpha):
            low = middle
        else:
            high = middle
    return low


def _log_wealth(values: Matrix, counts: Matrix, mean: float) -> float:
    growth = np.log1p(_BETS[:, None] * (values[None, :] - mean) / (1.0 + mean)) @ counts
    return float(_log_mean(growth))


def _log_mean(growth: Matrix) -> Matrix:
    top = growth.max(axis=0)
    result: Matrix = top + np.log(np.exp(growth - top).mean(axis=0))
    return result

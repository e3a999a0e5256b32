"""Simulated audit slices that look more often where champion and challenger differ: what labels say then, and how soon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiebreak.training.evaluation import share_right

_DISAGREE = 0.1  # how often the two answer differently
_ALIKE, _APART = 0.89, 0.45  # how often the challenger is right where they agree, and where they differ


def looked_for(rng: np.random.Generator, shape: tuple[int, ...], more: float) -> tuple[NDArray[np.bool_], float]:
    """Which labels of a slice are of events on which two models differ, and what such a label counts.

    ``more``: labels asked for on such events, per label of the uniform slice.
    """
    each = more / _DISAGREE  # times as often as an event on which they agree, beyond once
    return rng.random(shape) < (_DISAGREE + more) / (1.0 + more), 1.0 / (1.0 + each)


def weighted_coverage(runs: int, alpha: float, audit: int = 200, more: float = 1.0) -> tuple[float, float]:
    """How often the interval of an accuracy covers it, by weights, and with all labels counted alike."""
    truth = _DISAGREE * _APART + (1.0 - _DISAGREE) * _ALIKE
    rng = np.random.default_rng(5)
    honest = naive = 0
    for _ in range(runs):
        apart, weight = looked_for(rng, (audit,), more)
        credit = (rng.random(audit) < np.where(apart, _APART, _ALIKE)).astype(float)
        weighed = share_right(credit, np.where(apart, weight, 1.0), alpha)
        plain = share_right(credit, None, alpha)
        honest += weighed.low <= truth <= weighed.high
        naive += plain.low <= truth <= plain.high
    return honest / runs, naive / runs

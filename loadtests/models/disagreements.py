"""Simulated audit slices that look more often where champion and challenger differ: what labels say then, and how soon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadtests.models.rollouts import Differences, Peeked, watched
from tiebreak.contracts.candidate import Paired
from tiebreak.training.evaluation import share_right

_DISAGREE = 0.1  # how often the two answer differently
_ALIKE, _APART = 0.89, 0.45  # how often the challenger is right where they agree, and where they differ


def looked_for(rng: np.random.Generator, shape: tuple[int, ...], more: float) -> tuple[NDArray[np.bool_], float]:
    """Which labels of a slice are of events on which two models differ, and what such a label counts.

    ``more``: labels asked for on such events, per label of the uniform slice.
    """
    each = more / _DISAGREE  # times as often as an event on which they agree, beyond once
    return rng.random(shape) < (_DISAGREE + more) / (1.0 + more), 1.0 / (1.0 + each)


def drawn(
    rng: np.random.Generator, shape: tuple[int, int], worse: float, more: float
) -> tuple[Differences, NDArray[np.bool_]]:
    """Challenger - champion per label, -1, 0 or 1, where over all events it is on average ``-worse``; and where the two differ."""
    apart, _ = looked_for(rng, shape, more)
    lost = (1.0 + worse / _DISAGREE) / 2.0  # of the events on which they differ
    return np.where(apart, np.where(rng.random(shape) < lost, -1.0, 1.0), 0.0), apart


def peek(runs: int, labels: int, worse: float, alpha: float, more: float, seed: int = 12) -> Peeked:
    """Look after every label of every rollout. A negative ``worse`` is better: the median is of what is so then."""
    return watched(lambda rng, shape: drawn(rng, shape, worse, more)[0], runs, labels, alpha, seed, better=worse < 0.0)


def paired(rng: np.random.Generator, gains: Differences, apart: NDArray[np.bool_], more: float) -> Paired:
    """The same labels as training hands them to the gate."""
    champion = np.where(gains < 0, 1.0, np.where(gains > 0, 0.0, (rng.random(len(gains)) < _ALIKE).astype(float)))
    _, weight = looked_for(rng, (0,), more)
    return Paired(
        tuple(map(str, range(len(gains)))),
        ("a",) * len(gains),
        tuple(champion.tolist()),
        tuple((champion + gains).tolist()),
        tuple(np.where(apart, weight, 1.0).tolist()),
        apart=tuple(apart.tolist()),
    )


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

"""Simulated rollouts of models that give numbers: a label earns 1 - absolute error / declared range, so gains are small and many.

The two err alike in most of what they miss. Labels are of a uniform slice, or looked for as well where the two are further apart
than the gate's margin; nearer together they gain nobody anything then, as in ``judge_serving``.
"""

from __future__ import annotations

import numpy as np

from loadtests.models.rollouts import Differences, Peeked, watched
from tiebreak.contracts.project import Gate

# Standard deviations of the champion's errors, in shares of the range: of all of them (their mean is 12 points), and of its own part.
_ERROR, _OWN = 0.15, 0.08
_MEAN_ERROR = _ERROR * float(np.sqrt(2.0 / np.pi))
_SAMPLE = 20_000


def _errors(rng: np.random.Generator, n: int, worse: float) -> tuple[Differences, Differences]:
    """Of champion and challenger on the same events; the challenger's mean error is larger by ``worse``."""
    common = np.sqrt(_ERROR**2 - _OWN**2)
    own = np.sqrt((_ERROR * (1.0 + worse / _MEAN_ERROR)) ** 2 - common**2)
    shared = rng.normal(0.0, common, n)
    return shared + rng.normal(0.0, _OWN, n), shared + rng.normal(0.0, own, n)


def drawn(rng: np.random.Generator, shape: tuple[int, int], worse: float, more: float) -> Differences:
    """Challenger - champion per label, in [-1, 1], on average ``-worse`` over all events.

    ``more``: labels looked for where the two differ, per label of the uniform slice; 0: each event counts as it comes.
    """
    n = shape[0] * shape[1]
    if not more:
        return _gains(*_errors(rng, n, worse)).reshape(shape)
    champion, challenger = _errors(rng, _SAMPLE, worse)
    apart = float((np.abs(champion - challenger) > Gate().non_inferiority).mean())
    found = rng.random(n) < (apart + more) / (1.0 + more)
    gains, wanted = np.zeros(n), np.flatnonzero(found)
    while len(wanted):
        champion, challenger = _errors(rng, len(wanted), worse)
        differ = np.abs(champion - challenger) > Gate().non_inferiority
        gains[wanted[differ]] = _gains(champion, challenger)[differ]
        wanted = wanted[~differ]
    return gains.reshape(shape)


def _gains(champion: Differences, challenger: Differences) -> Differences:
    result: Differences = np.clip(np.abs(champion), 0.0, 1.0) - np.clip(np.abs(challenger), 0.0, 1.0)
    return result


def spread(worse: float) -> float:
    """The standard deviation of a gain, of a uniform slice."""
    return float(drawn(np.random.default_rng(14), (1, _SAMPLE), worse, 0.0).std())


def peek(runs: int, labels: int, worse: float, alpha: float, more: float, seed: int = 13) -> Peeked:
    """Look after every label of every rollout."""
    return watched(lambda rng, shape: drawn(rng, shape, worse, more), runs, labels, alpha, seed)

"""Chance that depends on the event alone: a seed and an event id give the same numbers on every replica and after every restart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.hashing import further, hashes, units

Floats = NDArray[np.float64]

# Kept off both ends, the logarithms below are finite.
_LEAST, _MOST = 1e-15, 1.0 - 1e-15


def draws(seed: int, purpose: str, keys: Sequence[bytes], more: int) -> tuple[Floats, Floats]:
    """A uniform number in (0, 1) per key ``(n,)``, and ``more`` further ones ``(n, more)``, all from one hash.

    >>> first, rest = draws(7, "audit", [b"e1"], 2)
    >>> bool(first[0] == draws(7, "audit", [b"e0", b"e1"], 0)[0][1]), rest.shape
    (True, (1, 2))
    """
    words = hashes(seed, purpose, keys)
    return _open(units(words)), _open(units(further(words, more)))


def _open(unit: Floats) -> Floats:
    return np.clip(unit, _LEAST, _MOST)


def gumbel(uniform: Floats) -> Floats:
    """Standard Gumbel noise, ``-ln(-ln u)``.

    >>> round(float(gumbel(np.array([0.5]))[0]), 4)
    0.3665
    """
    return np.asarray(-np.log(-np.log(uniform)))


def gumbel_level(probability: float) -> float:
    """The value that Gumbel noise exceeds with ``probability``; -inf for 1 and more, inf for 0 and less.

    >>> round(gumbel_level(0.5), 4)
    0.3665
    """
    if probability >= 1.0:
        return float("-inf")
    if probability <= 0.0:
        return float("inf")
    return float(-np.log(-np.log1p(-probability)))


def clears(base: float, threshold: float, temper: float) -> float:
    """The probability that ``base + temper * Gumbel`` reaches ``threshold``, in [0, 1].

    ``1 - exp(-exp(-(threshold - base) / temper))``; a step where ``temper`` is 0.

    >>> round(clears(0.0, 0.3665129, 1.0), 4), clears(1.0, 0.5, 0.0), clears(0.0, 0.5, 0.0)
    (0.5, 1.0, 0.0)
    """
    if temper <= 0.0:
        return 1.0 if base >= threshold else 0.0
    # Beyond 700 the inner exponential overflows, and the answer is 1 to the last bit long before.
    exponent = min(700.0, max(-700.0, (base - threshold) / temper))
    return float(-np.expm1(-np.exp(exponent)))

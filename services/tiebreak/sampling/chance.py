"""Chance that depends on the event alone: a seed and an event id give the same numbers on every replica and after every restart."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A double rounds 2**64 - 1 up to 2**64: kept off both ends, the logarithms below are finite.
_LEAST, _MOST = 1e-15, 1.0 - 1e-15
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def units(seed: int, purpose: str, keys: Sequence[bytes], count: int = 1) -> Floats:
    """``(n, count)`` uniform numbers in (0, 1) per key; ``count`` in 1..8.

    With ``count=1`` these are the numbers of :func:`tiebreak.contracts.ids.unit_hash`, so anybody can check a draw.

    >>> from tiebreak.contracts.ids import unit_hash
    >>> bool(units(7, "audit", [b"e1"])[0, 0] == unit_hash(7, "audit", "e1"))
    True
    """
    return _unit(_hashed(seed, purpose, keys, count))


def draws(seed: int, purpose: str, keys: Sequence[bytes], more: int) -> tuple[Floats, Floats]:
    """:func:`units` ``(n,)`` and ``more`` further numbers ``(n, more)`` per key, all from one hash.

    The further ones are SplitMix64 of the hash (Steele, Lea and Flood, OOPSLA 2014): a pass of numpy costs less than a second hash.

    >>> first, rest = draws(7, "audit", [b"e1"], 2)
    >>> bool(first[0] == units(7, "audit", [b"e1"])[0, 0]), rest.shape
    (True, (1, 2))
    """
    whole = _hashed(seed, purpose, keys, 1)
    with np.errstate(over="ignore"):
        mixed = whole + _GOLDEN * np.arange(1, more + 1, dtype=np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return _unit(whole)[:, 0], _unit(mixed)


def _hashed(seed: int, purpose: str, keys: Sequence[bytes], count: int) -> NDArray[np.uint64]:
    start = blake2b(digest_size=8 * count, key=f"{seed}:{purpose}".encode()[:64])
    copy = start.copy
    digests = bytearray()
    for key in keys:
        h = copy()
        h.update(key)
        digests += h.digest()
    return np.frombuffer(digests, dtype="<u8").reshape(len(keys), count)


def _unit(whole: NDArray[np.uint64]) -> Floats:
    return np.clip(whole.astype(np.float64) / 2.0**64, _LEAST, _MOST)


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

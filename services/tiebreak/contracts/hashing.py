"""One hash for columns of byte strings: 64 bits per string at the cost of a product, the same however the strings are batched.

Multilinear hashing over words of 8 bytes (Lemire and Kaser, Computer Journal 2014), finished by SplitMix64 (Steele, Lea and Flood,
OOPSLA 2014), without which ids that count upwards would give numbers that do too. For chance and for telling values apart; none of
it hides anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

# The purpose of the one coin that each event has. To draw the audit slice, to look more often where two models differ and to compare
# them is this coin at different heights, so that each knows what the others may draw.
AUDIT_COIN = "audit"

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashes(seed: int, purpose: str, keys: Sequence[bytes]) -> Words:
    """``(n,)``: what ``seed``, ``purpose`` and a key give, and nothing else does.

    >>> one, two = hashes(7, "audit", [b"e1", b"another"]), hashes(7, "audit", [b"another", b"e1"])
    >>> bool(one[0] == two[1]), bool(one[0] == hashes(8, "audit", [b"e1"])[0])
    (True, False)
    """
    if not keys:
        return np.zeros(0, np.uint64)
    lengths = set(map(len, keys))
    if len(lengths) == 1:
        return hashes_of_table(seed, purpose, _table(keys, lengths.pop()))
    found = np.zeros(len(keys), np.uint64)
    length_of = np.array(list(map(len, keys)), np.int64)
    for length in lengths:
        rows = np.flatnonzero(length_of == length)
        found[rows] = hashes_of_table(seed, purpose, _table([keys[row] for row in rows.tolist()], length))
    return found


def hashes_of_table(seed: int, purpose: str, table: NDArray[np.uint8]) -> Words:
    """:func:`hashes` of strings of one length, ``(n, length)``."""
    rows, length = table.shape
    words = -(-length // 8)
    if length % 8:
        padded = np.zeros((rows, 8 * words), np.uint8)
        padded[:, :length] = table
        table = padded
    factors = _factors(seed, purpose, length, words)
    with np.errstate(over="ignore"):
        return mixed(np.ascontiguousarray(table).view("<u8") @ factors[1:] + factors[0])


def mixed(words: Words) -> Words:
    """SplitMix64's finish: words that differ little become words that have nothing to do with each other."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def further(words: Words, more: int) -> Words:
    """``(n, more)`` words that follow from ``(n,)`` words: SplitMix64 started from each."""
    with np.errstate(over="ignore"):
        return mixed(words[:, None] + _GOLDEN * np.arange(1, more + 1, dtype=np.uint64))


def units(words: Words) -> NDArray[np.float64]:
    """Words as uniform numbers in [0, 1): their upper 53 bits, which are all that a double holds.

    >>> units(np.array([0, 2**63, 2**64 - 1], np.uint64)).tolist()[:2]
    [0.0, 0.5]
    """
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def thinned(ids: Sequence[str], weights: Sequence[float]) -> NDArray[np.bool_]:
    """``(n,)``: which of the audit labels with these weights to keep where each that is kept counts one.

    Each stays with its weight for a probability, by a hash of its own: what is left is as uniform as an audit slice that looked nowhere
    more often (thinning; Lewis and Shedler 1979).
    """
    drawn = units(hashes(0, "thinned", [one.encode("utf-8", "surrogatepass") for one in ids]))
    kept: NDArray[np.bool_] = drawn < np.asarray(weights, np.float64)
    return kept


def _table(keys: Sequence[bytes], length: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), length)


@lru_cache(maxsize=4096)
def _factors(seed: int, purpose: str, length: int, words: int) -> Words:
    """One factor per word and a term to begin with. From a hash of their own: no library's generator may change them."""
    key = f"{seed}:{purpose}".encode()[:64]
    raw = b"".join(blake2b(b"%d/%d" % (length, number), digest_size=8, key=key).digest() for number in range(words + 1))
    return np.frombuffer(raw, "<u8").astype(np.uint64)

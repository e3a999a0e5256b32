"""The hash of columns: plain integer arithmetic that anybody can repeat, the same however strings are batched, even and unrelated."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts.hashing import further, hashes, units

ALL = 2**64


def by_hand(seed: int, purpose: str, key: bytes) -> int:
    """The definition, without numpy."""
    words = [int.from_bytes(key[at : at + 8], "little") for at in range(0, len(key), 8)]
    factors = [
        int.from_bytes(
            blake2b(b"%d/%d" % (len(key), n), digest_size=8, key=f"{seed}:{purpose}".encode()).digest(), "little"
        )
        for n in range(len(words) + 1)
    ]
    x = (factors[0] + sum(f * w for f, w in zip(factors[1:], words, strict=True))) % ALL
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % ALL
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % ALL
    return x ^ (x >> 31)


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(0, 9))
def test_a_batch_gives_what_the_definition_gives_for_each_key(keys: list[bytes], seed: int) -> None:
    """Whatever the lengths, and whatever else is in the batch."""
    assert hashes(seed, "audit", keys).tolist() == [by_hand(seed, "audit", key) for key in keys]


def test_ids_that_count_upwards_give_even_and_unrelated_numbers() -> None:
    """Of 20,000 each twentieth has its part; the hash of an id tells nothing of the next one's, nor of what follows from itself."""
    words = hashes(7, "audit", [b"event-%09d" % i for i in range(20_000)])
    first = units(words)
    every = np.column_stack([first, np.roll(first, 1), np.roll(first, 10), units(further(words, 2))])
    for column in every.T:
        assert np.abs(np.histogram(column, 20, (0.0, 1.0))[0] / 1000 - 1.0).max() < 0.15
    assert np.abs(np.corrcoef(every.T) - np.eye(5)).max() < 0.03
    # Neighbours in the unit square: no lattice.
    pairs = np.histogram2d(first[:-1], first[1:], 10, ((0, 1), (0, 1)))[0] / 200
    assert np.abs(pairs - 1.0).max() < 0.35


def test_one_changed_bit_changes_half_of_the_hash() -> None:
    """For each bit of a key, over a thousand keys."""
    keys = np.random.default_rng(1).integers(0, 256, (1000, 12), np.uint8)
    before = hashes(1, "x", [row.tobytes() for row in keys])
    for bit in range(96):
        flipped = keys.copy()
        flipped[:, bit // 8] ^= np.uint8(1 << bit % 8)
        changed = np.bitwise_count(before ^ hashes(1, "x", [row.tobytes() for row in flipped]))
        assert 31 < changed.mean() < 33


def test_no_two_of_a_million_keys_share_a_hash() -> None:
    """64 bits: the chance of a pair among a million is 3e-8."""
    words = hashes(0, "value", [b"%d" % i for i in range(1_000_000)])
    assert len(np.unique(words)) == 1_000_000

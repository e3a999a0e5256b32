"""Snapshots: bytes that come back as the same state, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.sampling import policy, probabilities, run, scored
from tiebreak.contracts.errors import Invalid
from tiebreak.sampling.appraisal import initial
from tiebreak.sampling.state import SamplerState, digest, restore, snapshot


def used() -> SamplerState:
    rng = np.random.default_rng(1)
    batches = [
        scored(
            probabilities(rng, 700), start=700 * i, features=rng.normal(size=(700, 6)).astype(np.float32), inputs=True
        )
        for i in range(6)
    ]
    return run(policy(target_share=0.05), batches)[1]


def test_a_state_comes_back_to_the_bit() -> None:
    """What is restored has the digest of what was written, and writes the same bytes again."""
    state = used()
    raw = snapshot(state, "f")
    again = restore(raw, initial(policy()), "f")
    assert (digest(again), snapshot(again, "f")) == (digest(state), raw)


def test_a_fresh_state_comes_back_too() -> None:
    """Empty windows and memories survive the trip."""
    fresh = initial(policy())
    assert digest(restore(snapshot(fresh, "f"), initial(policy()), "f")) == digest(fresh)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_damaged_bytes_are_refused(damage: str) -> None:
    """Nothing, a cut file, a flipped bit and a stranger's file raise Invalid, not something else."""
    raw = snapshot(used(), "f")
    flipped = bytearray(raw)
    flipped[len(raw) // 2] ^= 1
    bad = {"empty": b"", "cut": raw[:-1], "flipped": bytes(flipped), "foreign": b"\x80\x04pickled"}[damage]
    with pytest.raises(Invalid, match="damaged"):
        restore(bad, initial(policy()), "f")


def test_other_settings_refuse_a_state() -> None:
    """A state made under another policy is not taken over: its numbers mean something else."""
    made, other = policy(), policy(window=512)
    raw = snapshot(used(), made.fingerprint)
    assert made.fingerprint != other.fingerprint
    with pytest.raises(Invalid, match="other sampling settings"):
        restore(raw, initial(other), other.fingerprint)


def test_a_state_of_another_layout_is_refused() -> None:
    """A template with a part that the bytes do not have raises Invalid and names it."""
    raw = snapshot(used().drift, "f")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="has no"):
        restore(raw, initial(policy()), "f")


def test_the_digest_covers_every_part() -> None:
    """One more event, selected or not, changes the digest."""
    rng = np.random.default_rng(2)
    state, later = used(), used()
    _, later = run(policy(target_share=0.05), [scored(probabilities(rng, 1), start=4200)], later)
    assert digest(state) == digest(used()) != digest(later)

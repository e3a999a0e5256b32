"""A dead letter is complete enough to put the record back."""

from __future__ import annotations

import hashlib

from tests.support.log_clients import stored
from tiebreak.contracts.codec import decode_dead, encode
from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.messages import DeadLetter
from tiebreak.events.dead_letters import dead_key, dead_letter


def test_a_letter_holds_place_reason_and_raw_bytes_and_survives_the_wire() -> None:
    """Any bytes at all, and what comes back from `dead` equals what was put in."""
    raw = bytes(range(256))
    letter = dead_letter(
        "p", stored(value=raw, partition=3, offset=41), BadRecord(DeadReason.NOT_FINITE, "NaN at 7"), 5
    )
    assert letter == DeadLetter(
        project="p",
        topic="t",
        partition=3,
        offset=41,
        reason=DeadReason.NOT_FINITE,
        detail="NaN at 7",
        raw=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        time_ms=5,
    )
    assert decode_dead(encode(letter)) == letter


def test_a_letter_about_a_record_without_value_or_key() -> None:
    """A tombstone has no bytes, and its letter's key is the place."""
    nothing = stored(value=None, key=None, partition=1, offset=2)
    assert dead_letter("p", nothing, BadRecord(DeadReason.EMPTY, ""), 0).raw == b""
    assert dead_key(nothing) == b"t/1/2"
    assert dead_key(stored(key=b"e1")) == b"e1"

"""Deterministic identities: every consumer is a set-union on ids, so a replay changes nothing."""

from __future__ import annotations

from hashlib import blake2b


def _digest(*parts: str) -> str:
    # Each part is length-prefixed, so ("ab", "c") and ("a", "bc") differ.
    h = blake2b(digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        h.update(len(raw).to_bytes(4, "little"))
        h.update(raw)
    return h.hexdigest()


def fallback_event_id(topic: str, partition: int, offset: int) -> str:
    """The id of an event whose producer gave none.

    >>> fallback_event_id("tiebreak.digits.events", 3, 41)
    'tiebreak.digits.events/3/41'
    """
    return f"{topic}/{partition}/{offset}"


def task_id(project: str, event_id: str) -> str:
    """One question to people per event, however often the event is replayed. 32 hex digits."""
    return _digest("task", project, event_id)


def annotation_id(task: str, annotator: str) -> str:
    """One vote per person and task. No lease token inside: a resubmit after a lost answer must not count twice."""
    return _digest("annotation", task, annotator)


def label_id(task: str) -> str:
    """One settled label per task; a change of it is a new revision of the same id."""
    return _digest("label", task)


def pseudonym(project: str, subject: str) -> str:
    """What stands for a data subject where masking is on: the key of an erasure may itself be an e-mail address. 32 hex digits.

    >>> pseudonym("p", "ann@example.org") == pseudonym("p", "ann@example.org") != pseudonym("q", "ann@example.org")
    True
    """
    return _digest("subject", project, subject) if subject else ""


def unit_hash(seed: int, purpose: str, key: str) -> float:
    """A uniform number in [0, 1) that depends on nothing but its arguments.

    Used where chance must not depend on replicas or restarts: gold, replay, blocks of labels. What is drawn for every event (the
    audit slice, the canary's share) comes from :mod:`tiebreak.contracts.hashing`, a batch at a time.

    >>> unit_hash(7, "audit", "e1") == unit_hash(7, "audit", "e1")
    True
    >>> 0.0 <= unit_hash(7, "audit", "e2") < 1.0
    True
    """
    h = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=f"{seed}:{purpose}".encode()[:64])
    return int.from_bytes(h.digest(), "little") / 2**64

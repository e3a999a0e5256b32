"""A record that is set aside: its raw bytes, where it stood, and why."""

from __future__ import annotations

import hashlib

from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.ids import fallback_event_id
from tiebreak.contracts.log import Record
from tiebreak.contracts.messages import DeadLetter


def dead_letter(project: str, record: Record, bad: BadRecord, now_ms: int) -> DeadLetter:
    """The letter for ``record``, complete enough to put the record back where it came from."""
    raw = record.value or b""
    return DeadLetter(
        project=project,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=bad.reason,
        detail=bad.detail,
        raw=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        time_ms=now_ms,
    )


def dead_key(record: Record) -> bytes:
    """The key on ``dead``: the record's own, so that letters about one event share a partition; else where it stood."""
    return record.key or fallback_event_id(record.topic, record.partition, record.offset).encode()

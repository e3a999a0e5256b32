"""What people took back, on the audit trail: a ledger that was lost, or never knew, learns it before it learns any label.

A running trainer follows the trail, so that an erasure reaches its ledger wherever the command was run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import structlog

from tiebreak.contracts.audit import Action
from tiebreak.contracts.errors import TiebreakError
from tiebreak.contracts.messages import AuditRecord
from tiebreak.contracts.retention import horizons_in
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.tasks import pause
from tiebreak.training.sqlite import Ledger
from tiebreak.training.sqlite_changes import Erasure, Retraction

# So long an erasure is left to the command that ordered it: it tells what was found, and may have died since.
AFTER_S = 10.0
_AGAIN_S = 1.0
_log = structlog.get_logger(__name__)


async def heed_trail(ledger: Ledger, trail: AuditTrail) -> int:
    """Retractions, erasures and horizons of the trail, into the ledger; those it has change nothing. The sequence it was read to.

    A record that was tampered with is left out, and stops no trainer: the log says so. Raises Unreachable.
    """
    records = await trail.sound()
    _strike(ledger, records)
    return records[-1].sequence if records else 0


async def follow_trail(
    path: Path, trail: AuditTrail, heard: int, stop: asyncio.Event, after_s: float = AFTER_S
) -> None:
    """:func:`heed_trail` for what comes after ``heard``, until ``stop``: the trainer that has the ledger takes it up by itself.

    A log that does not answer, or a ledger that is busy, is asked again.
    """
    while not stop.is_set():
        try:
            async with aclosing(trail.follow(stop)) as news:
                async for records in news:
                    struck = [r for r in records if r.sequence > heard and r.action in _STRIKES]
                    if struck:
                        await pause(stop, after_s)
                        await asyncio.to_thread(_strike_file, path, struck)
                    heard = max(heard, records[-1].sequence)
        except TiebreakError as error:
            _log.warning("what the audit trail says is not in the ledger yet", error=str(error))
            await pause(stop, _AGAIN_S)


_STRIKES = frozenset({Action.LABELS_RETRACTED, Action.SUBJECT_ERASED, Action.RETENTION_ENDED})


def _strike_file(path: Path, records: Sequence[AuditRecord]) -> None:
    # On a connection of its own: the trainer's is in the middle of a step.
    ledger = Ledger(path)
    try:
        _strike(ledger, records)
    finally:
        ledger.close()


def _strike(ledger: Ledger, records: Sequence[AuditRecord]) -> None:
    known = ledger.struck().subjects
    for record in records:
        if record.action == Action.LABELS_RETRACTED:
            ledger.retract(Retraction(record.target, record.actor, record.detail, record.time_ms))
        elif record.action == Action.SUBJECT_ERASED and record.target not in known:
            ledger.erase(Erasure(record.target, record.actor, record.detail, record.time_ms))
    before_ms = horizons_in(records).get(Topic.LABELS, 0)
    if before_ms and (changed := ledger.erase_before(before_ms)):
        _log.info("retention_ended", labels=changed, before_ms=before_ms)

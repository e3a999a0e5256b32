"""What people took back, on the audit trail: a ledger that was lost, or never knew, learns it before it learns any label."""

from __future__ import annotations

import structlog

from tiebreak.contracts.audit import Action, Broken
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.training.sqlite import Erasure, Ledger, Retraction

_log = structlog.get_logger(__name__)


async def heed_trail(ledger: Ledger, trail: AuditTrail) -> None:
    """Retractions and erasures of the trail, into the ledger; those it has change nothing. Raises Unreachable.

    A trail that was tampered with is not believed, and stops no trainer: the log says so.
    """
    await trail.ensure_topic()
    try:
        records, _ = await trail.read()
    except Broken as broken:
        _log.error("the audit trail is broken: retractions on it are not taken up", error=str(broken))
        return
    gone = ledger.struck().subjects
    for record in records:
        if record.action == Action.LABELS_RETRACTED:
            ledger.retract(Retraction(record.target, record.actor, record.detail, record.time_ms))
        elif record.action == Action.SUBJECT_ERASED and record.target not in gone:
            ledger.erase(Erasure(record.target, record.actor, record.detail, record.time_ms))

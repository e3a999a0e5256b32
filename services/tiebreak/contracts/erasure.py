"""People who asked to be forgotten: what stands for them on the audit trail and in the stores, and who they are. Pure.

Everybody who keeps something about a subject asks here, so that an erasure means the same to the queue, the ledger and the topics.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from hashlib import sha256

from tiebreak.contracts import ids
from tiebreak.contracts.audit import Action
from tiebreak.contracts.messages import AuditRecord


def subject_digest(project: str, subject: str) -> str:
    """What stands for an erased person wherever they must not be named again. 64 hex digits, '' for no subject.

    >>> subject_digest("shop", "ann")[:12]
    'bd40ab4a7df5'
    """
    return sha256(f"{project}\0{subject}".encode("utf-8", "surrogatepass")).hexdigest() if subject else ""


def digests_of(project: str, subject: str) -> tuple[str, str]:
    """Both that may stand for a person: messages carry the subject as it was given or, where masking is on, its pseudonym.

    Both are asked for whatever the project says today, since masking may have been turned on or off meanwhile.
    """
    return subject_digest(project, subject), subject_digest(project, ids.pseudonym(project, subject))


def is_erased(project: str, subject: str, erased: AbstractSet[str]) -> bool:
    """Whether what carries ``subject`` is about somebody in ``erased`` (digests)."""
    return bool(subject and erased) and subject_digest(project, subject) in erased


def erased_in(records: Iterable[AuditRecord]) -> frozenset[str]:
    """The digests of everybody whom these records of the trail erase."""
    return frozenset(record.target for record in records if record.action == Action.SUBJECT_ERASED)

"""The hash chain of topic ``audit``: who did what to what, and whether anybody changed it since. Pure.

Each record names its place and the digest of the record before it, and its own digest covers all of its fields. The order of the
log decides: of two writers that link to the same record, the first in the log is in the chain; the other's is *superseded*, and
its writer links it again. So no lock is needed, and a record that was written twice is in the chain once.

What is wrong is a :class:`Fault`, and the chain goes on around it (ADR 0038): past what was put in, and, where records are missing,
from the next one that is whole. A person who looked at faults accepts them by a record of the chain, which names them by digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256

from tiebreak.contracts.codec_messages import decode
from tiebreak.contracts.errors import BadRecord, TiebreakError
from tiebreak.contracts.messages import AuditRecord


class Action(StrEnum):
    """What people and programs did. A closed set: programs filter by it."""

    TOKEN_CREATED = "token.created"  # noqa: S105 - the name of an action
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - the name of an action
    PAYLOAD_REVEALED = "payload.revealed"
    MODEL_PROMOTED = "model.promoted"
    MODEL_ROLLED_BACK = "model.rolled_back"
    MODEL_PINNED = "model.pinned"
    MODEL_UNPINNED = "model.unpinned"
    LABELS_RETRACTED = "labels.retracted"
    SUBJECT_ERASED = "subject.erased"
    RETENTION_ENDED = "retention.ended"
    PROJECT_CHANGED = "project.changed"
    CLASS_ADDED = "class.added"
    GOLD_DECLINED = "gold.declined"
    ANNOTATOR_PAUSED = "annotator.paused"
    ANNOTATOR_RESUMED = "annotator.resumed"
    ANSWERS_REOPENED = "answers.reopened"
    DATASET_EXPORTED = "dataset.exported"
    FAULTS_ACCEPTED = "faults.accepted"


# Each link takes an offset, so a sequence runs ahead of its offset only in a log that was copied. Without a bound somebody could write
# the last sequence that there is, and nothing could follow it; with this one a successor is always in bounds.
_FURTHEST = 2**40
_KEYED = re.compile(r"(.*)\nIdempotency-Key: ([A-Za-z0-9._:-]{1,128})\n", re.DOTALL)
_FAULTS = re.compile(r"([0-9]{1,18})-([0-9]{1,18}) [0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link: kept elsewhere, it shows later that the end was not cut off. Sequences begin at 1."""

    sequence: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that is not as it was written, at ``offset``, with the SHA-256 of its value.

    ``missing``: it is whole, and the one that it says it follows is not there, or is another one. Else it was put in, or changed, and
    is no link: where the chain goes on with the next sequence, nothing is lost. ``accepted``: the record by which somebody said so.
    """

    offset: int
    why: str
    digest: str
    missing: bool = False
    accepted: AuditRecord | None = None

    def __str__(self) -> str:
        return f"The audit record at offset {self.offset} {self.why}."


class Broken(TiebreakError):
    """Records of the trail are missing, and nobody has accepted that: what they ordered is not known."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(
            str(fault),
            fix="It, or one before it, was changed. `tiebreak audit verify` names all, `tiebreak audit accept` goes on.",
        )
        self.fault = fault


def digest_of(record: AuditRecord) -> str:
    """SHA-256 over all fields but the digest, each with its length in front, so that no two records share their bytes."""
    fields = (
        *(record.project, str(record.sequence), record.actor, record.action, record.target, record.detail),
        *(str(record.time_ms), record.previous),
    )
    h = sha256()
    for field in fields:
        raw = field.encode("utf-8", "surrogatepass")
        h.update(len(raw).to_bytes(8, "little"))
        h.update(raw)
    return h.hexdigest()


def linked(record: AuditRecord, head: Head) -> AuditRecord:
    """``record`` as the link after ``head``."""
    placed = replace(record, sequence=head.sequence + 1, previous=head.digest, digest="")
    return replace(placed, digest=digest_of(placed))


class Chain:
    """The chain as far as it was read, link by link."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._digests = {0: ""}
        self._head = 0
        self.superseded = 0
        self.faults: list[Fault] = []
        """All that was wrong, in the order of the log."""

    @property
    def head(self) -> Head:
        return Head(self._head, self._digests[self._head])

    @property
    def open_faults(self) -> Sequence[Fault]:
        """What was wrong and nobody has accepted."""
        return [fault for fault in self.faults if fault.accepted is None]

    def holds(self, head: Head) -> bool:
        """Whether ``head`` is one of the links read so far (or the empty beginning)."""
        return self._digests.get(head.sequence) == head.digest

    def read(self, offset: int, raw: bytes | None) -> AuditRecord | None:
        """The next link; None for a superseded record, and for a fault that is no link."""
        try:
            record = decode(AuditRecord, raw)
        except BadRecord as error:
            self._fault(offset, raw, f"cannot be read ({error.detail})")
            return None
        if why := self._no_link(offset, record):
            self._fault(offset, raw, why)
            return None
        if record.sequence <= self._head:
            self.superseded += 1
            return None
        if record.sequence > self._head + 1:
            self._fault(offset, raw, f"has sequence {record.sequence} where {self._head + 1} was due", missing=True)
        elif record.previous != self._digests[self._head]:
            self._fault(offset, raw, _astray(record), missing=True)
        self._head = record.sequence
        self._digests[record.sequence] = record.digest
        if record.action == Action.FAULTS_ACCEPTED:
            self._accept(record)
        return record

    def _no_link(self, offset: int, record: AuditRecord) -> str:
        """Why it can be no link, whatever is missing before it."""
        if record.project != self._project:
            return "belongs to another project"
        if record.digest != digest_of(record):
            return f"(sequence {record.sequence}) does not match its digest"
        known = record.sequence > self._head or record.previous == self._digests.get(record.sequence - 1)
        return "" if known and 1 <= record.sequence <= offset + _FURTHEST else _astray(record)

    def within(self, first: int, last: int) -> Sequence[Fault]:
        """The faults from offset ``first`` to ``last``, both included."""
        return [fault for fault in self.faults if first <= fault.offset <= last]

    def _fault(self, offset: int, raw: bytes | None, why: str, *, missing: bool = False) -> None:
        self.faults.append(Fault(offset, why, sha256(raw or b"").hexdigest(), missing))

    def _accept(self, record: AuditRecord) -> None:
        named = _FAULTS.fullmatch(record.target)
        if named is None:
            return
        found = self.within(int(named[1]), int(named[2]))
        if target_of(found) == record.target:
            accepted = {fault.offset for fault in found}
            self.faults = [
                replace(fault, accepted=fault.accepted or record) if fault.offset in accepted else fault
                for fault in self.faults
            ]


def _astray(record: AuditRecord) -> str:
    return f"(sequence {record.sequence}) does not follow the record before it"


def keyed(detail: str, key: str) -> str:
    """``detail`` with the Idempotency-Key of the request that it stands for, if it had one.

    Not a field of its own: the digest would have to cover it, and a process of before would take such a record for a changed one.
    Nothing else ends in a newline, so no words of anybody's are taken for a key.

    >>> record = AuditRecord("pets", 0, "mia", Action.MODEL_PINNED, "v1", keyed("a demo", "k-1"), 5, "", "")
    >>> key_of(record), words_of(record), words_of(replace(record, detail="a demo")), key_of(replace(record, detail="a demo"))
    ('k-1', 'a demo', 'a demo', '')
    """
    words = detail.rstrip("\n")
    return f"{words}\nIdempotency-Key: {key}\n" if key else words


def key_of(record: AuditRecord) -> str:
    """The Idempotency-Key of the request that it stands for; empty where it had none."""
    found = _KEYED.fullmatch(record.detail)
    return found[2] if found else ""


def words_of(record: AuditRecord) -> str:
    """The detail without the key."""
    found = _KEYED.fullmatch(record.detail)
    return found[1] if found else record.detail


def target_of(faults: Sequence[Fault]) -> str:
    """How a record of the trail names ``faults`` (not none): by offsets, and by the digest of what they hold."""
    h = sha256("".join(f"{fault.offset} {fault.digest}\n" for fault in faults).encode())
    return f"{faults[0].offset}-{faults[-1].offset} {h.hexdigest()}" if faults else ""


def links(project: str, records: Iterable[tuple[int, bytes | None]]) -> tuple[list[AuditRecord], Chain]:
    """The whole chain of ``(offset, value)`` records, and what is wrong with it."""
    chain = Chain(project)
    found = [link for offset, raw in records if (link := chain.read(offset, raw)) is not None]
    return found, chain

"""The hash chain of topic ``audit``: who did what to what, and whether anybody changed it since. Pure.

Each record names its place and the digest of the record before it, and its own digest covers all of its fields. The order of the
log decides: of two writers that link to the same record, the first in the log is in the chain; the other's is *superseded*, and
its writer links it again. So no lock is needed, and a record that was written twice is in the chain once.
"""

from __future__ import annotations

from collections.abc import Iterable
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


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link: kept elsewhere, it shows later that the end was not cut off. Sequences begin at 1."""

    sequence: int = 0
    digest: str = ""


class Broken(TiebreakError):
    """The first record that is not as it was written. ``offset`` is its place in the log."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(f"The audit record at offset {offset} {why}.", fix="It, or one before it, was changed.")
        self.offset = offset
        self.why = why


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
        self._digests = [""]
        self.superseded = 0

    @property
    def head(self) -> Head:
        return Head(len(self._digests) - 1, self._digests[-1])

    def holds(self, head: Head) -> bool:
        """Whether ``head`` is one of the links read so far (or the empty beginning)."""
        return 0 <= head.sequence < len(self._digests) and self._digests[head.sequence] == head.digest

    def read(self, offset: int, raw: bytes | None) -> AuditRecord | None:
        """The next link, or None for a superseded record. Raises Broken, and stays where it was."""
        try:
            record = decode(AuditRecord, raw)
        except BadRecord as error:
            raise Broken(offset, f"cannot be read ({error.detail})") from error
        if record.project != self._project:
            raise Broken(offset, "belongs to another project")
        if record.digest != digest_of(record):
            raise Broken(offset, f"(sequence {record.sequence}) does not match its digest")
        if record.sequence > self.head.sequence + 1:
            raise Broken(offset, f"has sequence {record.sequence} where {self.head.sequence + 1} was due")
        if record.sequence < 1 or record.previous != self._digests[record.sequence - 1]:
            raise Broken(offset, f"(sequence {record.sequence}) does not follow the record before it")
        if record.sequence <= self.head.sequence:
            self.superseded += 1
            return None
        self._digests.append(record.digest)
        return record


def links(project: str, records: Iterable[tuple[int, bytes | None]]) -> tuple[list[AuditRecord], Chain]:
    """The whole chain of ``(offset, value)`` records. Raises Broken at the first that is wrong."""
    chain = Chain(project)
    found = [link for offset, raw in records if (link := chain.read(offset, raw)) is not None]
    return found, chain

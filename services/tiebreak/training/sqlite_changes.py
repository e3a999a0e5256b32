"""What was taken back, in a ledger: one number of the data set's sequence for each, as each label has one.

So a retraction makes a version of its own, and what a version holds can be told again later.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

# Came after the first format and changes none of its tables: it is made where it is missing.
TABLE = """
CREATE TABLE IF NOT EXISTS changes (
  sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, target TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL,
  time_ms INTEGER NOT NULL, labels INTEGER NOT NULL
)"""


class Kind(StrEnum):
    """What was taken back."""

    RETRACTED = "retracted"
    ERASED = "erased"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Retraction:
    """An annotator whose votes no longer count, and who said so, why and when."""

    annotator: str
    by: str
    reason: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """A person who was erased, by :func:`~tiebreak.contracts.erasure.subject_digest`, and who said so, why and when."""

    subject: str
    by: str
    reason: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """A version of the data set that is no label: the votes of ``target``, a person's labels, or what was settled before that time.

    ``labels``: how many were overwritten, of which no version tells any more; 0 for a retraction, which overwrites none.
    """

    version: int
    kind: Kind
    target: str
    by: str
    reason: str
    time_ms: int
    labels: int


def version_of(db: sqlite3.Connection) -> int:
    """The number of the newest label or change; 0 when empty."""
    query = (
        "SELECT MAX((SELECT COALESCE(MAX(sequence), 0) FROM labels), (SELECT COALESCE(MAX(sequence), 0) FROM changes))"
    )
    return int(db.execute(query).fetchone()[0])


def retract(db: sqlite3.Connection, retraction: Retraction) -> bool:
    """Within the caller's transaction: whether it is new."""
    told = (retraction.annotator, retraction.by, retraction.reason, retraction.time_ms)
    query = "INSERT OR IGNORE INTO retractions (annotator, by, reason, time_ms) VALUES (?, ?, ?, ?)"
    if not db.execute(query, told).rowcount:
        return False
    write_change(db, Kind.RETRACTED, told)
    return True


def write_change(db: sqlite3.Connection, kind: Kind, told: tuple[str, str, str, int], labels: int = 0) -> None:
    """Within the caller's transaction. ``told``: target, by whom, why, when."""
    db.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?)", (version_of(db) + 1, kind.value, *told, labels))


def read_changes(db: sqlite3.Connection, after: int, until: int) -> tuple[Change, ...]:
    """Those above version ``after``, up to ``until``, oldest first."""
    rows = db.execute("SELECT * FROM changes WHERE sequence > ? AND sequence <= ? ORDER BY sequence", (after, until))
    return tuple(Change(version, Kind(kind), *rest) for version, kind, *rest in rows)


def read_retractions(db: sqlite3.Connection, until: int) -> tuple[Retraction, ...]:
    """Whose votes do not count in version ``until``, oldest first. A ledger of an earlier program says of none since when."""
    query = (
        "SELECT annotator, by, reason, time_ms FROM retractions AS r WHERE NOT EXISTS"
        " (SELECT 1 FROM changes WHERE kind = ? AND target = r.annotator AND sequence > ?) ORDER BY sequence"
    )
    return tuple(Retraction(*row) for row in db.execute(query, (Kind.RETRACTED.value, until)))

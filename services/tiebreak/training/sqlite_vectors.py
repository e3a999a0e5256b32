"""Which vectors of the class names a ledger's models were made with: one table, a line for each change."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

# Came after the first format and changes none of its tables: it is made where it is missing.
TABLE = "CREATE TABLE IF NOT EXISTS class_vectors (sequence INTEGER PRIMARY KEY, digest TEXT NOT NULL, since INTEGER NOT NULL)"


@dataclass(frozen=True, slots=True)
class Pinned:
    """Vectors by their digest (empty: none), and the data set version from which on models were made with them."""

    digest: str
    since: int


def pin(db: sqlite3.Connection, digest: str, version: int) -> str | None:
    """Within the caller's transaction: from this data set version on it is these. What it was before, or None where nothing changed.

    A ledger that knows of no vectors had none.
    """
    before = (read_pinned(db) or (Pinned("", 0),))[-1].digest
    if before == digest:
        return None
    db.execute("INSERT INTO class_vectors (digest, since) VALUES (?, ?)", (digest, version))
    return before


def read_pinned(db: sqlite3.Connection) -> tuple[Pinned, ...]:
    """Every change, oldest first."""
    return tuple(Pinned(*row) for row in db.execute("SELECT digest, since FROM class_vectors ORDER BY sequence"))

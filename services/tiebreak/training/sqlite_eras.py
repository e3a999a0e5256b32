"""The confirmed drifts that a ledger knows: one table, written in the transaction of the step that heeds them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from tiebreak.training.eras import Era

# Came after the first format and changes none of its tables: it is made where it is missing.
TABLE = "CREATE TABLE IF NOT EXISTS eras (burst_id TEXT PRIMARY KEY, since_ms INTEGER NOT NULL) WITHOUT ROWID"


def write_eras(db: sqlite3.Connection, eras: Sequence[Era]) -> None:
    """Within the caller's transaction. Of a burst that is told twice the earliest time counts."""
    db.executemany(
        "INSERT INTO eras VALUES (?, ?) ON CONFLICT (burst_id) DO UPDATE SET since_ms = min(since_ms, excluded.since_ms)",
        [(era.burst_id, era.since_ms) for era in eras],
    )


def read_eras(db: sqlite3.Connection) -> dict[str, int]:
    """Burst id to when it was confirmed, in milliseconds."""
    return dict(db.execute("SELECT burst_id, since_ms FROM eras ORDER BY burst_id"))

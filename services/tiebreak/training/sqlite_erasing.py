"""What must be forgotten, in a ledger: the labels of a person, or all that were settled before a moment. Overwritten, on disk too.

Written in transactions of the caller's, so that a trainer that has the ledger open goes on between two of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from tiebreak.contracts.codec import decode_label, encode
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.messages import Label
from tiebreak.training.retraction import Struck, erased
from tiebreak.training.sqlite_changes import Kind, write_change

# Came after the first format and changes none of its tables: it is made where it is missing.
HORIZONS = "CREATE TABLE IF NOT EXISTS horizons (before_ms INTEGER PRIMARY KEY, reached INTEGER NOT NULL)"
_SLICE = 500

Writing = Callable[[], AbstractContextManager[None]]


def erase_labels(db: sqlite3.Connection, gone: Struck) -> tuple[str, ...]:
    """Overwrite every revision that ``gone`` erases, within the caller's transaction; the ids of those labels."""
    every = ((n, decode_label(wire)) for n, wire in db.execute("SELECT sequence, wire FROM labels"))
    found = [(sequence, label) for sequence, label in every if gone.erases(label)]
    _overwrite(db, found)
    _drop_aside(db, gone)
    return tuple(dict.fromkeys(label.label_id for _, label in found))


def erase_before(db: sqlite3.Connection, before_ms: int, writing: Writing) -> int:
    """Overwrite every revision that was settled before ``before_ms``; how many. A call that was cut short is finished by the next."""
    reached = horizon(db, reached=True)
    if before_ms <= reached:
        return 0
    with writing():
        # The door first: what comes from the topic meanwhile is not taken in.
        db.execute("INSERT OR IGNORE INTO horizons VALUES (?, 0)", (before_ms,))
        _drop_aside(db, Struck(before_ms=before_ms))
    changed, after = 0, 0
    query = "SELECT sequence, wire FROM labels WHERE sequence > ? AND settled_ms >= ? AND settled_ms < ? ORDER BY sequence LIMIT ?"
    while rows := db.execute(query, (after, reached, before_ms, _SLICE)).fetchall():
        with writing():
            _overwrite(db, [(sequence, decode_label(wire)) for sequence, wire in rows])
        changed, after = changed + len(rows), rows[-1][0]
    with writing():
        db.execute("UPDATE horizons SET reached = 1 WHERE before_ms = ?", (before_ms,))
        db.execute("DELETE FROM horizons WHERE before_ms < ?", (before_ms,))
        # A ledger that is built again has nothing to overwrite, and so ends at a lower version (docs/training.md).
        if changed:
            write_change(db, Kind.ENDED, (str(before_ms), "", "retention", 0), changed)
    return changed


def horizon(db: sqlite3.Connection, *, reached: bool = False) -> int:
    """What was settled before this is not kept; ``reached``: and all of it is gone. 0: everything is kept."""
    row = db.execute("SELECT COALESCE(MAX(before_ms), 0) FROM horizons WHERE reached >= ?", (int(reached),)).fetchone()
    return int(row[0])


def _overwrite(db: sqlite3.Connection, found: Iterable[tuple[int, Label]]) -> None:
    for sequence, label in found:
        change = "UPDATE labels SET value = '', withdrawn = 1, wire = ? WHERE sequence = ?"
        db.execute(change, (encode(erased(label)), sequence))


def _drop_aside(db: sqlite3.Connection, gone: Struck) -> None:
    for *place, wire in db.execute("SELECT topic, part, position, wire FROM aside").fetchall():
        if _about(gone, wire):
            db.execute("DELETE FROM aside WHERE topic = ? AND part = ? AND position = ?", place)


def _about(gone: Struck, wire: bytes) -> bool:
    try:
        return gone.erases(decode_label(wire))
    except BadRecord:
        return False  # it says nothing that anybody can read

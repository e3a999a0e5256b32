"""The line of champions: who served before whom, as promotions and rollbacks leave it."""

from __future__ import annotations

from tiebreak.contracts.messages import ModelEvent, ModelRecord

DECIDES = frozenset({ModelEvent.PROMOTED, ModelEvent.ROLLED_BACK})


def line_after(line: tuple[str, ...], record: ModelRecord) -> tuple[str, ...]:
    """``line`` (versions, oldest first; the last one serves) after ``record``. A rollback takes everything after its model out.

    >>> def said(version, event):
    ...     return ModelRecord("p", version, event, "", "", 1, (), "", "gate", 1)
    >>> line_after(("a", "b"), said("c", ModelEvent.PROMOTED))
    ('a', 'b', 'c')
    >>> line_after(("a", "b", "c"), said("a", ModelEvent.ROLLED_BACK))
    ('a',)
    >>> line_after(("a",), said("b", ModelEvent.HELD))
    ('a',)
    """
    if record.event not in DECIDES or line[-1:] == (record.version,):
        return line
    if record.event is ModelEvent.ROLLED_BACK and record.version in line:
        line = line[: line.index(record.version)]
    return (*line, record.version)

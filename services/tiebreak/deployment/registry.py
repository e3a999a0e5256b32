"""The history of a project's models: a fold over the topic `models`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tiebreak.contracts.messages import ModelEvent, ModelRecord

_VERDICTS = frozenset({ModelEvent.PROMOTED, ModelEvent.HELD})


@dataclass(frozen=True, slots=True)
class Registry:
    """``line``: the champions, oldest first, the serving one last. ``judged``: versions with a verdict; ``known``: all of them.

    ``pinned``: who pinned the champion, or empty.
    """

    line: tuple[str, ...] = ()
    judged: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    pinned: str = ""
    history: tuple[ModelRecord, ...] = field(default=(), repr=False)

    @property
    def champion(self) -> str:
        """The version that serves; empty while there is none."""
        return self.line[-1] if self.line else ""

    @property
    def previous(self) -> str:
        """What a rollback goes to; empty when there is nothing before the champion."""
        return self.line[-2] if len(self.line) > 1 else ""

    def after(self, record: ModelRecord) -> Registry:
        """The registry once ``record`` has happened. The same record twice changes nothing but the history."""
        line, judged, pinned = self.line, self.judged, self.pinned
        match record.event:
            case ModelEvent.PROMOTED if record.version != self.champion:
                line = (*line, record.version)
            case ModelEvent.ROLLED_BACK:
                kept = line[: line.index(record.version)] if record.version in line else line
                line = (*kept, record.version)
            case ModelEvent.PINNED:
                pinned = record.decided_by
            case ModelEvent.UNPINNED:
                pinned = ""
        if record.event in _VERDICTS:
            judged = judged | {record.version}
        return Registry(line, judged, self.known | {record.version}, pinned, (*self.history, record))


def registry_of(records: Iterable[ModelRecord]) -> Registry:
    """The fold from the beginning of the topic."""
    registry = Registry()
    for record in records:
        registry = registry.after(record)
    return registry

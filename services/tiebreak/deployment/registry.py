"""The history of a project's models: a fold over the topic `models`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tiebreak.contracts.champions import DECIDES, line_after
from tiebreak.contracts.comparison import Comparison, comparison_from_json
from tiebreak.contracts.messages import ModelEvent, ModelRecord

GATE = "gate"  # who decided, where nobody did

_VERDICTS = frozenset({ModelEvent.PROMOTED, ModelEvent.HELD, ModelEvent.SHADOW})


@dataclass(frozen=True, slots=True)
class Rollout:
    """A stage of a rollout: who is on trial, its share of the events (0: a shadow), since when, and what was counted since.

    ``began_ms``: when its first stage began. ``reference``: its version where evidence accepts it, once it serves.
    """

    version: str
    share: float
    since_ms: int
    began_ms: int
    counted: Comparison = field(default_factory=Comparison)
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """The champion that was last accepted, on evidence or by people; ``left_ms``: when another took its place (0: it serves)."""

    version: str
    left_ms: int = 0


@dataclass(frozen=True, slots=True)
class Registry:
    """``line``: the champions, oldest first, the serving one last. ``judged``: versions with a verdict; ``known``: all of them.

    ``pinned``: who pinned the champion, or empty. ``since_ms``: when the champion came to serve, or its rollout began: from then on
    labels had no part in choosing it. ``rollout``: the one under way. ``references``: for each of ``line``, the reference while it
    served. ``history`` is without what scorers counted.
    """

    line: tuple[str, ...] = ()
    judged: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    pinned: str = ""
    since_ms: int = 0
    rollout: Rollout | None = None
    references: tuple[Reference, ...] = ()
    history: tuple[ModelRecord, ...] = field(default=(), repr=False)

    @property
    def champion(self) -> str:
        """The version that serves; empty while there is none."""
        return self.line[-1] if self.line else ""

    @property
    def previous(self) -> str:
        """What a rollback goes to; empty when there is nothing before the champion."""
        return self.line[-2] if len(self.line) > 1 else ""

    @property
    def at_stake(self) -> str:
        """What a rollback takes back: the version on trial, else the one that serves."""
        return self.rollout.version if self.rollout else self.champion

    @property
    def reference(self) -> str:
        """The version last accepted, beside which challengers and what serves are judged too; empty while there is none."""
        return self.references[-1].version if self.references else ""

    @property
    def left_ms(self) -> int:
        """When another model took the reference's place; 0 while it serves itself."""
        return self.references[-1].left_ms if self.references else 0

    @property
    def accepted(self) -> tuple[str, ...]:
        """The champions since a person last promoted one, that one first: those whose cost nobody but the gate has looked at."""
        by_hand = {r.version for r in self.history if r.event is ModelEvent.PROMOTED and r.decided_by != GATE}
        newest = max((place for place, version in enumerate(self.line) if version in by_hand), default=0)
        return self.line[newest:]

    def ordered(self, order: str) -> ModelRecord | None:
        """What was done because of this record of the audit trail, if it was."""
        return next((record for record in reversed(self.history) if order and record.order == order), None)

    def served_at(self, time_ms: int | None) -> ModelRecord | None:
        """The decision by which a model served then (None: now), or None where none did."""
        return served_at(self.history, time_ms)

    def after(self, record: ModelRecord) -> Registry:
        """The registry once ``record`` has happened. The same record twice changes nothing but the history."""
        if record.event is ModelEvent.COMPARED:
            return self._counting(record)
        line, judged, pinned, since_ms = line_after(self.line, record), self.judged, self.pinned, self.since_ms
        if line != self.line:
            since_ms = self._began(record) if record.event is ModelEvent.PROMOTED else record.time_ms
        match record.event:
            case ModelEvent.PINNED:
                pinned = record.decided_by
            case ModelEvent.UNPINNED:
                pinned = ""
        if record.event in _VERDICTS:
            judged = judged | {record.version}
        known, history = self.known | {record.version}, (*self.history, record)
        references = self._references_after(record, line, since_ms)
        rollout = self._rollout_after(record)
        return Registry(line, judged, known, pinned, since_ms, rollout, references, history)

    def _references_after(self, record: ModelRecord, line: tuple[str, ...], since_ms: int) -> tuple[Reference, ...]:
        if record.event is not ModelEvent.PROMOTED and len(line) <= len(self.line):
            # A rollback brings back what its model was held to: its own acceptance if it had one, not that of what came after it.
            return self.references[: len(line)]
        by_hand = record.event is ModelEvent.PROMOTED and record.decided_by != GATE
        version = record.version if by_hand else record.reference or self.reference or record.version
        known_ms = self.left_ms if version == self.reference else 0
        left_ms = known_ms or since_ms if record.version != version else 0
        return (*self.references[: len(line) - 1], Reference(version, left_ms))

    def _rollout_after(self, record: ModelRecord) -> Rollout | None:
        if record.event in {ModelEvent.SHADOW, ModelEvent.CANARY}:
            r = self.rollout
            going_on = r is not None and r.version == record.version
            reference = record.reference or (r.reference if r is not None and going_on else "")
            return Rollout(record.version, record.share, record.time_ms, self._began(record), reference=reference)
        ended = record.event in DECIDES or (
            record.event is ModelEvent.HELD and self.rollout is not None and self.rollout.version == record.version
        )
        return None if ended else self.rollout

    def _began(self, record: ModelRecord) -> int:
        r = self.rollout
        return r.began_ms if r is not None and r.version == record.version else record.time_ms

    def _counting(self, record: ModelRecord) -> Registry:
        # Only of the present stage: what a slow replica says of an earlier one, or of another pair of models, is not evidence.
        r = self.rollout
        if r is None or (record.version, record.share, record.parent) != (r.version, r.share, self.champion):
            return self
        try:
            counted = r.counted + comparison_from_json(record.report)
        except ValueError:
            return self
        return replace(self, rollout=replace(r, counted=counted))


def served_at(history: Iterable[ModelRecord], time_ms: int | None = None) -> ModelRecord | None:
    """The decision by which a model served at ``time_ms`` (None: now), or None where none did."""
    found = None
    for record in history:
        if record.event in DECIDES and (time_ms is None or record.time_ms <= time_ms):
            found = record
    return found

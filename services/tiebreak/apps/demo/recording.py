"""The demo's run as its topics tell it: one row per event of the world, and the lists of what happened. Pure.

Records may come in any order and more than once (a process that was killed publishes again): the first prediction of an event
counts, as it does for whoever consumes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiebreak.apps.demo.world import CLASSES, World, event_index
from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.log import Record
from tiebreak.contracts.messages import (
    Annotation,
    DriftEvent,
    DriftRecord,
    Label,
    ModelEvent,
    ModelRecord,
    Prediction,
    Reason,
    Task,
)
from tiebreak.contracts.topics import Topic

UNSCORED = -1


@dataclass(frozen=True, slots=True)
class Asked:
    """One task: which event, why, and when it was put to people."""

    task_id: str
    index: int
    reason: Reason
    audit: bool
    created_ms: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The first settled label of a task."""

    label_id: str
    task_id: str
    index: int
    value: str
    audit: bool
    settled_ms: int


@dataclass(slots=True)
class Recording:
    """What is known so far. Columns ``(n,)``: ``version`` indexes ``versions`` (``UNSCORED``: not predicted yet; 0: no model was
    there), ``right``, ``uncertainty``. Times are Unix milliseconds; ``live_ms`` is a version's first prediction,
    ``answered`` maps an annotation to its author."""

    world: World
    version: NDArray[np.int32]
    right: NDArray[np.bool_]
    uncertainty: NDArray[np.float32]
    versions: list[str] = field(default_factory=lambda: [""])
    live_ms: dict[str, int] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    settled: dict[str, Settled] = field(default_factory=dict)
    submitted_ms: dict[str, int] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    models: list[ModelRecord] = field(default_factory=list)
    drift: list[DriftRecord] = field(default_factory=list)
    dead: int = 0
    unreadable: int = 0
    predicted: int = 0
    newest: int = -1
    _place: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World) -> Recording:
        """Nothing has happened yet."""
        n = len(world)
        return cls(world, np.full(n, UNSCORED, np.int32), np.zeros(n, np.bool_), np.zeros(n, np.float32))

    def take(self, record: Record) -> None:
        """Keep what one record says."""
        try:
            self._take(record.topic.rpartition(".")[2], record.value)
        except (BadRecord, ValueError):
            self.unreadable += 1

    def _take(self, topic: str, value: bytes | None) -> None:
        if topic == Topic.PREDICTIONS:
            self._predicted(codec.decode_prediction(value))
        elif topic == Topic.TASKS:
            self._asked(codec.decode_task(value))
        elif topic == Topic.ANNOTATIONS:
            self._answered(codec.decode_annotation(value))
        elif topic == Topic.LABELS:
            self._settled(codec.decode_label(value))
        elif topic == Topic.MODELS:
            self.models.append(codec.decode_model(value))
        elif topic == Topic.DRIFT:
            self.drift.append(codec.decode_drift(value))
        elif topic == Topic.DEAD:
            self.dead += 1

    def _predicted(self, p: Prediction) -> None:
        i = event_index(p.event_id)
        if self.version[i] != UNSCORED:
            return
        if p.model_version not in self.live_ms:
            self.live_ms[p.model_version] = p.time_ms
            if p.model_version:
                self.versions.append(p.model_version)
        self.live_ms[p.model_version] = min(self.live_ms[p.model_version], p.time_ms)
        self.version[i] = self.versions.index(p.model_version)
        self.right[i] = p.label == CLASSES[self.world.truths[i]]
        self.uncertainty[i] = p.uncertainty
        self._place[p.source_partition, p.source_offset] = i
        self.predicted += 1
        self.newest = max(self.newest, i)

    def _asked(self, task: Task) -> None:
        s = task.selection
        asked = Asked(task.task_id, event_index(task.event_id), s.reason, s.audit, task.created_ms)
        self.asked.setdefault(task.task_id, asked)

    def _answered(self, a: Annotation) -> None:
        self.submitted_ms.setdefault(a.task_id, a.submitted_ms)
        self.answered[a.annotation_id] = a.annotator

    def _settled(self, label: Label) -> None:
        if label.withdrawn:
            return
        settled = Settled(
            label.label_id,
            label.task_id,
            event_index(label.event_id),
            label.value,
            label.selection.audit,
            label.settled_ms,
        )
        self.settled.setdefault(label.task_id, settled)

    # -- what it adds up to ----------------------------------------------------------------------------------------

    @property
    def modelled(self) -> NDArray[np.bool_]:
        """``(n,)``: events that some model answered."""
        return self.version > 0

    def where(self, record: DriftRecord) -> int | None:
        """The event at which a drift record was made, once its prediction is known."""
        return self._place.get((record.partition, record.offset))

    def first_event(self, version: str) -> int | None:
        """The first event that ``version`` scored."""
        if version not in self.versions:
            return None
        found = np.flatnonzero(self.version == self.versions.index(version))
        return int(found[0]) if len(found) else None

    def by_others(self, simulated: AbstractSet[str]) -> int:
        """How many questions somebody answered who is not simulated."""
        return sum(1 for annotator in self.answered.values() if annotator not in simulated)

    def promotions(self) -> list[ModelRecord]:
        """The verdicts that put a model into service."""
        return [m for m in self.models if m.event in {ModelEvent.PROMOTED, ModelEvent.ROLLED_BACK}]

    def bursts(self) -> list[tuple[int, int]]:
        """Each burst as (first event, last event); one that is still open lasts to the newest event."""
        opened: dict[str, int] = {}
        found: dict[str, tuple[int, int]] = {}
        for record in self.drift:
            at = self.where(record)
            if at is None:
                continue
            if record.event is DriftEvent.BURST_OPENED:
                opened[record.burst_id] = at
                found[record.burst_id] = (at, max(at, self.newest))
            elif record.event is DriftEvent.BURST_CLOSED and record.burst_id in opened:
                found[record.burst_id] = (opened[record.burst_id], at)
        return sorted(found.values())

    def alarms(self) -> list[int]:
        """Events at which the drift detectors agreed."""
        places = [self.where(record) for record in self.drift if record.event is DriftEvent.ALARM]
        return sorted(place for place in places if place is not None)

    def discovery(self) -> int | None:
        """Events from the new class's first appearance to the first of its images that people labelled."""
        return discovery(self.world, [settled.index for settled in self.settled.values()])


def discovery(world: World, labelled: Sequence[int]) -> int | None:
    """Events from the absent class's first appearance to the first labelled image of it; None if there was none."""
    new = world.truths == world.settings.absent
    found = [index for index in labelled if new[index]]
    return min(found) - int(np.argmax(new)) if found else None


def moving_accuracy(right: NDArray[np.bool_], counted: NDArray[np.bool_], window: int) -> NDArray[np.float64]:
    """Prequential accuracy ``(n,)``: the share right among the counted ones of the last ``window`` events.

    NaN where fewer than a third of them count: the share of a handful says nothing.
    """
    hits = np.cumsum(np.concatenate([[0], right & counted]))
    seen = np.cumsum(np.concatenate([[0], counted]))
    stop = np.arange(1, len(right) + 1)
    start = np.maximum(stop - window, 0)
    total = seen[stop] - seen[start]
    share: NDArray[np.float64] = np.full(len(right), np.nan)
    np.divide(hits[stop] - hits[start], total, out=share, where=total >= max(1, window // 3))
    return share

"""The labels as a set: which are admitted, their canonical order, and the bounded subset that trains.

Everything here depends on the newest revision of each label and on nothing else, so a replay of the topic, whose partitions
interleave anew each time, gives the same data set.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import islice, zip_longest

import numpy as np

from tiebreak.contracts.ids import unit_hash
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.learner import TrainingSet

_LEAST_WEIGHT = 0.05
_BALANCE = 0.25
_LARGEST = float(np.finfo(np.float32).max)


class Aside(StrEnum):
    """Why a label is kept aside instead of learned from. A closed set: it is a metric label."""

    UNDECODABLE = "undecodable"
    OTHER_PROJECT = "other_project"
    UNKNOWN_SCHEMA = "unknown_schema"
    UNKNOWN_CLASS = "unknown_class"
    WRONG_FEATURES = "wrong_features"


def refuse(label: Label, project: Project, width: int) -> tuple[Aside, str] | None:
    """Why this label cannot be learned from, or None. ``width`` is the number of features; a withdrawal needs none."""
    if label.project != project.project:
        return Aside.OTHER_PROJECT, f"it belongs to project {label.project!r}"
    if not 1 <= label.schema_version <= project.labeling.schema_version:
        return (
            Aside.UNKNOWN_SCHEMA,
            f"schema {label.schema_version}, the project file has {project.labeling.schema_version}",
        )
    if label.withdrawn:
        return None
    named = {label.value, *(name for name, share in label.distribution.items() if share > 0.0)}
    unknown = {name for name in named if not name or not (project.classes.open or name in project.classes.names)}
    if unknown:
        return Aside.UNKNOWN_CLASS, f"classes {sorted(unknown)} are not in the project file"
    if len(label.features) != width or not (np.abs(label.features) <= _LARGEST).all():  # so written, NaN is refused too
        return Aside.WRONG_FEATURES, f"{len(label.features)} features, {width} finite ones are needed"
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The newest revision of one label, as training needs it. Compared by identity: it holds an array."""

    label_id: str
    revision: int
    settled_ms: int
    value: str
    distribution: Mapping[str, float]
    confidence: float
    propensity: float
    audit: bool
    withdrawn: bool
    features: FloatArray

    @property
    def place(self) -> tuple[int, str]:
        """The canonical order: when it was settled, then the id."""
        return self.settled_ms, self.label_id


def row_of(label: Label) -> Row:
    """What training keeps of a label in memory."""
    return Row(
        label_id=label.label_id,
        revision=label.revision,
        settled_ms=label.settled_ms,
        value=label.value,
        distribution=dict(label.distribution),
        confidence=label.confidence,
        propensity=label.selection.propensity,
        audit=label.selection.audit,
        withdrawn=label.withdrawn,
        features=np.asarray(label.features, np.float32),
    )


def _place(row: Row) -> tuple[int, str]:
    return row.place


class Dataset:
    """A set-union on (label id, highest revision). Taking in the newest labels costs the same however many there are.

    With a ``capacity`` it holds that many of the newest standing labels of each kind, and a quarter more before it lets go:
    what is older is left to the ledger. :attr:`short` says when so many were taken back that the ledger must be asked.
    """

    def __init__(self, rows: Iterable[Row] = (), capacity: int | None = None) -> None:
        self._capacity = capacity
        self._revisions: dict[str, int] = {}
        self._rows: dict[str, Row] = {}
        self._standing: dict[bool, list[Row]] = {False: [], True: []}
        self._let_go: dict[bool, tuple[int, str]] = {}
        for row in rows:
            self.add(row)

    @property
    def short(self) -> bool:
        """Whether labels that were let go belong among the newest again."""
        return any(len(self._standing[audit]) < (self._capacity or 0) for audit in self._let_go)

    def known(self, label_id: str) -> bool:
        """Whether a revision of it was added not too long ago."""
        return label_id in self._revisions

    def add(self, row: Row) -> bool:
        """False, and no change, for a replay of what is :meth:`known`."""
        if self._revisions.get(row.label_id, 0) >= row.revision:
            return False
        before = self._rows.pop(row.label_id, None)
        if before is not None:
            standing = self._standing[before.audit]
            del standing[bisect_left(standing, before.place, key=_place)]
        self._revisions[row.label_id] = row.revision
        gone = self._let_go.get(row.audit)
        if not row.withdrawn and (gone is None or row.place > gone):
            self._rows[row.label_id] = row
            insort(self._standing[row.audit], row, key=_place)
            self._trim(row.audit)
        return True

    def _trim(self, audit: bool) -> None:
        standing = self._standing[audit]
        if self._capacity is None or len(standing) <= self._capacity + self._capacity // 4:
            return
        # An eighth stays beyond the capacity: a few withdrawals shall not send us to the ledger.
        old = standing[: -(self._capacity + self._capacity // 8)]
        del standing[: len(old)]
        self._let_go[audit] = old[-1].place
        for row in old:
            del self._rows[row.label_id]
        if len(self._revisions) > 8 * self._capacity:
            # The newest entries stay: what is not in the ledger yet is among them.
            recent = list(self._revisions.items())[-4 * self._capacity :]
            self._revisions = {label: row.revision for label, row in self._rows.items()} | dict(recent)

    def rows(self, *, audit: bool, newest: int | None = None) -> tuple[Row, ...]:
        """The standing audit labels, or the standing training labels, in canonical order; all, or so many of the newest.

        No label is ever both.
        """
        standing = self._standing[audit]
        return tuple(standing if newest is None else standing[max(len(standing) - newest, 0) :])


def choose(rows: Sequence[Row], limit: int, window: int, seed: int) -> tuple[Row, ...]:
    """At most ``limit`` of the newest ``window`` rows: the newest half of the limit, and of the rest a sample balanced over classes.

    The sample is the lowest ids by hash per class: a label's place in it does not depend on when it was drawn.
    """
    recent = rows[-window:]
    if len(recent) <= limit:
        return tuple(recent)
    newest = recent[len(recent) - limit // 2 :]
    by_class: dict[str, list[Row]] = {}
    for row in sorted(recent[: len(recent) - limit // 2], key=lambda r: _replay_rank(seed, r.label_id)):
        by_class.setdefault(row.value, []).append(row)
    # One of each class, then a second one of each, and so on.
    rounds = zip_longest(*(by_class[value] for value in sorted(by_class)))
    older = islice((row for turn in rounds for row in turn if row is not None), limit - limit // 2)
    return tuple(sorted([*older, *newest], key=lambda r: r.place))


@lru_cache(maxsize=2**16)
def _replay_rank(seed: int, label_id: str) -> float:
    # The same labels stand for sampling on step after step: their hashes are computed once.
    return unit_hash(seed, "replay", label_id)


def classes_of(names: Sequence[str], rows: Sequence[Row]) -> tuple[str, ...]:
    """The project's classes, then the new ones in the order in which they were first settled."""
    found = dict.fromkeys(names)
    for row in rows:
        found.update(dict.fromkeys(sorted(row.distribution or {row.value: 1.0}, key=lambda n: (n != row.value, n))))
    return tuple(found)


def training_set(rows: Sequence[Row], classes: Sequence[str]) -> TrainingSet:
    """Soft targets from the distributions; weights from confidence, tempered towards equal classes."""
    column = {name: i for i, name in enumerate(classes)}
    targets = np.zeros((len(rows), len(classes)))
    for i, row in enumerate(rows):
        for name, share in (row.distribution or {row.value: 1.0}).items():
            targets[i, column[name]] = share
    targets /= np.maximum(targets.sum(axis=1, keepdims=True), 1e-12)
    mass = np.maximum(targets.sum(axis=0), 1e-12)
    fair = len(rows) / max(int((targets.sum(axis=0) > 0.0).sum()), 1)
    balance = targets @ (fair / mass) ** _BALANCE if len(rows) else np.zeros(0)
    confidence = np.array([max(row.confidence, _LEAST_WEIGHT) for row in rows])
    features = np.stack([row.features for row in rows]) if rows else np.zeros((0, 0), np.float32)
    return TrainingSet(tuple(r.label_id for r in rows), tuple(classes), features, targets, confidence * balance)

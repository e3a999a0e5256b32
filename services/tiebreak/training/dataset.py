"""The labels as a set: which are admitted, their canonical order, and the bounded subset that trains.

Everything here depends on the newest revision of each label and on nothing else, so a replay of the topic, whose partitions
interleave anew each time, gives the same data set.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

import numpy as np

from tiebreak.contracts.hashing import hashes
from tiebreak.contracts.ids import label_id, task_id
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.training.features import Matrix
from tiebreak.training.learner import TrainingSet
from tiebreak.training.targets import CLASSES, Target, target_of

_LEAST_WEIGHT = 0.05
_BALANCE = 0.25
_MOST_STOOD_FOR = 20.0  # beyond it one unlikely label would be the model, and the verdict on it
_MOST_UNLABELLED = 6000  # more cost every fit time, and teach little more
_LARGEST = float(np.finfo(np.float32).max)


class Aside(StrEnum):
    """Why a label is kept aside instead of learned from. A closed set: it is a metric label."""

    UNDECODABLE = "undecodable"
    OTHER_PROJECT = "other_project"
    UNKNOWN_TASK = "unknown_task"
    UNKNOWN_SCHEMA = "unknown_schema"
    UNKNOWN_CLASS = "unknown_class"
    WRONG_FEATURES = "wrong_features"
    BAD_ANSWER = "bad_answer"
    NOT_TRAINED = "not_trained"


def refuse(label: Label, project: Project, width: int) -> tuple[Aside, str] | None:
    """Why this label cannot be learned from, or None. ``width`` is the number of features; a withdrawal needs none."""
    if label.project != project.project:
        return Aside.OTHER_PROJECT, f"it belongs to project {label.project!r}"
    # An erased label names its task in place of the event.
    asked = label.task_id in (task_id(label.project, label.event_id), label.event_id if label.withdrawn else None)
    if not asked or label.label_id != label_id(label.task_id):
        return Aside.UNKNOWN_TASK, f"label {label.label_id!r} names task {label.task_id!r}, which no event here has"
    if not 1 <= label.schema_version <= project.labeling.schema_version:
        return (
            Aside.UNKNOWN_SCHEMA,
            f"schema {label.schema_version}, the project file has {project.labeling.schema_version}",
        )
    if label.withdrawn:
        return None
    return _answer_refused(label, project) or _features_refused(label, width)


def _answer_refused(label: Label, project: Project) -> tuple[Aside, str] | None:
    kind = project.labeling.answer.kind
    if not kind.trains:
        return Aside.NOT_TRAINED, f"no model learns from {kind}: they are asked, settled and exported"
    named = {label.value, *(name for name, share in label.distribution.items() if share > 0.0)}
    if kind.is_structured:
        problem = next((p for p in map(target_of(project).problem, sorted(named)) if p), "")
        return (Aside.BAD_ANSWER, problem) if problem else None
    unknown = {name for name in named if not name or not (project.classes.open or name in project.classes.names)}
    if unknown:
        return Aside.UNKNOWN_CLASS, f"classes {sorted(unknown)} are not in the project file"
    return None


def _features_refused(label: Label, width: int) -> tuple[Aside, str] | None:
    if len(label.unlabelled) % (4 * width):
        return Aside.WRONG_FEATURES, f"{len(label.unlabelled)} bytes of unlabelled events, {4 * width} are one"
    if not np.isfinite(np.frombuffer(label.unlabelled, "<f4")).all():
        return Aside.WRONG_FEATURES, "features of an unlabelled event are not finite"
    if len(label.features) != width or not (np.abs(label.features) <= _LARGEST).all():  # so written, NaN is refused too
        return Aside.WRONG_FEATURES, f"{len(label.features)} features, {width} finite ones are needed"
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The newest revision of one label, as training needs it. Compared by identity: it holds an array.

    ``weight``: what an audit label counts in a mean; ``pair``: champion and challenger where the audit slice looked more often
    while it drew this label, where the two differ.
    ``mark``: 64 bits that tell its content from that of another row, or of itself before votes were struck from it.
    """

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
    unlabelled: bytes = field(default=b"", repr=False)
    weight: float = 1.0
    pair: tuple[str, str] | None = None
    mark: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shares = sorted(self.distribution.items())
        told = (self.label_id, self.revision, self.value, shares, self.confidence, self.propensity, len(self.features))
        said = told if self.weight == 1.0 else (told, self.weight)
        mark = int.from_bytes(blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        object.__setattr__(self, "mark", mark)

    @property
    def place(self) -> tuple[int, str]:
        """The canonical order: when it was settled, then the id."""
        return self.settled_ms, self.label_id


def row_of(label: Label) -> Row:
    """What training keeps of a label in memory."""
    chosen = label.selection
    return Row(
        label_id=label.label_id,
        revision=label.revision,
        settled_ms=label.settled_ms,
        value=label.value,
        distribution=dict(label.distribution),
        confidence=label.confidence,
        propensity=chosen.propensity,
        audit=chosen.audit,
        withdrawn=label.withdrawn,
        features=np.asarray(label.features, np.float32),
        unlabelled=label.unlabelled,
        weight=chosen.counts,
        pair=(chosen.model_version, chosen.challenger) if chosen.challenger else None,
    )


def stands_for(row: Row) -> float:
    """How many events of the stream a label stands for: one over the chance that its like is chosen, within a bound.

    An audit label stands for as many as any other of its slice, times its weight: the bound is on that many.
    """
    return row.weight * min(1.0 / max(row.weight * row.propensity, 1e-9), _MOST_STOOD_FOR)


def weights_of(rows: Sequence[Row]) -> Matrix | None:
    """``(n,)`` of audit rows; None where all count alike."""
    weights = np.array([row.weight for row in rows])
    return None if (weights == 1.0).all() else weights


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

    def has_before(self, settled_ms: int) -> bool:
        """Whether a standing label was settled before then."""
        return any(rows and rows[0].place[0] < settled_ms for rows in self._standing.values())

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


def choose(rows: Sequence[Row], limit: int, window: int, seed: int, target: Target = CLASSES) -> tuple[Row, ...]:
    """At most ``limit`` of the newest ``window`` rows: the newest half of it, and of the rest a sample balanced over strata.

    The sample is the lowest ids by hash per class: a label's place in it does not depend on when it was drawn.
    """
    recent = rows[-window:]
    if len(recent) <= limit:
        return tuple(recent)
    older, newest = recent[: len(recent) - limit // 2], recent[len(recent) - limit // 2 :]
    ranks = hashes(seed, "replay", [row.label_id.encode("utf-8", "surrogatepass") for row in older])
    strata = [target.stratum(row.value) for row in older]
    columns = {value: i for i, value in enumerate(sorted(set(strata)))}
    kinds = np.fromiter((columns[value] for value in strata), np.int64, len(older))
    # One of each class, then a second one of each, and so on.
    order = np.lexsort((ranks, kinds))
    firsts = np.searchsorted(kinds[order], np.arange(len(columns)))
    turn = np.arange(len(older)) - firsts[kinds[order]]
    drawn = order[np.lexsort((kinds[order], turn))[: limit - limit // 2]]
    return (*(older[i] for i in np.sort(drawn).tolist()), *newest)


def classes_of(names: Sequence[str], rows: Sequence[Row], target: Target = CLASSES) -> tuple[str, ...]:
    """The project's classes, then the new ones in the order in which they were first settled; only single classes may be new."""
    if target.form is not Form.CLASSES:
        return target.columns(names)
    found = dict.fromkeys(names)
    # Most rows say nothing new, and a window has tens of thousands of them.
    for row in [row for row in rows if row.value not in found or len(row.distribution) > 1]:
        if row.value not in found or len(row.distribution) > 1:
            found.update(dict.fromkeys(sorted(row.distribution or {row.value: 1.0}, key=lambda n: (n != row.value, n))))
    return tuple(found)


def training_set(
    rows: Sequence[Row], classes: Sequence[str], target: Target = CLASSES, propensity: float = 0.0
) -> TrainingSet:
    """Soft targets from the distributions; weights from confidence, for single classes tempered towards equal ones.

    ``propensity`` in [0, 1]: the power of one over the chance of having been chosen that a label's weight has, too.
    """
    if target.form is not Form.CLASSES:
        targets = np.array([_mean_target(row, classes, target) for row in rows])
        ids, names = tuple(r.label_id for r in rows), target.columns(classes)
        return TrainingSet(ids, names, _features_of(rows), targets, _weights(rows, propensity))
    column = {name: i for i, name in enumerate(classes)}
    targets = np.zeros((len(rows), len(classes)))
    for i, row in enumerate(rows):
        for name, share in (row.distribution or {row.value: 1.0}).items():
            targets[i, column[name]] = share
    targets /= np.maximum(targets.sum(axis=1, keepdims=True), 1e-12)
    mass = np.maximum(targets.sum(axis=0), 1e-12)
    fair = len(rows) / max(int((targets.sum(axis=0) > 0.0).sum()), 1)
    balance = targets @ (fair / mass) ** _BALANCE if len(rows) else np.zeros(0)
    weights = _weights(rows, propensity) * balance
    ids, unlabelled = tuple(r.label_id for r in rows), _unlabelled_of(rows)
    return TrainingSet(ids, tuple(classes), _features_of(rows), targets, weights, unlabelled)


def _unlabelled_of(rows: Sequence[Row]) -> tuple[bytes, ...]:
    """What the newest rows have along, each vector once: an event may have passed by several questions."""
    found: dict[bytes, None] = {}
    for row in (row for row in reversed(rows) if row.unlabelled):
        size = 4 * len(row.features)
        found |= dict.fromkeys(row.unlabelled[i : i + size] for i in range(0, len(row.unlabelled), size))
        if len(found) >= _MOST_UNLABELLED:
            break
    return tuple(found)[:_MOST_UNLABELLED]


def _mean_target(row: Row, classes: Sequence[str], target: Target) -> Matrix:
    shares = {text: share for text, share in row.distribution.items() if share > 0.0} or {row.value: 1.0}
    rows = np.array([share * target.row(text, classes) for text, share in sorted(shares.items())])
    mean: Matrix = rows.sum(axis=0) / sum(shares[text] for text in sorted(shares))
    return mean


def _weights(rows: Sequence[Row], propensity: float) -> Matrix:
    weights = np.array([max(row.confidence, _LEAST_WEIGHT) for row in rows])
    if not propensity or not rows:
        return weights
    # The mean stays: regularisation is set against what a label weighs.
    events = np.array([stands_for(row) for row in rows]) ** propensity
    whole: Matrix = weights * events / events.mean()
    return whole


def _features_of(rows: Sequence[Row]) -> FloatArray:
    return np.stack([row.features for row in rows]) if rows else np.zeros((0, 0), np.float32)

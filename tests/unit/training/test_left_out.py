"""While labels are few, helps are judged by labels left out: by what plans are worth today, in pairs, the one with most help first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.support.labels import dataset_of, make_label
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import Row
from tiebreak.training.features import FeatureMap
from tiebreak.training.learner import Learner, Model, Settings, SoftmaxCommittee, SoftmaxModel, TrainingSet
from tiebreak.training.plans import Plan

CLASSES = ("a", "b")
HEADS = SoftmaxCommittee(Settings(committee=0, hidden=0))
PLAIN = FeatureMap(np.zeros(2, np.float32), np.ones(2, np.float32), np.zeros((0, 2), np.float32), 1.0)


def rows_of(n: int, odd: Sequence[int] = (), *, audit: bool = False) -> tuple[Row, ...]:
    """The first number tells the classes apart; of ``odd`` rows the second one says otherwise."""
    sides = np.where(np.random.default_rng(n).random(n) < 0.5, -1.0, 1.0)
    labels = [
        make_label(f"{audit}{i}", "ab"[int(side > 0)], (side, -3.0 * side * (i in odd)), settled_ms=i, audit=audit)
        for i, side in enumerate(sides.tolist())
    ]
    return dataset_of(labels).rows(audit=audit)


def turned(row: Row) -> Row:
    """With the other class."""
    return replace(row, value="ab"[row.value == "a"])


@dataclass
class Known:
    """A Learner that has heard all: the sum of the numbers with ``second`` times the second one. Counts its fits."""

    second: float
    fits: int = 0

    def fit(self, labels: TrainingSet) -> Model:
        self.fits += 1
        weights = np.array([[[-1.0, 1.0]], [[-self.second, self.second]]], np.float32)
        return SoftmaxModel(labels.classes, PLAIN, weights, np.zeros((1, 2), np.float32), 7, whole=True)


class Late:
    """A Learner that has it the wrong way round until it has 150 labels."""

    def fit(self, labels: TrainingSet) -> Model:
        return HEADS.fit(labels if len(labels) >= 150 else replace(labels, targets=labels.targets[:, ::-1]))


class ByHeart:
    """A Learner of the very labels, by kernels so narrow that each is alone."""

    def fit(self, labels: TrainingSet) -> Model:
        places = replace(PLAIN, landmarks=labels.x, gamma=1e3)
        weights = np.concatenate([np.zeros((2, 2)), labels.targets])[:, None, :].astype(np.float32)
        return SoftmaxModel(labels.classes, places, weights, np.zeros((1, 2), np.float32), 7, whole=True)


class Blind:
    """A Learner of how frequent classes are."""

    def fit(self, labels: TrainingSet) -> Model:
        return HEADS.fit(replace(labels, x=np.zeros_like(labels.x)))


def contest(bare: Learner, helped: Learner) -> Contest:
    """The plan without the help comes first."""
    plans = [Plan("bare", bare, 9000, 9000, 7), Plan("helped", helped, 9000, 9000, 7, without=("bare",))]
    return Contest(plans, 7)


def test_a_help_is_judged_by_what_it_is_worth_today() -> None:
    """Wrong with less than 150 labels, and right since: of 400 labels most are predicted rightly, by fits to most of them."""
    rows, judged = rows_of(400), contest(Blind(), Late())
    assert judged.pick(rows, CLASSES).name == "helped"
    scores = judged.scores(rows, CLASSES)
    assert scores is not None
    assert scores[1] == 1.0
    assert judged.pick(rows[:120], CLASSES).name == "bare"


@pytest.mark.parametrize(("odd", "name"), [((), "helped"), ((5,), "helped"), ((5, 40, 60), "bare")])
def test_a_help_is_on_until_it_is_behind_by_more_than_a_standard_error(odd: Sequence[int], name: str) -> None:
    """A tie and a single label against it leave it on, though it comes last; three labels, and none for it, take it off."""
    rows = rows_of(100, odd)
    assert contest(Known(0.0), Known(1.0)).pick(rows, CLASSES).name == name


@pytest.mark.parametrize(("propensity", "name"), [(1.0, "helped"), (0.05, "bare")])
def test_a_label_counts_for_the_events_that_it_stands_for(propensity: float, name: str) -> None:
    """Ten labels are for the help and three against it: these win where their like is seldom chosen."""
    rows = [
        turned(row) if i % 8 == 0 else replace(row, propensity=propensity) if i % 8 == 4 else row
        for i, row in enumerate(rows_of(100, (*range(0, 80, 8), 4, 44, 84)))
    ]
    assert contest(Known(0.0), Known(1.0)).pick(rows[:88], CLASSES).name == name


def test_what_is_known_by_heart_is_worth_nothing() -> None:
    """A plan that knows the labels that it learned, and no others, is judged by the others."""
    rows = [replace(row, features=np.array([row.features[0], i / 4], np.float32)) for i, row in enumerate(rows_of(94))]
    assert contest(Known(0.0), ByHeart()).pick(rows, CLASSES).name == "bare"


def test_audit_labels_are_judges_too_and_can_take_a_help_off_alone() -> None:
    """More labels are for it than against it, and of audit labels ten of thirty are against it; two say too little."""
    rows = [turned(row) if row.features[1] else row for row in rows_of(100, range(0, 100, 5))]
    audit = rows_of(30, range(0, 30, 3), audit=True)
    assert contest(Known(0.0), Known(1.0)).pick(rows, CLASSES, audit).name == "bare"
    assert contest(Known(0.0), Known(1.0)).pick(rows, CLASSES, audit[1:3]).name == "helped"


def test_folds_are_fitted_anew_when_labels_have_grown_by_a_fifth_and_judge_every_label_meanwhile() -> None:
    """From 192 to 229 labels no fit; those since are in the scores. The choice is that of a contest that never saw fewer."""
    late = range(192, 229)
    rows, bare = rows_of(240, late), Known(0.0)
    judged = contest(bare, Known(1.0))
    assert judged.pick(rows[:192], CLASSES).name == "helped"
    fits = bare.fits
    for n in range(193, 230):
        judged.pick(rows[:n], CLASSES)
    assert bare.fits == fits == 4
    assert judged.pick(rows[:229], CLASSES) == contest(Known(0.0), Known(1.0)).pick(rows[:229], CLASSES)
    assert judged.pick(rows[:229], CLASSES).name == "bare"
    judged.pick(rows[:230], CLASSES)
    assert bare.fits == 8

"""The labels as a set: admission, revisions, audit, and the bounded subset that trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.labels import blob_labels, dataset_of, make_label, project_of, revised
from tiebreak.contracts.messages import Label
from tiebreak.training.dataset import Aside, choose, classes_of, refuse, training_set
from tiebreak.training.retraction import erased
from tiebreak.training.targets import CLASSES, Number

PROJECT = project_of([2], ("a", "b"))
GOOD, OTHER = make_label("e", "a", [1, 2]), make_label("other", "b", [1, 2])


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (replace(GOOD, project="other"), Aside.OTHER_PROJECT),
        (replace(GOOD, task_id=OTHER.task_id), Aside.UNKNOWN_TASK),
        (replace(GOOD, task_id=OTHER.task_id, label_id=OTHER.label_id), Aside.UNKNOWN_TASK),
        (replace(GOOD, label_id=OTHER.label_id), Aside.UNKNOWN_TASK),
        (replace(GOOD, label_id=OTHER.label_id, value="", withdrawn=True), Aside.UNKNOWN_TASK),
        (replace(GOOD, schema_version=2), Aside.UNKNOWN_SCHEMA),
        (replace(GOOD, schema_version=0), Aside.UNKNOWN_SCHEMA),
        (replace(GOOD, value="z"), Aside.UNKNOWN_CLASS),
        (replace(GOOD, value=""), Aside.UNKNOWN_CLASS),
        (replace(GOOD, distribution={"a": 0.5, "z": 0.5}), Aside.UNKNOWN_CLASS),
        (replace(GOOD, features=(1.0,)), Aside.WRONG_FEATURES),
        (replace(GOOD, features=(1.0, float("nan"))), Aside.WRONG_FEATURES),
        (replace(GOOD, features=(1.0, 1e300)), Aside.WRONG_FEATURES),
    ],
)
def test_a_label_that_cannot_be_learned_from_is_named(label: Label, reason: Aside) -> None:
    """Each fault of a label has its own reason, and none of them raises."""
    refused = refuse(label, PROJECT, 2)
    assert refused is not None
    assert refused[0] is reason


def test_good_labels_and_withdrawals_are_admitted() -> None:
    """A withdrawal carries no class or features that matter, an open set takes any class, and any model may have asked."""
    assert refuse(GOOD, PROJECT, 2) is None
    unheard_of = replace(GOOD.selection, model_version="a model that no registry knows")
    assert refuse(replace(GOOD, selection=unheard_of), PROJECT, 2) is None
    assert refuse(replace(GOOD, value="", distribution={}, features=(), withdrawn=True), PROJECT, 2) is None
    assert refuse(erased(GOOD), PROJECT, 2) is None
    assert refuse(replace(GOOD, value="new", distribution={}), project_of([2], (), open_set=True), 2) is None


def test_the_newest_revision_stands_and_a_withdrawn_one_is_gone() -> None:
    """A change of mind replaces, a withdrawal removes, and a late replay of an old revision brings nothing back."""
    first = make_label("e", "a", [1, 2], settled_ms=1)
    second = revised(first, "b", 2)
    third = replace(second, revision=3, withdrawn=True)
    assert [r.value for r in dataset_of([first, second, first]).rows(audit=False)] == ["b"]
    assert dataset_of([second, third, first, second]).rows(audit=False) == ()


def test_an_audit_label_never_trains() -> None:
    """The two sets share no label and together have them all."""
    data = dataset_of(blob_labels(50))
    train, audit = ({r.label_id for r in data.rows(audit=kind)} for kind in (False, True))
    assert len(train) == 40
    assert len(audit) == 10
    assert not train & audit


def test_choose_is_bounded_keeps_the_newest_and_every_class() -> None:
    """Of 300 rows with one rare old class, 40 train: the newest 20 all, and the rare class is not crowded out."""
    common = blob_labels(296, classes=("a", "b"), audit_every=0)
    rare = [make_label(f"r{i}", "c", [0, 0], settled_ms=i) for i in range(4)]
    rows = dataset_of([*rare, *common]).rows(audit=False)
    chosen = choose(rows, 40, 10_000, 7)
    assert len(chosen) == 40
    assert set(rows[-20:]) <= set(chosen)
    assert sum(r.value == "c" for r in chosen) == 4
    assert list(chosen) == sorted(chosen, key=lambda r: r.place)
    assert choose(rows, 40, 10, 7) == rows[-10:]


def test_a_new_label_moves_at_most_its_share_of_the_sample() -> None:
    """Two samples one label apart are nearly the same: what trains does not jump from step to step."""
    rows = dataset_of(blob_labels(200, audit_every=0)).rows(audit=False)
    before, after = (set(choose(part, 60, 10_000, 7)) for part in (rows[:-1], rows))
    assert len(before - after) <= 2


def test_new_classes_come_after_the_known_ones() -> None:
    """Columns of the project's classes never move; new ones follow in the order in which they were first settled."""
    rows = dataset_of(
        [make_label("x", "new-2", [0, 0], settled_ms=9), make_label("y", "new-1", [0, 0], settled_ms=3)]
    ).rows(audit=False)
    assert classes_of(("b", "a"), rows) == ("b", "a", "new-1", "new-2")


def test_targets_are_distributions_and_rare_classes_weigh_more() -> None:
    """Each row of targets sums to 1; a class with few labels gets more weight per label, not all of it."""
    labels = [make_label(f"a{i}", "a", [0, 0]) for i in range(9)]
    labels.append(make_label("b", "b", [1, 1], distribution={"b": 3.0, "a": 1.0}))
    found = training_set(dataset_of(labels).rows(audit=False), ("a", "b"))
    np.testing.assert_allclose(found.targets.sum(axis=1), 1.0)
    weight = dict(zip(found.label_ids, found.weights, strict=True))
    rare = weight[labels[-1].label_id]
    assert 1.0 < rare / weight[labels[0].label_id] < 3.0


@pytest.mark.parametrize(("power", "ratio"), [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_a_label_weighs_by_how_seldom_its_like_is_chosen(power: float, ratio: float) -> None:
    """To the power of the project's ``training.propensity``; the mean weight stays, for numbers as for classes."""
    labels = [make_label("often", "1", [0, 0], propensity=0.8), make_label("seldom", "1", [1, 1], propensity=0.2)]
    rows = dataset_of(labels).rows(audit=False)
    for target in (CLASSES, Number(0.0, 2.0)):
        found = training_set(rows, ("1",), target, power)
        weight = dict(zip(found.label_ids, found.weights, strict=True))
        assert weight[labels[1].label_id] / weight[labels[0].label_id] == pytest.approx(ratio)
        assert found.weights.mean() == pytest.approx(1.0)


def test_no_label_stands_for_more_than_twenty() -> None:
    """One that was chosen against all odds must not be the model."""
    labels = [make_label("sure", "a", [0, 0]), make_label("lucky", "a", [1, 1], propensity=1e-6)]
    found = training_set(dataset_of(labels).rows(audit=False), ("a",), propensity=1.0)
    assert found.weights.max() / found.weights.min() == pytest.approx(20.0)

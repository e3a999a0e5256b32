"""Audit labels that were looked for where two models differ: every figure counts them for what they stand for, old labels for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from loadtests.models import disagreements
from tests.support.labels import blob_labels, dataset_of
from tiebreak.contracts.codec import decode_label, encode
from tiebreak.contracts.hashing import thinned
from tiebreak.contracts.messages import Label, Selection
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import Row, row_of, training_set, weights_of
from tiebreak.training.evaluation import Serving, calibrated, compare, evaluate, share_right
from tiebreak.training.learner import Settings, SoftmaxCommittee, SoftmaxModel
from tiebreak.training.plans import Plan
from tiebreak.training.targets import Number, OneClass, SomeClasses, Target

CLASSES = ("a", "b", "c")


def fitted(seed: int = 0) -> SoftmaxModel:
    rows = dataset_of(blob_labels(40, audit_every=0, seed=seed)).rows(audit=False)
    return SoftmaxCommittee(Settings(committee=3)).fit(training_set(rows, CLASSES))


def weighed(label: Label, weight: float) -> Label:
    chosen = replace(label.selection, audit=True, model_version="v1", challenger="v2", weight=weight)
    return replace(label, selection=chosen)


def noisy(count: int, seed: int = 3) -> list[Label]:
    rng = np.random.default_rng(seed)
    return [
        weighed(replace(one, value=str(rng.choice(CLASSES)) if rng.random() < 0.3 else one.value), 1.0)
        for one in blob_labels(count, audit_every=1, seed=seed)
    ]


def rows_of(labels: Sequence[Label]) -> tuple[Row, ...]:
    return dataset_of(labels).rows(audit=True)


def doubled(labels: Sequence[Label], every: int) -> tuple[list[Label], list[Label]]:
    """The same evidence twice: every so many labels counting a half, and the others there twice and counting one."""
    halves, copies = [], []
    for i, one in enumerate(labels):
        half = i % every == 0
        halves.append(weighed(one, 0.5 if half else 1.0))
        copies.append(one)
        if not half:
            copies.append(replace(one, label_id=f"{one.label_id}'"))
    return halves, copies


def test_a_label_of_half_a_weight_counts_half_in_every_figure() -> None:
    """Accuracy, per class, NLL, entropy, calibration error, champion's and challenger's: as if all the others were there twice."""
    halves, copies = doubled(noisy(200), 3)
    champion, challenger = calibrated(fitted(), ()), calibrated(fitted(1), ())
    serving = Serving("v1", champion)
    one = evaluate(challenger, serving, (), rows_of(halves), 0.05)
    two = evaluate(challenger, serving, (), rows_of(copies), 0.05)
    assert one.accuracy.estimate == pytest.approx(two.accuracy.estimate)
    assert one.accuracy.estimate != pytest.approx(
        evaluate(challenger, serving, (), rows_of(noisy(200)), 0.05).accuracy.estimate
    )
    assert one.champion_accuracy is not None
    assert two.champion_accuracy is not None
    assert one.champion_accuracy.estimate == pytest.approx(two.champion_accuracy.estimate)
    assert {k: i.estimate for k, i in one.per_class.items()} == pytest.approx(
        {k: i.estimate for k, i in two.per_class.items()}
    )
    counted = {k: v for k, v in one.metrics.items() if k != "audit_labels"}
    assert counted == pytest.approx({k: v for k, v in two.metrics.items() if k != "audit_labels"})
    assert one.audit.weights == tuple(0.5 if i % 3 == 0 else 1.0 for i in range(200))


def test_the_temperature_is_fitted_to_what_the_labels_stand_for() -> None:
    """Half a weight is as good as twice the others; and a weight next to nothing is next to no label."""
    halves, copies = doubled(noisy(200), 2)
    model = fitted()
    assert calibrated(model, rows_of(halves)).temperature == pytest.approx(
        calibrated(model, rows_of(copies)).temperature, rel=0.02
    )
    sure = [weighed(one, 1.0) for one in blob_labels(200, audit_every=1, seed=3)]
    faint = [weighed(replace(one, label_id=f"x{one.label_id}", value="a"), 1e-6) for one in noisy(200, 4)]
    assert calibrated(model, rows_of([*sure, *faint])).temperature == pytest.approx(
        calibrated(model, rows_of(sure)).temperature, rel=0.02
    )


@pytest.mark.parametrize(
    "target", [OneClass(3), SomeClasses(CLASSES), Number(0.0, 10.0)], ids=["ordinal", "multi", "numeric"]
)
def test_the_figures_of_every_kind_of_answer_take_weights(target: Target) -> None:
    """A row of weight 2 is the row twice."""
    rng = np.random.default_rng(1)
    width = 1 if isinstance(target, Number) else 3
    said = rng.random((4, width)).astype(np.float32)
    truth = (rng.random((4, width)) * 10.0) if width == 1 else np.eye(3)[[0, 1, 2, 0]]
    twice = [0, 0, 1, 2, 3]
    found = target.figures(said, truth, np.array([2.0, 1.0, 1.0, 1.0]))
    assert found == pytest.approx(target.figures(said[twice], truth[twice]))
    assert found != pytest.approx(target.figures(said, truth))


def test_an_old_label_counts_one_and_a_weight_that_nobody_gave_too() -> None:
    """Records from before the field, and numbers that are no weight, read as 1; a weight survives the wire."""
    plain = blob_labels(1, audit_every=1)[0]
    assert row_of(decode_label(encode(plain))).weight == 1.0
    assert row_of(decode_label(encode(plain))).pair is None
    told = row_of(decode_label(encode(weighed(plain, 0.25))))
    assert (told.weight, told.pair) == (0.25, ("v1", "v2"))
    for odd in (-1.0, 0.0, 1.5, 1e300):
        assert Selection("margin", 0.5, 0.0, 1.0, plain.selection.reason, True, "", "", weight=odd).counts == 1.0
    assert weights_of(rows_of([plain])) is None


def test_equal_weights_change_nothing() -> None:
    """Where all labels were drawn alike, however often, the intervals are those of a plain sample."""
    credit = np.array([1.0] * 70 + [0.0] * 30)
    assert share_right(credit, np.full(100, 0.02), 0.05) == share_right(credit, None, 0.05)


def test_a_weight_tells_two_contents_of_a_row_apart() -> None:
    """What was computed for a row is kept by its mark: another weight is another content, and none is as it was."""
    label = blob_labels(1, audit_every=1)[0]
    assert row_of(weighed(label, 1.0)).mark == row_of(label).mark != row_of(weighed(label, 0.5)).mark


def test_a_contest_hears_a_looked_for_label_as_often_as_it_stands_for() -> None:
    """Audit rows of weight next to nothing, all against a plan, leave its score where it is."""
    rows = dataset_of([replace(x, settled_ms=i) for i, x in enumerate(blob_labels(800, audit_every=0))]).rows(
        audit=False
    )
    plans = [Plan(name, SoftmaxCommittee(Settings(committee=2, hidden=0)), 400, 400, 7) for name in ("one", "two")]
    wrong = [
        replace(weighed(x, 1.0), value="a", settled_ms=i) for i, x in enumerate(blob_labels(800, audit_every=1, seed=7))
    ]
    faint = [weighed(x, 1e-9) for x in wrong]
    contest = Contest(plans, 0)
    alone, loud, quiet = (contest.scores(rows, CLASSES, audit) for audit in ((), rows_of(wrong), rows_of(faint)))
    assert alone is not None
    assert loud is not None
    assert quiet is not None
    assert loud[0] < alone[0] - 0.1
    assert quiet == pytest.approx(alone, abs=1e-6)


def test_pairs_carry_the_weights_of_their_labels() -> None:
    """The gate undoes by them how the labels were drawn; of the very models for which it was done, it knows where they differed."""
    contender = calibrated(fitted(), ())
    labels = noisy(3)
    rows = rows_of([weighed(labels[0], 0.1), labels[1], replace(labels[2], selection=blob_labels(3)[1].selection)])
    found = compare(contender, contender, rows, ("v1", "v2"))
    assert (found.weights, found.apart) == ((0.1, 1.0, 1.0), (True, False, None))
    other = compare(contender, contender, rows, ("v2", "v3"))
    assert (other.weights, other.apart) == ((0.1, 1.0, 1.0), (None, None, None))


def test_thinning_keeps_each_label_with_its_weight() -> None:
    """Of 20,000 labels of weight 0.1 about 2,000 stay, always the same ones, and all that count one."""
    ids = [f"l{i}" for i in range(20_000)]
    kept = thinned(ids, [0.1] * 20_000)
    assert 1850 < kept.sum() < 2150
    assert np.array_equal(kept[::-1], thinned(ids[::-1], [0.1] * 20_000))
    assert thinned(ids, [1.0] * 20_000).all()


def test_an_interval_of_weighted_labels_covers_the_truth() -> None:
    """2,000 accuracies, each from 100 uniform labels and 100 looked for where two models differ: within 1.5 points of its level;

    the same labels unweighted cover it nearly never.
    """
    honest, naive = disagreements.weighted_coverage(2000, 0.05)
    assert honest >= 0.935
    assert naive < 0.5

"""The temperature that a model serves at, and what is said of its calibration: never measured on what it was fitted to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.support.labels import blob_labels, dataset_of
from tiebreak.training.dataset import Row, training_set
from tiebreak.training.evaluation import calibrated, evaluate, half_of
from tiebreak.training.learner import Settings, SoftmaxCommittee, SoftmaxModel

CLASSES = ("a", "b", "c")


def fitted() -> SoftmaxModel:
    rows = dataset_of(blob_labels(60, audit_every=0)).rows(audit=False)
    return SoftmaxCommittee(Settings(committee=3)).fit(training_set(rows, CLASSES))


def wrong_often(count: int) -> tuple[Row, ...]:
    """Audit labels of which one in eight is another class: whoever is sure of them is too sure."""
    rng = np.random.default_rng(5)
    labels = [
        replace(label, value=str(rng.choice(CLASSES)) if rng.random() < 0.125 else label.value)
        for label in blob_labels(count, audit_every=1, seed=3)
    ]
    return dataset_of([replace(label, selection=replace(label.selection, audit=True)) for label in labels]).rows(
        audit=True
    )


def nll(model: SoftmaxModel, rows: tuple[Row, ...], temperature: float) -> float:
    p = model.probabilities(np.stack([row.features for row in rows]), temperature)
    return float(-np.log([max(1e-6, p[i, CLASSES.index(row.value)]) for i, row in enumerate(rows)]).mean())


def test_the_temperature_is_the_best_one_for_the_audit_labels() -> None:
    """A model that is too sure of itself is cooled; no other temperature nearby has a lower loss."""
    model, rows = fitted(), wrong_often(300)
    served = calibrated(model, rows).temperature
    assert served > 1.2
    assert nll(model, rows, served) <= min(nll(model, rows, served * factor) for factor in (0.9, 1.0, 1.1)) + 1e-6
    assert calibrated(model, rows) == calibrated(model, rows)


def test_calibration_is_measured_on_labels_that_the_temperature_has_not_seen() -> None:
    """Each half of the audit labels is judged at the temperature of the other half, and the figures in the report are those."""
    model, rows = fitted(), wrong_often(90)
    contender = calibrated(model, rows)
    second = half_of(rows)
    halves = [tuple(row for row, own in zip(rows, second, strict=True) if own == side) for side in (False, True)]
    assert contender.crossed == tuple(calibrated(model, half).temperature for half in reversed(halves))
    measured = evaluate(contender, None, (), rows, 0.05).metrics["nll"]
    apart = [
        nll(model, half, temperature) * len(half) for half, temperature in zip(halves, contender.crossed, strict=True)
    ]
    assert np.isclose(measured, sum(apart) / len(rows))
    assert measured > nll(model, rows, contender.temperature)


def test_too_few_audit_labels_leave_the_model_as_it_is() -> None:
    """Twenty-nine labels say nothing of calibration; none at all neither."""
    model = fitted()
    for rows in (wrong_often(29), ()):
        contender = calibrated(model, rows)
        assert (contender.temperature, contender.crossed) == (1.0, None)


def test_the_halves_are_about_equal_and_never_change() -> None:
    """A label's half depends on nothing but the label."""
    rows = wrong_often(400)
    halves = half_of(rows)
    assert 160 < halves.sum() < 240
    assert np.array_equal(half_of(rows[::-1]), halves[::-1])

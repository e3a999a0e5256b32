"""The temperature that a model serves at, and what is said of its calibration: never measured on what it was fitted to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.labels import blob_labels, dataset_of
from tiebreak.training.dataset import Row, training_set
from tiebreak.training.discriminant import Discriminant
from tiebreak.training.evaluation import calibrated, evaluate, half_of
from tiebreak.training.learner import Settings, SoftmaxCommittee, SoftmaxModel, TrainingSet
from tiebreak.training.temperature import temperature_of

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


def test_a_model_that_is_much_too_sure_is_cooled_as_far_as_it_takes() -> None:
    """Logits twelve times too large: the temperature is twelve, and not the end of the search."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 5)).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((4000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    assert abs(temperature_of(12.0 * logits[None], truth) - 12.0) < 1.0


@pytest.mark.parametrize("count", [150, 600])
def test_a_discriminant_is_as_sure_as_it_is_right(count: int) -> None:
    """Of few labels in many columns, where its plain logits are many times too large; no audit label is needed for it."""
    rng = np.random.default_rng(2)
    kinds = np.concatenate([np.arange(count) % 20, rng.integers(0, 20, 2000)])
    x = (rng.normal(size=(20, 256))[kinds] + 3.0 * rng.normal(size=(len(kinds), 256))).astype(np.float32)
    labels = TrainingSet(
        tuple(map(str, range(count))), tuple(map(str, range(20))), x[:count], np.eye(20)[kinds[:count]], np.ones(count)
    )
    base = Discriminant(1, 7).base(labels)

    def best(model: SoftmaxModel) -> float:
        logits = model.logits(model.features.apply(x[count:]))[:, 0]
        return temperature_of((logits - logits.max(axis=1, keepdims=True))[None], kinds[count:])

    assert best(base.hot) > 2.5
    assert 0.7 < best(base.model) < 1.4
    assert 0.7 < best(base.after(labels)) < 1.4


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

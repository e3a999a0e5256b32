"""What was found out about audit rows is kept, and nothing that comes out of a step changes by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.support.labels import dataset_of, make_label
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.dataset import Row, training_set
from tiebreak.training.evaluation import Contender, Serving, calibrated, compare, evaluate
from tiebreak.training.learner import Model, Settings, SoftmaxCommittee
from tiebreak.training.recall import Recall
from tiebreak.training.sklearn_trees import SklearnTrees

CLASSES = ("a", "b", "c")
PAIR = ("v1", "v2")


def rows_of(n: int, *, audit: bool, seed: int = 5) -> tuple[Row, ...]:
    rng = np.random.default_rng(seed)
    labels = []
    for i, x in enumerate(rng.normal(size=(n, 4)).astype(np.float32)):
        value = CLASSES[int(np.clip(abs(x[0] * 1.5), 0, 2))]
        labels.append(make_label(f"{seed}-{i}", value, x.tolist(), audit=audit, settled_ms=i))
    return dataset_of(labels).rows(audit=audit)


def features(rows: tuple[Row, ...]) -> FloatArray:
    return np.stack([row.features for row in rows])


TRAINING, AUDIT = rows_of(330, audit=False), rows_of(240, audit=True, seed=6)
BASE = SklearnTrees(3, 7).base(training_set(TRAINING[:300], CLASSES))
MODELS = [BASE.after(training_set(TRAINING[:end], CLASSES)) for end in range(301, 331, 3)]
ROOT = SoftmaxCommittee(Settings(committee=3)).base(training_set(TRAINING[:300], CLASSES))
HEADS = [ROOT.after(training_set(TRAINING[:end], CLASSES)) for end in range(310, 331, 10)]


def test_a_forest_is_its_members() -> None:
    """Each part answers what the whole answers for that member, and tells itself from the others."""
    x, model = features(AUDIT), MODELS[0]
    parts = [model.forest.part(member) for member in range(model.size)]
    np.testing.assert_array_equal(np.concatenate([part.sums(x) for part in parts]), model.forest.sums(x))
    assert len({part.digest() for part in parts}) == model.size
    kept = [{m.forest.part(i).digest() for i in range(m.size)} for m in MODELS[:2]]
    assert len(kept[0] & kept[1]) == model.size - 1, "a step grows one member anew"


def test_what_is_recalled_is_what_would_be_said() -> None:
    """Over steps in which models and audit rows change: the same bits, in whatever order and number the rows are asked for."""
    recall = Recall()
    for step, model in enumerate(MODELS):
        rows = AUDIT[5 * step : 150 + 9 * step]
        for asked in (rows[-40:], rows, rows[::-1], rows[:1]):
            np.testing.assert_array_equal(
                recall.sums(model, asked, features(asked)), model.forest.sums(features(asked))
            )


def test_known_rows_are_not_looked_at_again() -> None:
    """Their features may be anything by then; a row that is new is looked at."""
    recall, model = Recall(), MODELS[0]
    said = recall.sums(model, AUDIT[:100], features(AUDIT[:100]))
    x = features(AUDIT[:101])
    nonsense = np.vstack([np.zeros_like(x[:100]), x[100:]])
    np.testing.assert_array_equal(recall.sums(model, AUDIT[:101], nonsense), model.forest.sums(x))
    np.testing.assert_array_equal(said, model.forest.sums(x[:100]))


def test_members_that_are_gone_are_forgotten() -> None:
    """However many models came: memory is that of four."""
    recall = Recall()
    for seed in range(6):
        model = SklearnTrees(3, seed).fit(training_set(TRAINING, CLASSES))
        recall.sums(model, AUDIT, features(AUDIT))
    assert len(recall) == 12


def test_heads_over_one_map_look_at_the_rows_once() -> None:
    """An equal map of another model finds the columns there; other rows, or a map that differs in one number, do not."""
    recall, x = Recall(), features(AUDIT)
    first, later = HEADS[0].features, replace(HEADS[1].features, mean=HEADS[1].features.mean.copy())
    assert recall.columns(first, x) is recall.columns(later, x)
    for other in (
        replace(first, gamma=2.0 * first.gamma),
        replace(first, mean=first.mean + 0.25),
        replace(first, scale=2.0 * first.scale),
        replace(first, landmarks=first.landmarks + 0.25),
    ):
        np.testing.assert_array_equal(recall.columns(other, x), other.apply(x))
        recall.columns(first, x)
    np.testing.assert_array_equal(recall.columns(first, x[:5]), first.apply(x[:5]))


@pytest.mark.parametrize("models", [MODELS, HEADS], ids=["forests", "heads"])
def test_a_step_says_the_same_with_and_without(models: Sequence[Model]) -> None:
    """Temperature, report and review are equal as wholes."""
    recall = Recall()
    before: Model | None = None
    for step, model in enumerate(models):
        audit = AUDIT[step : 200 + 3 * step]
        plain, recalled = calibrated(model, audit), calibrated(model, audit, recall=recall)
        assert (plain.temperature, plain.crossed) == (recalled.temperature, recalled.crossed)
        if before is not None:
            old, same = Contender(before, 1.5), Contender(before, 1.5, recall=recall)
            reports = [
                evaluate(new, Serving("v1", champion), TRAINING, audit, 0.05)
                for new, champion in ((plain, old), (recalled, same))
            ]
            assert reports[0] == reports[1]
            assert compare(old, plain, audit, PAIR) == compare(same, recalled, audit, PAIR)
        before = model

"""What the bounds of the label benchmark compare with does what its name says."""

from __future__ import annotations

import numpy as np

from loadtests.labels.bounds import Oracle, Recipe, Steps
from tiebreak.apps.simulate.stream import stream_of_arrays
from tiebreak.sampling.appraisal import Scored
from tiebreak.training.learner import TrainingSet

BATCH = 25


def _scored(at: int, probabilities: np.ndarray) -> Scored:
    ids = [b"%d" % i for i in range(at, at + len(probabilities))]
    return Scored(ids=ids, version="1", probabilities=probabilities.astype(np.float32), classes=("a", "b"))


def test_the_recipe_spends_its_budget_and_passes_over_repetitions() -> None:
    """A tenth of 2,000 events to the label; of runs of five of the same frame hardly any is asked about twice."""
    rng = np.random.default_rng(3)
    frames = np.repeat(rng.normal(size=(400, 32)), 5, axis=0).astype(np.float32)
    recipe = Recipe(frames / np.linalg.norm(frames, axis=1, keepdims=True), 0.1, 0)
    p = rng.uniform(size=2000)
    asked = [
        at + pick.row
        for at in range(0, 2000, BATCH)
        for pick in recipe.select(_scored(at, np.stack([p[at : at + BATCH], 1.0 - p[at : at + BATCH]], axis=1)), at)
    ]
    assert abs(len(asked) - 200) <= 1
    assert asked[:30] == list(range(30))
    later = [event for event in asked if event >= 30]
    assert len({event // 5 for event in later}) >= len(later) - 2
    assert np.abs(p[later] - 0.5).mean() < 0.2


def test_the_oracle_asks_about_mistakes_alone() -> None:
    """Where the model says ``a`` throughout and half are ``b``: only those, and as many as the budget has."""
    y = np.random.default_rng(4).integers(0, 2, 2000)
    stream = stream_of_arrays("probe", {"X": np.zeros((2000, 2)), "y": np.array(["a", "b"])[y]})
    oracle = Oracle(stream, 0.1, 0)
    sure = np.tile([0.9, 0.1], (BATCH, 1))
    asked = [at + pick.row for at in range(0, 2000, BATCH) for pick in oracle.select(_scored(at, sure), at)]
    assert set(y[asked]) == {1}
    assert abs(len(asked) - 200) <= 10


def test_the_recipes_learner_goes_on_from_what_it_knows() -> None:
    """One label of a new class, which comes first in the order of names: three steps later it is as sure of the others as before."""
    rng = np.random.default_rng(5)
    centres = np.array([[4.0, 0.0], [-4.0, 0.0], [0.0, 6.0]])
    y = np.append(rng.integers(0, 2, 40), 2)
    x = (centres[y] + rng.normal(size=(41, 2))).astype(np.float32)
    learner = Steps(0)

    def told(count: int, classes: tuple[str, ...], place: list[int]) -> TrainingSet:
        targets = np.eye(len(classes))[[place[c] for c in y[:count]]]
        return TrainingSet(tuple(map(str, range(count))), classes, x[:count], targets, np.ones(count))

    first = learner.fit(told(40, ("b", "c"), [0, 1])).probabilities(x[:40])
    assert first[np.arange(40), y[:40]].mean() > 0.97
    second = learner.fit(told(41, ("a", "c", "b"), [2, 1, 0])).probabilities(x[:40])
    assert second[np.arange(40), np.array([2, 1])[y[:40]]].mean() > 0.9

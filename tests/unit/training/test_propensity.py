"""What a project asks for as ``training.propensity`` reaches every learner, and the base that a step goes on from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

from tests.support.labels import dataset_of, make_label, project_of
from tiebreak.contracts.project import Training
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import training_set
from tiebreak.training.evaluation import Contender, Serving, evaluate
from tiebreak.training.fitting import Stamp, gathered, planned, train
from tiebreak.training.learner import Base, Model, Settings, SoftmaxCommittee, TrainingSet
from tiebreak.training.plans import Plan
from tiebreak.training.sklearn_learners import contest_of

CLASSES = ("a", "b")
SPOT = np.zeros((1, 2), np.float32)


def chances(n: int) -> list[float]:
    """Of three labels the first is of a kind that is seldom asked about."""
    return [1.0 if i % 3 else 0.1 for i in range(n)]


@pytest.mark.parametrize("n", [90, 600])
@pytest.mark.parametrize("learner", ["softmax", "trees", "partial_fit"])
def test_a_fit_to_the_stream_as_it_comes_says_what_is_usual_there(
    learner: Literal["softmax", "trees", "partial_fit"], n: int
) -> None:
    """In one spot two labels of three say ``a``; each ``b`` stands for ten events, each ``a`` for one. 600 labels have a base."""
    labels = [
        make_label(f"e{i}", "a" if chance == 1.0 else "b", [0.0, 0.0], propensity=chance, settled_ms=i)
        for i, chance in enumerate(chances(n))
    ]
    said: dict[float, str] = {}
    for power in (0.0, 1.0):
        asked = Training(learner=learner, propensity=power, committee=2, min_labels=10, refit_below=200)
        project = project_of([2], CLASSES, training=asked)
        plan, material = planned(contest_of(asked, 2), gathered(dataset_of(labels), project))
        made = train(plan.learner, project, material, None, Stamp(n, 1))
        chosen = plan.learner.fit(plan.given(material.training, CLASSES))
        assert chosen.digest() == made.digest
        said[power] = CLASSES[int(chosen.probabilities(SPOT).argmax())]
    assert said == {0.0: "a", 1.0: "b"}


@dataclass
class Watched:
    """A committee that keeps what its base was told."""

    told: list[TrainingSet] = field(default_factory=list)

    def fit(self, labels: TrainingSet) -> Model:
        return SoftmaxCommittee(Settings(committee=2)).fit(labels)

    def base(self, labels: TrainingSet) -> Base:
        self.told.append(labels)
        return SoftmaxCommittee(Settings(committee=2)).base(labels)


def test_a_base_is_told_too() -> None:
    """Else the labels before the newest cut would weigh as if all were alike."""
    watched = Watched()
    labels = [
        make_label(f"e{i}", "a" if i % 2 else "b", [float(i % 5), 0.0], propensity=chance, settled_ms=i)
        for i, chance in enumerate(chances(600))
    ]
    plan = Plan("only", watched, 2000, 200, 7, propensity=1.0)
    Contest([plan], 7, 200).ready(dataset_of(labels).rows(audit=False), CLASSES, ())
    (base,) = watched.told
    assert base.weights.max() / base.weights.min() > 9.0


def test_labels_left_out_weigh_by_the_events_that_they_stand_for() -> None:
    """One over the chance of having been chosen, 20 at most: the gate would else hear nothing but what was hard."""
    chance = {"often": 1.0, "seldom": 0.1, "hardly": 0.001}
    labels = [
        make_label(f"{kind}{i}", "ab"[i % 2], [float(i % 2), 0.0], propensity=p, settled_ms=i)
        for i in range(20)
        for kind, p in chance.items()
    ]
    rows = dataset_of(labels).rows(audit=False)
    model = SoftmaxCommittee(Settings(committee=2)).fit(training_set(rows, CLASSES))
    left_out = evaluate(Contender(model), Serving("v1", Contender(model)), rows, (), 0.05).left_out
    kinds = {label.label_id: label.event_id.rstrip("0123456789") for label in labels}
    found = {(kinds[one], weight) for one, weight in zip(left_out.label_ids, left_out.weights, strict=True)}
    assert found == {("often", 1.0), ("seldom", 10.0), ("hardly", 20.0)}

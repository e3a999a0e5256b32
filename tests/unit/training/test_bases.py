"""Beyond `refit_below` a step goes on from a base: cheaper, as good, and still a function of the set of labels alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.support.labels import dataset_of, make_label
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Training
from tiebreak.training.blocks import newest_cuts
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import Row, training_set
from tiebreak.training.discriminant import Discriminant
from tiebreak.training.learner import Base, Continuing, Learner, Model, Settings, SoftmaxCommittee, TrainingSet
from tiebreak.training.plans import Plan
from tiebreak.training.sklearn_learners import contest_of
from tiebreak.training.sklearn_trees import SklearnTrees

BELOW = 300
CLASSES = ("a", "b", "c")
LEARNERS = [SoftmaxCommittee(Settings(committee=3)), SklearnTrees(3, 7), Discriminant(3, 7)]


def rows_of(n: int, last: str | None = None) -> tuple[Row, ...]:
    """Three rings of the plane, with a class of its own for the newest label where asked."""
    rng = np.random.default_rng(5)
    points = rng.normal(size=(n, 4)).astype(np.float32)
    labels: list[Label] = []
    for i, x in enumerate(points):
        value = last if last and i == n - 1 else "abc"[int(np.clip(abs(x[0] * 1.5), 0, 2))]
        labels.append(make_label(f"e{i}", value, x.tolist(), settled_ms=i))
    return dataset_of(labels).rows(audit=False)


def contest(learner: Learner) -> Contest:
    return Contest([Plan("only", learner, 2000, BELOW, 7)], 7, BELOW)


def made(asked: Contest, rows: tuple[Row, ...], classes: tuple[str, ...] = CLASSES) -> Model:
    plan, chosen = asked.ready(rows, classes)
    return plan.learner.fit(training_set(chosen, classes))


def accuracy(model: Model) -> float:
    x = np.random.default_rng(99).normal(size=(3000, 4)).astype(np.float32)
    truth = np.clip(abs(x[:, 0] * 1.5), 0, 2).astype(int)
    return float((model.probabilities(x).argmax(axis=1) == truth).mean())


@dataclass
class Watched:
    """A Continuing learner that counts its bases."""

    learner: Continuing
    bases: int = 0
    fits: int = 0
    seen: list[int] = field(default_factory=list)

    def fit(self, labels: TrainingSet) -> Model:
        self.fits += 1
        return SoftmaxCommittee(Settings(committee=3)).fit(labels)

    def base(self, labels: TrainingSet) -> Base:
        self.bases += 1
        self.seen.append(len(labels))
        return self.learner.base(labels)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
def test_a_step_from_a_base_is_as_good_and_the_same_however_one_came_there(learner: Learner) -> None:
    """Asked after every portion or once at the end: the same digest; within a point of a fit of everything."""
    rows, asked, last = rows_of(900), contest(learner), None
    for end in range(200, 901, 25):
        last = made(asked, rows[:end])
    assert last is not None
    assert last.digest() == made(contest(learner), rows).digest()
    whole = learner.fit(training_set(Plan("only", learner, 2000, BELOW, 7).select(rows), CLASSES))
    assert accuracy(last) >= accuracy(whole) - 0.01


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
def test_every_new_label_changes_the_model(learner: Learner) -> None:
    """The label that somebody gave last is in what serves next, not only in the next base."""
    rows, asked = rows_of(700), contest(learner)
    cut = newest_cuts(rows, 1, 7)[0]
    assert cut < 697
    digests = {made(asked, rows[:end]).digest() for end in (697, 698, 699, 700)}
    assert len(digests) == 4


def test_few_labels_are_refitted_and_many_have_one_base_per_cut() -> None:
    """Up to the size there is no base; beyond it one for each cut that was passed, of at most so many rows."""
    watched = Watched(SoftmaxCommittee(Settings(committee=3)))
    rows, asked = rows_of(800), contest(watched)
    for end in range(100, BELOW + 1, 50):
        made(asked, rows[:end])
    assert watched.bases == 0
    for end in range(BELOW + 20, 801, 20):
        made(asked, rows[:end])
    cuts = {newest_cuts(rows[:end], 1, 7)[0] for end in range(BELOW + 20, 801, 20)}
    assert watched.bases == len(cuts)
    assert max(watched.seen) <= BELOW


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
def test_a_base_holds_what_a_fit_to_its_labels_gives(learner: Learner) -> None:
    """So the contest may judge by it."""
    labels = training_set(rows_of(400), CLASSES)
    assert isinstance(learner, Continuing)
    model = learner.base(labels).model
    assert model is not None
    assert model.digest() == learner.fit(labels).digest()


def test_a_block_that_a_base_came_before_is_judged_without_another_fit() -> None:
    """The plan that was taken is not learned twice from the same labels; what comes out is what a contest without bases says."""
    rows = rows_of(1200)

    def fits(below: int | None) -> tuple[int, list[float]]:
        watched, other = (
            Watched(SoftmaxCommittee(Settings(committee=3))),
            SoftmaxCommittee(Settings(committee=2, seed=9)),
        )
        plans = [Plan("first", watched, 2000, BELOW, 7), Plan("other", other, 50, 50, 7)]
        asked = Contest(plans, 7, below)
        said: list[float] = []
        for end in range(BELOW + 20, 1201, 20):
            found = asked.scores(rows[:end], CLASSES)
            said += found.tolist() if found is not None else []
            if below is not None:
                assert asked.ready(rows[:end], CLASSES)[0].name == "first"
        return watched.fits, said

    (with_bases, said), (without, same) = fits(BELOW), fits(None)
    assert said == same
    assert with_bases < without


def test_the_plan_that_was_taken_is_learned_once_at_each_cut() -> None:
    """Its base comes first, and judges the block that begins there: nothing is learned from the same labels a second time."""
    watched = Watched(SoftmaxCommittee(Settings(committee=3)))
    plans = [Plan("first", watched, 2000, BELOW, 7), Plan("other", SoftmaxCommittee(Settings(committee=1)), 50, 50, 7)]
    rows, asked = rows_of(1200), Contest(plans, 7, BELOW)
    asked.ready(rows[:800], CLASSES)
    bases, fits = watched.bases, watched.fits
    for end in range(801, 1201):
        assert asked.ready(rows[:end], CLASSES)[0].name == "first"
    begun = len(newest_cuts(rows, 1200, 7)) - len(newest_cuts(rows[:800], 1200, 7))
    assert begun > 1
    assert (watched.bases - bases, watched.fits - fits) == (begun, 0)


def test_a_class_that_is_new_since_the_cut_is_learned_by_every_member_at_once() -> None:
    """Members of an old base would hold a new class for impossible until the next cut: there is no base then."""
    watched = Watched(SoftmaxCommittee(Settings(committee=3)))
    classes = (*CLASSES, "new")
    plan, chosen = contest(watched).ready(rows_of(700, last="new"), classes)
    assert plan.learner is watched
    assert "new" in {row.value for row in chosen}


def test_projects_go_on_from_bases_beyond_refit_below() -> None:
    """`training.refit_below` is where it begins."""
    found = contest_of(Training(learner="softmax", refit_below=BELOW, min_labels=10), 4)
    assert found.ready(rows_of(BELOW), CLASSES)[0].learner is found.plans[0].learner
    assert found.ready(rows_of(800), CLASSES)[0].learner is not found.plans[0].learner

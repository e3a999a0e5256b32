"""Which learner a stream gets: the one that predicted its newest labels best, whatever way the labels came."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.labels import dataset_of, make_label, project_of, revised
from tests.support.training import Running, log_for, publish_labels
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Training
from tiebreak.training.blocks import newest_cuts
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import Row
from tiebreak.training.discriminant import Discriminant
from tiebreak.training.learner import Model, Settings, SoftmaxCommittee, TrainingSet
from tiebreak.training.plans import Plan
from tiebreak.training.sklearn_learners import contest_of

CLASSES = ("a", "b")
LINEAR = SoftmaxCommittee(Settings(committee=2, hidden=0))
LONG = Plan("long", LINEAR, 10_000, 1_000, 7)
SHORT = Plan("short", LINEAR, 100, 100, 7)


def moving(n: int, swap: int, seed: int = 1) -> list[Label]:
    """Labels by a line through the plane, whose sides change their names at ``swap``."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 2)).astype(np.float32)
    return [
        make_label(f"e{i}", "ab"[int((x[0] > 0) != (i >= swap))], x.tolist(), settled_ms=i)
        for i, x in enumerate(points)
    ]


def rows_of(labels: Sequence[Label]) -> tuple[Row, ...]:
    return dataset_of(labels).rows(audit=False)


def test_after_the_world_has_changed_the_plan_that_forgets_takes_over() -> None:
    """A swap of all classes: the long memory leads before it, the short one some hundred labels after it."""
    rows = rows_of(moving(1400, swap=900))
    contest = Contest((LONG, SHORT), 7)
    assert contest.pick(rows[:900], CLASSES) is LONG
    assert contest.pick(rows, CLASSES) is SHORT


def test_the_first_plan_is_taken_until_there_is_something_to_judge_by() -> None:
    """Fifty labels tell nothing about learners; a single plan is never put to the test."""
    rows = rows_of(moving(1400, swap=900))
    assert Contest((LONG, SHORT), 7).pick(rows[:50], CLASSES) is LONG
    assert Contest((LONG, SHORT), 7).scores(rows[:50], CLASSES) is None
    assert Contest((LONG,), 7).scores(rows, CLASSES) is None


def test_the_choice_depends_on_the_set_of_labels_and_not_on_how_they_came() -> None:
    """Asked after every portion, with a label answered anew in between, or asked once at the end: the same scores."""
    labels = moving(700, swap=400)
    asked, last = Contest((LONG, SHORT), 7), None
    for end in range(50, 701, 50):
        last = asked.scores(rows_of(labels[:end]), CLASSES)
    relabelled = [*labels, *(revised(labels[i], "ba"["ab".index(labels[i].value)], i) for i in range(300, 340))]
    again = asked.scores(rows_of(relabelled), CLASSES)
    fresh = Contest((LONG, SHORT), 7).scores(rows_of(relabelled), CLASSES)
    assert last is not None
    assert again is not None
    assert fresh is not None
    assert again.tolist() == fresh.tolist()
    assert again.tolist() != last.tolist()


class Counting:
    """A Learner that counts how often it was asked."""

    def __init__(self) -> None:
        self.fits = 0

    def fit(self, labels: TrainingSet) -> Model:
        self.fits += 1
        return Discriminant(1, 7).fit(labels)


def test_a_full_window_that_moves_on_is_not_judged_again() -> None:
    """Past the window's size each step drops its oldest labels: the blocks judged before stand, whatever was dropped."""
    window, counting = 12_000, Counting()
    contest = Contest([Plan(name, counting, window, 500, 7) for name in ("one", "two")], 7)
    rows = rows_of(moving(window + 60, swap=0))
    contest.scores(rows[:window], CLASSES)
    first = counting.fits
    for dropped in range(20, 61, 20):
        contest.scores(rows[dropped : dropped + window], CLASSES)
    begun = len(newest_cuts(rows, 99, 7)) - len(newest_cuts(rows[:window], 99, 7))
    assert first == 42  # twenty blocks and the unfinished one, two plans
    assert counting.fits - first <= 2 * begun


def test_the_newest_labels_judge_at_once_and_cost_no_fit() -> None:
    """Labels since the last cut are in the scores, by the models fitted at the cut, whose block they will belong to."""
    counting = Counting()
    contest = Contest([Plan(name, counting, 10_000, 500, 7) for name in ("one", "two")], 7)
    rows = rows_of(moving(900, swap=0))
    cut = newest_cuts(rows, 1, 7)[0]
    assert cut < 890
    before = contest.scores(rows[: cut + 1], CLASSES)
    fits = counting.fits
    wrong = [replace(row, value="ab"[row.value == "a"]) for row in rows[cut + 1 :]]
    after = contest.scores((*rows[: cut + 1], *wrong), CLASSES)
    assert counting.fits == fits
    assert before is not None
    assert after is not None
    assert (after < before - 0.01).all()


def test_only_the_models_that_judge_the_newest_block_are_kept() -> None:
    """The first call fits dozens of models, forests among them: older blocks are judged once and need theirs no more."""
    fitted: list[weakref.ref[np.ndarray[Any, Any]]] = []

    class Watched:
        """A Learner that knows which of its models are still held."""

        def fit(self, labels: TrainingSet) -> Model:
            model = LINEAR.fit(labels)
            fitted.append(weakref.ref(model.weights))
            return model

    contest = Contest([Plan(name, Watched(), 10_000, 500, 7) for name in ("one", "two")], 7)
    rows = rows_of(moving(900, swap=0))
    contest.scores(rows, CLASSES)
    assert len(fitted) == 8
    assert sum(model() is not None for model in fitted) == 2
    newest = [model() for model in fitted[-2:]]
    late = rows_of([replace(make_label("late", "a", [1.0, 0.0]), settled_ms=rows[300].settled_ms)])
    contest.scores(rows, CLASSES, late)
    assert len(fitted) == 10  # a witness of an older block has it judged anew
    held = [model() for model in fitted if model() is not None]
    assert [one is other for one, other in zip(held, newest, strict=True)] == [True, True]


def test_embeddings_and_tables_have_plans_of_their_own() -> None:
    """Wide inputs are judged between heads and a discriminant, tables between memories and trees; a named learner is alone."""

    def names(training: Training, width: int) -> list[str]:
        return [plan.name for plan in contest_of(training, width).plans]

    assert names(Training(), 384) == ["softmax", "discriminant"]
    assert names(Training(), 12) == ["softmax", "linear", "linear_recent", "softmax_recent", "trees"]
    assert names(Training(learner="softmax"), 12) == ["softmax"]
    assert names(Training(learner="trees"), 384) == ["trees"]


async def test_a_trainer_that_lost_its_ledger_makes_the_same_choice(tmp_path: Path) -> None:
    """Labels in portions with steps between, or all at once from the topic: the same weights to the bit, past a drift."""
    training = Training(min_labels=10, step_labels=50, step_s=0.05, committee=2)
    project, labels = project_of([2], CLASSES, training=training), moving(600, swap=300)
    log = await log_for(project)
    async with Running(project, log, tmp_path / "kept.sqlite") as run:
        for end in (350, 600):
            await publish_labels(log, project, labels[end - 350 if end == 350 else 350 : end])
            await run.trains(end)
        kept = run.candidates[-1].digest
    async with Running(project, log, tmp_path / "lost.sqlite") as run:
        await run.trains(600)
        assert run.candidates[-1].digest == kept


def test_a_discriminant_learns_many_classes_from_a_few_labels_each() -> None:
    """Sixty classes of 64 columns, five labels each, one class without any: right on nearly all, finite for the rest."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(60, 64))
    labels = [
        make_label(f"e{i}", f"c{i % 60:02}", (centres[i % 60] + rng.normal(0, 0.7, 64)).tolist()) for i in range(300)
    ]
    classes = (*(f"c{i:02}" for i in range(60)), "never")
    rows = rows_of(labels)
    plan = Plan("discriminant", Discriminant(3, 7), 1000, 1000, 7)
    model = plan.fit(rows, classes)
    p = model.probabilities((centres + rng.normal(0, 0.7, (60, 64))).astype(np.float32))
    assert np.isfinite(p).all()
    assert (p.argmax(axis=1) == np.arange(60)).mean() > 0.9
    assert model.members(centres.astype(np.float32)).shape == (3, 60, 61)
    assert model.digest() == plan.fit(rows, classes).digest()

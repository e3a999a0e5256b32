"""What the names of the classes say: a start for classes without labels, dropped where it misleads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from structlog.testing import capture_logs

from tests.support.labels import dataset_of, make_label, project_of
from tests.support.training import Running, log_for, publish_labels
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Training
from tiebreak.contracts.tensors import FloatArray
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.training.dataset import Row, training_set
from tiebreak.training.discriminant import Discriminant
from tiebreak.training.given import NOTHING, Given
from tiebreak.training.learner import Settings, SoftmaxCommittee
from tiebreak.training.names import Named, Teachable, with_names
from tiebreak.training.sklearn_learners import contest_of
from tiebreak.training.sqlite import Ledger
from tiebreak.training.stage import Trainer

WIDTH = 300
CLASSES = ("apple", "beech", "cedar", "dogwood")
CENTRES = dict(zip(CLASSES, np.random.default_rng(3).normal(size=(4, WIDTH)).astype(np.float32), strict=True))
LEARNERS: tuple[Teachable, ...] = (SoftmaxCommittee(Settings(committee=2)), Discriminant(2, 7))


def rows_of(classes: tuple[str, ...], n: int, noise: float = 1.0) -> tuple[Row, ...]:
    """``n`` labels of ``classes`` in turn, around their centres."""
    rng = np.random.default_rng(n)

    def label(i: int) -> Label:
        name = classes[i % len(classes)]
        x = CENTRES[name] + noise * rng.normal(size=WIDTH)
        return make_label(f"e{i}", name, x.astype(np.float32).tolist(), settled_ms=i)

    return dataset_of([label(i) for i in range(n)]).rows(audit=False)


def near(name: str, n: int = 50) -> FloatArray:
    noise: FloatArray = np.random.default_rng(9).normal(size=(n, WIDTH)).astype(np.float32)
    rows: FloatArray = CENTRES[name] + noise
    return rows


@pytest.mark.parametrize("learner", LEARNERS, ids=("softmax", "discriminant"))
def test_a_class_without_a_label_is_known_by_its_name(learner: Teachable) -> None:
    """Two classes are labelled, a third only has a vector: its events are recognised, and were not without it."""
    labels = training_set(rows_of(CLASSES[:2], 20), CLASSES)
    dogwood = CLASSES.index("dogwood")
    told, untold = (made.fit(labels).probabilities(near("dogwood")) for made in (Named(learner, CENTRES), learner))
    assert (told.argmax(axis=1) == dogwood).mean() > 0.9
    assert (untold.argmax(axis=1) == dogwood).mean() < 0.1


@pytest.mark.parametrize("learner", LEARNERS, ids=("softmax", "discriminant"))
def test_a_step_from_a_base_still_knows_the_names(learner: Teachable) -> None:
    """Beyond `refit_below` the class that has only a name is recognised as before."""
    named = Named(learner, CENTRES)
    rows = rows_of(CLASSES[:2], 60)
    model = named.base(training_set(rows[:50], CLASSES)).after(training_set(rows, CLASSES))
    assert (model.probabilities(near("cedar")).argmax(axis=1) == CLASSES.index("cedar")).mean() > 0.9


def test_names_are_one_example_each_beside_the_labels_and_only_of_the_classes_there_are() -> None:
    """The labels stay as they are; a vector of a class that nobody answers adds nothing; no labels stay no labels."""
    labels = training_set(rows_of(CLASSES[:2], 10), CLASSES[:2])
    taught = with_names(labels, CENTRES)
    assert taught.label_ids == (*labels.label_ids, "name:apple", "name:beech")
    np.testing.assert_array_equal(taught.x[10:], np.stack([CENTRES["apple"], CENTRES["beech"]]))
    np.testing.assert_array_equal(taught.targets[10:], np.eye(2))
    np.testing.assert_array_equal(taught.weights, [*labels.weights, 1.0, 1.0])
    nothing = training_set((), CLASSES)
    assert with_names(nothing, CENTRES) is nothing
    with pytest.raises(ValueError, match="no labels"):
        Named(LEARNERS[0], CENTRES).fit(nothing)


def test_names_that_help_are_kept_and_names_that_mislead_are_dropped() -> None:
    """Until there is evidence names come first. Names of the wrong classes lose the contest against the plans without them."""
    training = Training(learner="softmax", committee=1)
    few, many = rows_of(CLASSES, 20, noise=9.0), rows_of(CLASSES, 700, noise=9.0)
    wrong = dict(zip(CLASSES, (200.0 * CENTRES[name] for name in reversed(CLASSES)), strict=True))
    assert contest_of(training, WIDTH, names=wrong).pick(few, CLASSES).name == "softmax_names"
    assert contest_of(training, WIDTH, names=wrong).pick(many, CLASSES).name == "softmax"
    assert contest_of(training, WIDTH, names=CENTRES).pick(many, CLASSES).name == "softmax_names"


@pytest.mark.parametrize("learner", ["softmax", "auto"])
def test_names_that_mislead_are_dropped_before_there_are_blocks(learner: Literal["softmax", "auto"]) -> None:
    """Sixty labels are too few for blocks: left out, they are told better without names of the wrong classes. Right names stay, and

    so does one that says nothing either way.
    """
    training = Training(learner=learner, committee=1)
    rows = rows_of(CLASSES, 60, noise=4.0)
    wrong = dict(zip(CLASSES, (3.0 * CENTRES[name] for name in reversed(CLASSES)), strict=True))
    contests = [contest_of(training, WIDTH, names=names) for names in (wrong, CENTRES, {"apple": CENTRES["apple"]})]
    picked = [contest.pick(rows, CLASSES) for contest in contests]
    assert picked[0].name == "softmax"
    assert all(plan.name.endswith("_names") for plan in picked[1:])


def test_audit_labels_judge_what_selected_labels_never_show() -> None:
    """Two classes are labelled and their names mislead; the names of the two that only the audit slice saw are right."""
    training = Training(learner="softmax", committee=1)
    swapped = CENTRES | {"apple": 5.0 * CENTRES["beech"], "beech": 5.0 * CENTRES["apple"]}
    selected, seen = rows_of(CLASSES[:2], 300, noise=9.0), rows_of(CLASSES[2:], 701)
    contest = contest_of(training, WIDTH, names=swapped)
    assert contest.pick(selected, CLASSES).name == "softmax"
    assert contest.pick(selected, CLASSES, seen).name == "softmax_names"
    assert contest.pick(selected, CLASSES).name == "softmax"


def test_audit_labels_have_the_last_word_on_names() -> None:
    """Labels that were selected, each for twenty events, speak for the names; 40 audit labels, each for one, show events that the

    name of a class misleads about: off, though the names have the better score of all labels together. Two such labels say too little.
    """
    aside = 3.0 * np.random.default_rng(8).normal(size=WIDTH).astype(np.float32)
    names = CENTRES | {"dogwood": CENTRES["dogwood"] + aside}
    selected = [replace(row, propensity=0.05) for row in rows_of(CLASSES, 700, noise=9.0)]
    misled = [
        replace(row, value="apple", features=row.features - CENTRES["cedar"] + aside)
        for row in rows_of(("cedar",), 700)[-40:]
    ]
    contest = contest_of(Training(learner="softmax", committee=1), WIDTH, names=names)
    for audit, name in (((), "softmax_names"), (misled, "softmax"), (misled[-2:], "softmax_names")):
        assert contest.pick(selected, CLASSES, audit).name == name
        scores = contest.scores(selected, CLASSES, audit)
        assert scores is not None
        assert contest.plans[int(scores.argmax())].name == "softmax_names"


def test_the_plans_that_know_names_come_first() -> None:
    """With `auto` on embeddings: the discriminant and the softmax heads, each with and without."""

    def named(training: Training) -> list[str]:
        return [plan.name for plan in contest_of(training, WIDTH, names=CENTRES).plans]

    assert named(Training()) == ["discriminant_names", "softmax_names", "softmax", "discriminant"]
    assert named(Training(learner="softmax")) == ["softmax_names", "softmax"]
    assert "softmax_names" not in [plan.name for plan in contest_of(Training(), WIDTH).plans]


async def test_vectors_of_another_width_or_of_no_class_are_refused_at_the_start(tmp_path: Path) -> None:
    """The trainer says whose vector it is, how wide it is, and what it should be."""
    project = project_of([4], CLASSES)
    log, ledger = await log_for(project), Ledger(tmp_path / "l")
    reader = log.reader([Topic.LABELS.of(project.project)], None)
    given = Given(names={"apple": np.zeros(3, np.float32)})
    with pytest.raises(ConfigError, match="'apple' has 3 numbers, and the heads learn from 4"):
        Trainer(project, ledger, reader, Metrics("tests"), SystemClock(), given)
    strange = Given(names={"aple": np.zeros(4, np.float32)})
    with pytest.raises(ConfigError, match="'aple' is not one of the classes"):
        Trainer(project, ledger, reader, Metrics("tests"), SystemClock(), strange)
    ledger.close()


async def test_other_vectors_are_told_kept_in_the_ledger_and_learned_with(tmp_path: Path) -> None:
    """After a change of the file the same labels give another model, which is offered; the ledger says from when on; back is back."""
    project = project_of(
        [WIDTH], CLASSES, training=Training(learner="softmax", committee=1, min_labels=10, step_s=0.05)
    )
    log = await log_for(project)
    labels = [make_label(f"e{i}", CLASSES[i % 2], near(CLASSES[i % 2], 1)[0].tolist(), settled_ms=i) for i in range(20)]
    await publish_labels(log, project, labels)
    first, other = Given(names=CENTRES), Given(names=CENTRES | {"cedar": -CENTRES["cedar"]})
    one, two = first.names_digest, other.names_digest
    digests: list[str] = []
    told: list[tuple[str, str]] = []
    for given in (first, first, other, NOTHING, first):
        with capture_logs() as logs:
            async with Running(project, log, tmp_path / "l", given=given) as run:
                await run.trains(20)
        digests.append(run.candidates[-1].digest)
        told += [(entry["was"], entry["now"]) for entry in logs if "class_vectors has changed" in entry["event"]]
    assert told == [(one, two), (two, "none"), ("none", one)]
    assert digests[0] == digests[1] == digests[4]
    assert len(set(digests)) == 3
    ledger = Ledger(tmp_path / "l")
    pinned = [(pinned.digest, pinned.since) for pinned in ledger.vectors()]
    assert pinned == [(one, 0), (two, 20), ("", 20), (one, 20)]
    ledger.close()


def test_the_digest_is_of_the_vectors_and_not_of_their_file() -> None:
    """In any order the same; a number, a name or a class more makes another one."""
    digest = Given(names=CENTRES).names_digest
    assert Given(names=dict(reversed(CENTRES.items()))).names_digest == digest
    others = [
        Given(names=CENTRES | {"apple": CENTRES["beech"]}),
        Given(names={name.upper(): vector for name, vector in CENTRES.items()}),
        Given(names=CENTRES | {"elder": CENTRES["cedar"]}),
    ]
    assert len({digest, *(other.names_digest for other in others)}) == 4
    assert NOTHING.names_digest == ""

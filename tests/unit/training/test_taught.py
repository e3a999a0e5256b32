"""Unlabelled events as weak teachers: on the label they came along with, on while they help, and gone with whoever is erased."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from tests.support.labels import dataset_of, make_label, project_of
from tests.support.training import Running, log_for, publish_labels
from tiebreak.contracts.codec import decode_label, encode
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Model, Project, Training
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.dataset import Aside, refuse, training_set
from tiebreak.training.discriminant import Discriminant, Taught
from tiebreak.training.names import Named
from tiebreak.training.retraction import erased
from tiebreak.training.sklearn_learners import contest_of

WIDTH, CLASSES = 256, tuple("abcdefgh")
CENTRES = np.random.default_rng(1).normal(size=(8, WIDTH))
# Events vary along a few directions of their own much more than classes differ: what only many events can tell.
LOUD = np.random.default_rng(2).normal(size=(6, WIDTH))
AUTO = Training(committee=2, min_labels=10, step_s=0.05, unlabelled=8)


def events(n: int, seed: int) -> tuple[FloatArray, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 8, n)
    x = CENTRES[kinds] + rng.normal(0, 3.0, (n, 6)) @ LOUD + rng.normal(0, 3.0, (n, WIDTH))
    return x.astype(np.float32), kinds


def labels_of(n: int, along: int = 8, seed: int = 0, audit_every: int = 0) -> list[Label]:
    x, kinds = events(n, seed)
    others = events(n * along, seed + 1000)[0].reshape(n, along, WIDTH) if along else np.zeros((n, 0, WIDTH))
    return [
        replace(
            make_label(
                f"e{seed}-{i}",
                CLASSES[kinds[i]],
                x[i].tolist(),
                settled_ms=i,
                audit=audit_every > 0 and i % audit_every == 1,
            ),
            unlabelled=others[i].astype("<f4").tobytes(),
        )
        for i in range(n)
    ]


def right(learner: Taught | Discriminant, labels: list[Label]) -> float:
    x, kinds = events(2000, 77)
    model = learner.fit(training_set(dataset_of(labels).rows(audit=False), CLASSES))
    return float((model.probabilities(x).argmax(axis=1) == kinds).mean())


def test_events_without_a_label_teach_where_labels_are_few() -> None:
    """60 labels with 8 events each along: more held-out events are right than by the labels alone; with none along it is the same."""
    plain, taught = Discriminant(2, 7), Taught(Discriminant(2, 7))
    assert right(taught, labels_of(60)) > right(plain, labels_of(60)) + 0.03
    assert right(taught, labels_of(60, along=0)) == right(plain, labels_of(60, along=0))


def test_members_learn_from_labels_alone() -> None:
    """They judge the labels that they left out, and must not have heard of them through a teacher that had."""
    labels = training_set(dataset_of(labels_of(60)).rows(audit=False), CLASSES)
    taught, plain = Taught(Discriminant(3, 7)).fit(labels), Discriminant(3, 7).fit(labels)
    np.testing.assert_array_equal(taught.weights[:, 2:], plain.weights[:, 1:])
    assert not np.allclose(taught.weights[:, 0], plain.weights[:, 0])


def test_each_event_counts_once_and_the_newest_come_first() -> None:
    """An event that passed by several questions is one example; of very many the ones beside the newest labels are kept."""
    one, two = labels_of(2, along=2)
    same = replace(two, unlabelled=one.unlabelled)
    rows = dataset_of([one, same]).rows(audit=False)
    assert len(training_set(rows, CLASSES).unlabelled) == 2
    rows = dataset_of([one, two]).rows(audit=False)
    assert training_set(rows, CLASSES).unlabelled[0] == two.unlabelled[: 4 * WIDTH]
    many = training_set(dataset_of(labels_of(800)).rows(audit=False), CLASSES)
    assert len(many.unlabelled) == 6000


def test_a_step_from_a_base_is_taught_too() -> None:
    """Beyond `refit_below`: labels that came since and the events along with them are in it, names stay, the same to the bit."""
    labels = labels_of(80)
    first, more = (training_set(dataset_of(part).rows(audit=False), CLASSES) for part in (labels[:70], labels))
    vectors = {"a": CENTRES[0].astype(np.float32)}
    base = Named(Taught(Discriminant(1, 7)), vectors).base(first)
    assert base.after(more).digest() == base.after(more).digest() != base.after(first).digest()


def test_the_plan_is_last_and_wins_only_where_it_predicts_better() -> None:
    """Without evidence the heads serve; with it the taught plan, where it helps: events from another world do not get it there."""
    plans = contest_of(AUTO, WIDTH).plans
    assert [plan.name for plan in plans] == ["softmax", "discriminant", "taught"]
    named = contest_of(AUTO, WIDTH, names={"a": CENTRES[0].astype(np.float32)}).plans
    assert [plan.name for plan in named][-2:] == ["taught", "taught_names"]
    assert [plan.name for plan in contest_of(Training(), WIDTH).plans] == ["softmax", "discriminant"]
    fewest, few = (dataset_of(labels_of(n)).rows(audit=False) for n in (20, 60))
    assert contest_of(AUTO, WIDTH).pick(fewest, CLASSES).name == "softmax"
    assert contest_of(AUTO, WIDTH).pick(few, CLASSES).name == "taught"
    scores = contest_of(AUTO, WIDTH).scores(few, CLASSES)
    assert scores is not None
    assert scores[2] > scores[1]
    strange = np.random.default_rng(0).normal(50.0, 80.0, (700, 8, WIDTH)).astype("<f4")
    misled = [replace(label, unlabelled=strange[i].tobytes()) for i, label in enumerate(labels_of(700))]
    assert not contest_of(AUTO, WIDTH).pick(dataset_of(misled).rows(audit=False), CLASSES).name.startswith("taught")


async def test_a_trainer_that_lost_its_ledger_ends_at_the_same_bits(tmp_path: Path) -> None:
    """What taught came along with the labels: the topic `labels` alone rebuilds the model, read in other portions too."""
    project = project_of([WIDTH], CLASSES, training=AUTO)
    log = await log_for(project)
    labels = labels_of(500, audit_every=5)
    async with Running(project, log, tmp_path / "first") as run:
        await publish_labels(log, project, labels[:300])
        await run.trains(300)
        await publish_labels(log, project, labels[300:])
        await run.trains(500)
    async with Running(project, log, tmp_path / "again") as again:
        await again.trains(500)
    assert again.candidates[-1].model == run.candidates[-1].model


def test_a_label_whose_companions_are_torn_is_kept_aside() -> None:
    """Half a vector, or one that is not finite: said in words, and nothing is learned from it."""
    project, label = project_of([WIDTH], CLASSES), labels_of(1)[0]
    assert refuse(label, project, WIDTH) is None
    torn = refuse(replace(label, unlabelled=label.unlabelled[:-4]), project, WIDTH)
    assert torn == (Aside.WRONG_FEATURES, f"{8 * 4 * WIDTH - 4} bytes of unlabelled events, {4 * WIDTH} are one")
    nan = np.full(WIDTH, np.nan, "<f4").tobytes()
    assert refuse(replace(label, unlabelled=nan), project, WIDTH) == (
        Aside.WRONG_FEATURES,
        "features of an unlabelled event are not finite",
    )


def test_an_erasure_takes_what_came_along_and_the_wire_keeps_it() -> None:
    """What is on the label is on it after a round trip, and gone with the person that the label is about."""
    label = labels_of(1)[0]
    assert decode_label(encode(label)).unlabelled == label.unlabelled
    assert erased(label).unlabelled == b""


def test_a_key_without_effect_is_refused() -> None:
    """Beside another learner, for answers that are no single class, with a model of the user's, for narrow events."""
    for other in (
        {"training": Training(learner="softmax", unlabelled=4)},
        {"model": Model(source="file", file="m.onnx")},
    ):
        sections = {**project_of([WIDTH], CLASSES).model_dump(exclude_unset=True), "training": AUTO, **other}
        with pytest.raises(ValidationError, match=r"training\.unlabelled"):
            Project.model_validate(sections)
    with pytest.raises(ConfigError, match="events of 4 numbers"):
        contest_of(AUTO, 4)

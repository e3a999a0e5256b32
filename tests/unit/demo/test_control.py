"""The control arm: as many labels, drawn at random, and a function of the log alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.demo import asked, manifest, prediction, settled, small_world, told
from tiebreak.apps.demo.control import STRETCH, Arm, Ladder, Rung, ladder_of, run_arm, twins
from tiebreak.apps.demo.options import DemoOptions, project_text
from tiebreak.apps.demo.world import CLASSES
from tiebreak.contracts.project import Project
from tiebreak.runtime.project_file import parse_project


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return parse_project(project_text(DemoOptions(tmp_path_factory.mktemp("out")), "digits-demo"))


def _ladder(questions: int = 60, events: int = 1000) -> Ladder:
    """A question every few events; two models, one after a third of the answers, one after all of them."""
    places = np.linspace(0, events - 1, questions).astype(np.intp)
    first = np.arange(questions) < questions // 3
    rungs = (
        Rung("v1", first, np.arange(400, 700)),
        Rung("v2", np.ones(questions, np.bool_), np.arange(700, events)),
    )
    return Ladder(places, rungs)


@pytest.mark.parametrize("share", [1.0, 1.5, 2.0, 3.0])
def test_twins_are_as_many_as_promised_from_the_same_stretch_and_never_the_same_event_twice(share: float) -> None:
    """Random labelling gets its labels when the live arm got them, bursts included, and no label is spent twice."""
    questions = np.sort(np.random.default_rng(1).choice(5000, 200, replace=False)).astype(np.intp)
    events, parents = twins(questions, 5000, Arm(share, 3))
    assert len(events) == len(parents) == len(set(events.tolist())) == 200 * share
    assert (events // STRETCH == questions[parents] // STRETCH).all()
    again = twins(questions, 5000, Arm(share, 3))
    assert all(np.array_equal(a, b) for a, b in zip((events, parents), again, strict=True))


def test_a_stretch_in_which_everything_was_asked_has_a_twin_for_each_event_at_most() -> None:
    """Ten times the labels of a stretch that was asked in full: there are no more events than there are."""
    events, _ = twins(np.arange(250, dtype=np.intp), 250, Arm(10.0, 1))
    assert sorted(events.tolist()) == list(range(250))


def test_an_arm_is_the_same_whenever_it_is_run_and_another_seed_draws_others(project: Project) -> None:
    """The same log gives the same control; arms of other seeds are other draws of the same policy."""
    world = small_world()
    one, again, other = (run_arm(world, _ladder(), project, 0.05, Arm(1.0, seed)) for seed in (1, 1, 2))
    assert (one.labelled, one.labels) == (again.labelled, again.labels)
    assert np.array_equal(one.right, again.right)
    assert one.labelled != other.labelled
    assert one.labels == other.labels == 60


def test_a_model_of_the_control_answers_the_events_of_the_live_model_alone(project: Project) -> None:
    """Before the live arm had a model the control has none either, and it learns: by chance it would be right on a tenth."""
    result = run_arm(small_world(), _ladder(), project, 0.0, Arm(1.0, 1))
    assert not result.right[:400].any()
    assert result.right[700:].mean() > 0.5


def test_more_errors_of_people_make_the_control_worse_as_they_make_the_live_arm_worse(project: Project) -> None:
    """The control's people err too: with all answers wrong it is hardly ever right."""
    result = run_arm(small_world(), _ladder(), project, 1.0, Arm(1.0, 1))
    assert result.right[700:].mean() < 0.2


def test_the_ladder_says_what_was_answered_when_each_model_was_made() -> None:
    """A question without an answer has no twin with one; models that never served are no rung."""
    world = small_world()
    records = [asked(10), asked(20), asked(30), settled(10, "0", 100), settled(20, "1", 200)]
    records += [prediction(i, CLASSES[0], "v1") for i in range(40, 60)]
    records += [prediction(i, CLASSES[0], "v2") for i in range(60, 80)]
    manifests = [manifest("v2", [10, 20]), manifest("v1", [10]), manifest("v0", [10])]
    ladder = ladder_of(told(world, records), manifests)
    assert ladder.questions.tolist() == [10, 20, 30]
    assert [(r.version, r.spent.tolist(), r.events.tolist()) for r in ladder.rungs] == [
        ("v1", [True, False, False], list(range(40, 60))),
        ("v2", [True, True, False], list(range(60, 80))),
    ]

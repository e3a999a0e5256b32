"""Another head may say what to ask about than the one that serves: all the way from the learner to the sampler."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.support.labeling import a_task
from tests.support.labels import dataset_of, project_of
from tests.support.models import manifest_of
from tests.support.sampling import columns_of
from tests.unit.sampling.test_stage import World
from tests.unit.training.test_taught import CLASSES, WIDTH, events, labels_of
from tiebreak.apps.rescoring import HeadOpinions
from tiebreak.contracts.project import Project, TensorSpec
from tiebreak.contracts.tensors import FloatArray, Scores
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.runtime.model_graph import describe, parse
from tiebreak.runtime.model_plan import Wanted, plan_model
from tiebreak.runtime.onnx_session import ModelSession
from tiebreak.runtime.sandbox_child import probe_rows
from tiebreak.sampling.acquisition import margin
from tiebreak.scoring.columns import keep_scores, unanswered_rows
from tiebreak.training.dataset import training_set
from tiebreak.training.discriminant import Discriminant, Taught
from tiebreak.training.export import export, read_back
from tiebreak.training.learner import SoftmaxModel, TrainingSet, asking

SPECS = (TensorSpec(name="x", shape=(WIDTH,)),)


def taught() -> tuple[SoftmaxModel, TrainingSet]:
    labels = training_set(dataset_of(labels_of(60)).rows(audit=False), CLASSES)
    return Taught(Discriminant(3, 7)).fit(labels), labels


def test_whom_to_ask_is_said_by_the_head_that_knows_labels_alone() -> None:
    """The serving head has taught itself with unlabelled events; events are chosen by its teacher. With none along they are one."""
    model, labels = taught()
    x = events(200, 5)[0]
    plain = Discriminant(3, 7).fit(labels)
    np.testing.assert_allclose(asking(model, x), plain.probabilities(x), atol=1e-5)
    assert not np.allclose(model.probabilities(x), plain.probabilities(x), atol=0.05)
    np.testing.assert_array_equal(model.members(x), plain.members(x))
    assert (model.size, plain.size) == (3, 3)
    untaught = Taught(Discriminant(3, 7)).fit(replace(labels, unlabelled=()))
    np.testing.assert_array_equal(asking(untaught, x), untaught.probabilities(x))


def test_the_graph_gives_it_out_and_gives_it_back() -> None:
    """ONNX says what the model does, the check in the sandbox takes it, and the state is read back to the bit."""
    model, _ = taught()
    x = events(300, 5)[0]
    data = export(model, SPECS, 1.5)
    session = ModelSession(
        data, plan_model(describe(parse(data)), Wanted(inputs={"x": ("FP32", (WIDTH,))}, classes=CLASSES))
    )
    probe_rows(session)
    answers = session.answer({"x": x})
    assert answers.asking is not None
    assert answers.members is not None
    np.testing.assert_allclose(answers.asking, asking(model, x, 1.5), atol=1e-4)
    np.testing.assert_allclose(answers.probabilities, model.probabilities(x, 1.5), atol=1e-4)
    np.testing.assert_allclose(answers.members, model.members(x, 1.5), atol=1e-4)
    back = read_back(data)
    assert back is not None
    assert back[0].digest() == model.digest()
    np.testing.assert_array_equal(asking(back[0], x), asking(model, x))


def test_rows_that_are_left_out_are_left_out_there_too() -> None:
    """The same rows are kept of it, and a row of NaN there is one that the model did not answer."""
    p = np.full((3, 2), 0.5, np.float32)
    scores = Scores("v", ("a", "b"), p, asking=np.array([[0.1, 0.9], [np.nan, 0.5], [0.7, 0.3]], np.float32))
    bad = unanswered_rows(scores)
    assert bad.tolist() == [False, True, False]
    kept = keep_scores(scores, ~bad)
    assert kept.asking is not None
    np.testing.assert_allclose(kept.asking, [[0.1, 0.9], [0.7, 0.3]])


async def test_the_sampler_goes_by_it() -> None:
    """The uncertainty of an event is the one of the head that asks, whatever is served."""
    columns = columns_of(100)
    sure = np.tile(np.array([[1.0, 0.0]], np.float32), (100, 1))
    rng = np.random.default_rng(3).random((100, 1)).astype(np.float32)
    asks: FloatArray = np.concatenate([rng, 1.0 - rng], axis=1)
    sampler = await World().started()
    sampled = await sampler.select(columns, Scores("v1", ("a", "b"), sure, asking=asks))
    np.testing.assert_allclose(sampled.uncertainty, margin(asks), atol=1e-6)


async def test_waiting_tasks_are_scored_again_by_it() -> None:
    """A new model's opinion of a task is comparable with the uncertainty by which it was chosen."""
    model, _ = taught()
    x = events(20, 5)[0]
    project: Project = project_of([WIDTH], CLASSES)
    data, store = export(model, SPECS, 1.0), MemoryModelStore()
    await store.put(manifest_of(project, data, "v2"), data)
    opinion = await HeadOpinions(project, store).of("v2")
    assert opinion is not None
    said = opinion([replace(a_task(n), features=tuple(row.tolist())) for n, row in enumerate(x)])
    np.testing.assert_allclose(np.array(said, np.float64), margin(asking(model, x)), atol=1e-4)

"""Trees behind the learner's port: the graph answers as they do, the file holds them whole, and a project can ask for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from tests.support.labels import blob_labels, dataset_of, make_label, project_of
from tests.support.training import Running, log_for, publish_labels
from tiebreak.contracts.project import TensorSpec, Training
from tiebreak.contracts.tensors import FloatArray
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.training.dataset import training_set
from tiebreak.training.export import export, read_back
from tiebreak.training.sklearn_learners import learner_of
from tiebreak.training.sklearn_trees import SklearnTrees
from tiebreak.training.trees import TreeModel

PLANE = (TensorSpec(name="x", shape=(2,)),)
CLASSES = ("a", "b", "c")


def fitted(n: int = 120, seed: int = 7) -> TreeModel:
    rows = dataset_of(blob_labels(n, audit_every=0)).rows(audit=False)
    return SklearnTrees(3, seed).fit(training_set(rows, CLASSES))


MODEL = fitted()
RUN = onnxruntime.InferenceSession(export(MODEL, PLANE, 1.0), providers=["CPUExecutionProvider"])
POINTS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.just(2)),
    elements=st.one_of(
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        st.sampled_from(MODEL.forest.threshold.tolist()),
    ),
)


@settings(max_examples=200, deadline=None)
@given(POINTS)
def test_the_graph_answers_as_the_trees_do(x: FloatArray) -> None:
    """Any finite input, values exactly on a threshold included: probabilities, members and embedding agree."""
    p, members, embedding = RUN.run(["probabilities", "members", "embedding"], {"x": x})
    np.testing.assert_allclose(p, MODEL.probabilities(x), atol=1e-4)
    np.testing.assert_allclose(members, MODEL.members(x), atol=1e-4)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-4)
    np.testing.assert_array_equal(embedding, x)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_file_holds_the_whole_state_and_the_same_set_the_same_bytes(temperature: float) -> None:
    """A champion of trees can be judged from the store, and a refit of the same labels makes the same file."""
    data = export(MODEL, PLANE, temperature)
    back = read_back(data)
    assert back is not None
    assert (back[0].digest(), back[0].size, back[0].width, back[1]) == (MODEL.digest(), 3, 2, temperature)
    assert export(fitted(), PLANE, temperature) == data
    assert export(fitted(seed=8), PLANE, temperature) != data


def test_a_class_without_a_label_and_a_split_vote_are_learned() -> None:
    """A class nobody gave yet is possible, not certain; a label that people split over is split in the answer too."""
    split = [make_label(f"s{i}", "a", [0.0, 0.0], distribution={"a": 0.5, "b": 0.5}) for i in range(40)]
    rows = dataset_of([*split, *(make_label(f"t{i}", "b", [9.0, 9.0]) for i in range(40))]).rows(audit=False)
    model = SklearnTrees(3, 7).fit(training_set(rows, CLASSES))
    p = model.probabilities(np.array([[0.0, 0.0], [9.0, 9.0]], np.float32))
    np.testing.assert_allclose(p[0], [0.5, 0.5, 0.0], atol=0.1)
    assert p[1, 1] > 0.9
    assert 0.0 < p[:, 2].max() < 0.02


async def test_a_project_of_trees_trains_and_passes_the_gate(tmp_path: Path) -> None:
    """From labels on the topic to a file that the sandbox accepts, with audit labels that judged it."""
    project = project_of([2], CLASSES, training=Training(learner="trees", committee=3, min_labels=10, step_s=0.05))
    log = await log_for(project)
    async with Running(project, log, tmp_path / "l") as run:
        await publish_labels(log, project, blob_labels(60))
        await run.trains(60)
    last = run.candidates[-1]
    assert await SandboxProbe(project).check(last, None) == ()
    assert last.evaluation.accuracy.estimate > 0.8


def test_a_key_that_trees_have_no_use_for_is_refused() -> None:
    """A setting without effect would be a lie."""
    with pytest.raises(ValidationError, match="hidden: belongs to learner 'softmax'"):
        Training(learner="trees", hidden=5)
    assert isinstance(learner_of(Training(learner="trees")), SklearnTrees)

"""A user's frozen encoder: embeddings before the first model, in front of every model, and refused with what to change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.support.labels import make_label
from tests.support.models import Array, committee, dense, points
from tiebreak.apps.train import encoder_of
from tiebreak.contracts.errors import ConfigError, ModelRefused
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import EventColumns
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.model_encoder import bare_encoder
from tiebreak.runtime.onnx_encoder import load_encoder
from tiebreak.scoring.stage import Scorer
from tiebreak.training.dataset import Dataset, row_of
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.export import read_back
from tiebreak.training.fitting import Stamp, material_of, train
from tiebreak.training.sklearn_learners import learner_of

SQUEEZE = np.random.default_rng(5).normal(size=(4, 3)).astype(np.float32)


def project_with(tmp_path: Path, encoder: bytes, learner: str = "auto") -> Project:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(encoder)
    return Project.model_validate(
        {
            "project": "tests",
            "input": {"tensors": [{"name": "x", "shape": [4]}]},
            "classes": {"names": ["a", "b"]},
            "model": {"encoder": str(path)},
            "training": {"min_labels": 10, "committee": 3, "learner": learner},
        }
    )


def columns(x: Array) -> EventColumns:
    return EventColumns([b"e%d" % i for i in range(len(x))], {"x": x}, [], [])


def run(graph: bytes, output: str, x: Array) -> Array:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([output], {"x": x})[0])


@pytest.mark.parametrize("learner", ["auto", "partial_fit"])
@pytest.mark.parametrize("opset", [13, 17, 21])
async def test_from_embeddings_without_a_model_to_a_model_behind_the_encoder(
    tmp_path: Path, opset: int, learner: str
) -> None:
    """Cold, the encoder alone answers; its embeddings train heads; the merged file passes the gate and gives both."""
    project = project_with(tmp_path, dense(SQUEEZE, output="hidden_state", opset=opset), learner)
    scorer, loaded, encoder = Scorer(project, Metrics("tests")), await load_encoder(project), await encoder_of(project)
    assert loaded is not None
    assert encoder is not None
    await scorer.embed_with(loaded)
    x = points(60)
    cold = await scorer.score(columns(x))
    assert (cold.version, cold.classes, cold.probabilities.shape) == ("", (), (60, 0))
    assert cold.embedding is not None
    np.testing.assert_allclose(cold.embedding, x @ SQUEEZE, atol=1e-5)

    values = ["a" if row[0] > 0 else "b" for row in cold.embedding]
    labels = [
        make_label(f"e{i}", v, row.tolist(), audit=i % 4 == 0)
        for i, (v, row) in enumerate(zip(values, cold.embedding, strict=True))
    ]
    material = material_of(Dataset(map(row_of, labels)), project)
    candidate = train(learner_of(project.training), project, material, None, Stamp(60, 1, encoder))
    assert await SandboxProbe(project).check(candidate, None) == ()
    await scorer.swap(candidate.manifest, candidate.model)
    warm = await scorer.score(columns(x))
    assert warm.embedding is not None
    np.testing.assert_allclose(warm.embedding, cold.embedding, atol=1e-5)
    said = [warm.classes[i] for i in warm.probabilities.argmax(axis=1)]
    assert np.mean([a == b for a, b in zip(said, values, strict=True)]) > 0.9
    scorer.close()

    ours = read_back(candidate.model)
    assert ours is not None
    again = train(
        learner_of(project.training), project, material, Serving("v1", Contender(*ours)), Stamp(60, 1, encoder)
    )
    assert again.digest == candidate.digest
    assert again.model == candidate.model


async def test_a_head_that_is_not_the_learners_is_caught_behind_the_encoder_too(tmp_path: Path) -> None:
    """The golden batch goes through the encoder: an answer that is off is refused."""
    project = project_with(tmp_path, dense(SQUEEZE))
    encoder = await encoder_of(project)
    labels = [make_label(f"e{i}", "ab"[i % 2], [i % 2, 1.0, 0.0]) for i in range(20)]
    material = material_of(Dataset(map(row_of, labels)), project)
    candidate = train(learner_of(project.training), project, material, None, Stamp(20, 1, encoder))
    wrong = replace(candidate, golden=replace(candidate.golden, probabilities=1.0 - candidate.golden.probabilities))
    assert "golden batch is off" in (await SandboxProbe(project).check(wrong, None))[0]


def test_the_embedding_is_the_output_of_that_name() -> None:
    """Among several float outputs the one called `embedding` is taken, and other names are moved out of the way."""
    weights = np.ones((2, 4, 3), np.float32)
    x = points(5)
    graph = bare_encoder(committee(weights), 100)
    np.testing.assert_allclose(run(graph, "embedding", x), np.tanh(x), atol=1e-6)
    assert graph == bare_encoder(committee(weights), 100)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (dense(SQUEEZE, opset=12), "opset 12"),
        (dense(SQUEEZE, batch=8), "fixed batch size"),
        (b"not a model", "not an ONNX model"),
    ],
)
def test_an_encoder_that_cannot_be_extended_is_refused(model: bytes, why: str) -> None:
    """Old opset, fixed batch, no model: the reason says what to change."""
    with pytest.raises(ModelRefused, match=why):
        bare_encoder(model, 1000)


async def test_an_encoder_for_other_tensors_stops_the_start_in_one_line(tmp_path: Path) -> None:
    """The project has four numbers, the encoder wants five: said at the start, under the key that names the file."""
    project = project_with(tmp_path, dense(np.ones((5, 2), np.float32)))
    with pytest.raises(ConfigError, match=r"model\.encoder: Input 'x'"):
        await load_encoder(project)


async def test_no_encoder_is_nothing_to_load() -> None:
    """Without the key there is nothing in front of the heads."""
    bare = Project.model_validate(
        {
            "project": "tests",
            "input": {"tensors": [{"name": "x", "shape": [4]}]},
            "classes": {"names": ["a", "b"]},
        }
    )
    assert await load_encoder(bare) is None
    assert await encoder_of(bare) is None

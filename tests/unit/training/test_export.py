"""The exported graph: the learner's own answers, the same bytes each time, and the whole state back."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.support.digits import TEN, digits
from tests.support.labels import blob_labels, dataset_of
from tiebreak.contracts.errors import ConfigError, ModelRefused
from tiebreak.contracts.project import TensorSpec
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.dataset import training_set
from tiebreak.training.export import export, inputs_of, read_back, width_of
from tiebreak.training.learner import Model, Settings, SoftmaxCommittee, TrainingSet

IMAGE = (TensorSpec(name="image", datatype="FP32", shape=(8, 8)),)


def digits_model(n: int = 60) -> tuple[Model, FloatArray]:
    x, y = digits()
    targets = np.eye(10)[[TEN.index(v) for v in y[:n]]]
    labels = TrainingSet(tuple(f"l{i}" for i in range(n)), TEN, x[:n], targets, np.ones(n))
    return SoftmaxCommittee(Settings(committee=3)).fit(labels), x


def session(data: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_graph_answers_as_the_learner_does(temperature: float) -> None:
    """Parity on a golden batch: probabilities and members agree, the embedding is the input as it came."""
    model, x = digits_model()
    run = session(export(model, IMAGE, temperature))
    p, members, embedding = run.run(["probabilities", "members", "embedding"], {"image": x[100:150].reshape(-1, 8, 8)})
    np.testing.assert_allclose(p, model.probabilities(x[100:150], temperature), atol=1e-4)
    np.testing.assert_allclose(members, model.members(x[100:150], temperature), atol=1e-4)
    np.testing.assert_array_equal(embedding, x[100:150])


_POINTS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.just(2)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
_BLOBS = SoftmaxCommittee(Settings(committee=2)).fit(
    training_set(dataset_of(blob_labels(30)).rows(audit=False), ("a", "b", "c"))
)
_RUN = session(export(_BLOBS, (TensorSpec(name="x", shape=(2,)),), 1.0))


@settings(max_examples=200, deadline=None)
@given(_POINTS)
def test_every_finite_input_gives_a_distribution(x: FloatArray) -> None:
    """Whatever a producer sends, up to the largest float: outputs are finite, sum to 1, and equal the learner's."""
    p = _RUN.run(["probabilities"], {"x": x})[0]
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-4)
    np.testing.assert_allclose(p, _BLOBS.probabilities(x), atol=1e-3)


def test_the_same_state_gives_the_same_bytes() -> None:
    """Two fits of one set export to equal files, and other settings to another one."""
    one, _ = digits_model()
    two, _ = digits_model()
    assert export(one, IMAGE, 1.0) == export(two, IMAGE, 1.0)
    assert export(one, IMAGE, 1.0) != export(one, IMAGE, 1.5)


@pytest.mark.parametrize("wide", [1, 1000])
def test_the_file_holds_the_whole_state(wide: int) -> None:
    """A model read back from its file has the same digest, with kernels and without: a champion can be judged from the store."""
    x, y = digits()
    targets = np.eye(10)[[TEN.index(v) for v in y[:40]]]
    model = SoftmaxCommittee(Settings(wide=wide)).fit(
        TrainingSet(tuple(map(str, range(40))), TEN, x[:40], targets, np.ones(40))
    )
    back = read_back(export(model, IMAGE, 1.25))
    assert back is not None
    assert (back[0].digest(), back[1]) == (model.digest(), 1.25)


def test_a_foreign_graph_is_not_ours_and_a_torn_one_is_refused() -> None:
    """Another producer's file reads as None; ours cut in half is an error, not a smaller model."""
    model, _ = digits_model()
    data = export(model, IMAGE, 1.0)
    assert read_back(b"") is None
    assert read_back(data.replace(b"tiebreak.trainer", b"somebody.else-00")) is None
    with pytest.raises(ModelRefused):
        read_back(data[: len(data) // 2])


def test_inputs_of_any_datatype_and_several_tensors_are_flattened_in_order() -> None:
    """Bytes, halves and doubles become one row of features, and features become exactly those inputs again."""
    tensors = (
        TensorSpec(name="pixels", datatype="UINT8", shape=(2, 2)),
        TensorSpec(name="flag", datatype="BOOL", shape=(1,)),
        TensorSpec(name="half", datatype="FP16", shape=(3,)),
    )
    assert width_of(tensors) == 8
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.integers(0, 256, (30, 4)), rng.integers(0, 2, (30, 1)), rng.integers(0, 9, (30, 3)) / 2], axis=1
    ).astype(np.float32)
    targets = np.eye(2)[(x[:, 0] > 128).astype(int)]
    model = SoftmaxCommittee(Settings()).fit(
        TrainingSet(tuple(map(str, range(30))), ("a", "b"), x, targets, np.ones(30))
    )
    p, embedding = session(export(model, tensors, 1.0)).run(["probabilities", "embedding"], dict(inputs_of(x, tensors)))
    np.testing.assert_array_equal(embedding, x)
    np.testing.assert_allclose(p, model.probabilities(x), atol=1e-4)


def test_text_tensors_are_refused_with_what_to_do() -> None:
    """The trainer cannot learn from BYTES: the error names the tensor and two ways out."""
    with pytest.raises(ConfigError, match=r"'words' has datatype BYTES.*embeddings"):
        width_of((TensorSpec(name="words", datatype="BYTES", shape=(1,)),))


@pytest.mark.parametrize("name", ["features", "embedding", "mean", "weights", "logits", "raw", "standard"])
def test_a_project_may_call_its_tensors_what_it_likes(name: str) -> None:
    """Names that the graph might use inside (two of the examples do) neither break the export nor change the answers."""
    model, x = digits_model()
    run = session(export(model, (TensorSpec(name=name, shape=(64,)),), 1.0))
    np.testing.assert_allclose(run.run(["probabilities"], {name: x[:20]})[0], model.probabilities(x[:20]), atol=1e-4)


@pytest.mark.parametrize("name", ["probabilities", "members"])
def test_a_tensor_with_the_name_of_an_output_is_refused_at_the_start(name: str) -> None:
    """One graph cannot have two things of one name: the project file is told so before any label is spent."""
    with pytest.raises(ConfigError, match="name of an output"):
        width_of((TensorSpec(name=name, shape=(4,)),))

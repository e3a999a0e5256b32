"""Models of every common kind answer as their own library does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.support.models import Array, committee, dense, exported, model_of, points, softmax
from tiebreak.contracts.errors import ModelRefused
from tiebreak.runtime.model_graph import describe, parse
from tiebreak.runtime.model_plan import Wanted, plan_model
from tiebreak.runtime.onnx_session import ModelSession

X = points()
THREE = np.array(["b", "a", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]
TWO = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
W3 = points(4, 3, seed=1)
W1 = points(4, 1, seed=2)


def session_of(model: bytes, **wanted: Any) -> ModelSession:
    fields = {"inputs": {"x": ("FP32", (4,))}, "classes": ("a", "b", "c"), **wanted}
    return ModelSession(model, plan_model(describe(parse(model)), Wanted(**fields)))


@pytest.mark.parametrize("zipmap", [None, False, True], ids=["default", "tensor", "maps"])
@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(20, random_state=0),
        GradientBoostingClassifier(n_estimators=5),
        GaussianNB(),
        MLPClassifier((8,), max_iter=30, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_scikit_learn_classifier_scores_as_in_scikit_learn(estimator: Any, zipmap: bool | None) -> None:
    """Whether skl2onnx writes maps or a tensor: the probabilities are the estimator's own, under the graph's class order."""
    estimator.fit(X, THREE)
    session = session_of(exported(estimator, X, zipmap=zipmap), classes=("c", "b", "a"))
    assert session.plan.classes == ("a", "b", "c")
    np.testing.assert_allclose(session.answer({"x": X}).probabilities, estimator.predict_proba(X), atol=2e-6)


def test_number_labels_are_positions_in_the_projects_list() -> None:
    """A model trained on 0, 1, 2 gives columns in that order: they take the project's names."""
    classifier = LogisticRegression().fit(X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5))
    assert session_of(exported(classifier, X), classes=("low", "middle", "high")).plan.classes == (
        "low",
        "middle",
        "high",
    )


def test_number_labels_that_are_the_projects_names_keep_the_graphs_order() -> None:
    """Digits written as numbers match classes written as text."""
    classifier = LogisticRegression().fit(X, (X[:, 0] > 0).astype(int) + 7)
    assert session_of(exported(classifier, X), classes=("8", "7")).plan.classes == ("7", "8")


@pytest.mark.parametrize(
    "regressor", [LinearRegression(), RandomForestRegressor(5, random_state=0)], ids=["linear", "forest"]
)
def test_a_regressor_gives_values(regressor: Any) -> None:
    """A regressor has no classes: k is 0 and each event has one value."""
    regressor.fit(X, X[:, 0] * 3)
    answers = session_of(exported(regressor, X), classes=(), open_set=True).answer({"x": X})
    assert answers.values is not None
    np.testing.assert_allclose(answers.values, regressor.predict(X), atol=1e-4)
    assert answers.probabilities.shape == (300, 0)


@pytest.mark.parametrize("output", ["output", "scores", "y"])
@pytest.mark.parametrize("batch", ["batch_size", "N", None, 1, 7, 64], ids=str)
@pytest.mark.parametrize("squash", ["", "Softmax", "LogSoftmax"])
def test_logits_and_probabilities_are_told_apart(output: str, batch: int | str | None, squash: str) -> None:
    """Whatever the output and the batch axis are called, and with a fixed batch size too: the probabilities are the same."""
    answers = session_of(dense(W3, squash=squash, output=output, batch=batch)).answer({"x": X})
    np.testing.assert_allclose(answers.probabilities, softmax(X @ W3), atol=1e-6)


@pytest.mark.parametrize("squash", ["", "Sigmoid"])
def test_one_column_is_the_second_of_two_classes(squash: str) -> None:
    """A binary head with one output, logit or probability, gives both columns."""
    answers = session_of(dense(W1, squash=squash), classes=("no", "yes")).answer({"x": X})
    yes = 1 / (1 + np.exp(-(X @ W1)))
    np.testing.assert_allclose(answers.probabilities, np.concatenate([1 - yes, yes], axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "datatype"),
    [("float16", "FP16"), ("float64", "FP64"), ("int64", "INT64"), ("uint8", "UINT8")],
)
def test_inputs_of_every_common_number_type(dtype: str, datatype: str) -> None:
    """Half and double floats, whole numbers and image bytes: the graph gets the type that it asks for."""
    rows = np.abs(X * 3).astype(dtype)
    answers = session_of(dense(W3, dtype=dtype), inputs={"x": (datatype, (4,))}).answer({"x": rows})
    np.testing.assert_allclose(answers.probabilities, softmax(rows.astype(np.float64) @ W3), atol=5e-3)
    np.testing.assert_allclose(answers.probabilities.sum(axis=1), 1, atol=1e-6)


def test_pictures_keep_their_axes() -> None:
    """A convolution over image bytes, channels first, as image models are exported: cast, convolved, averaged, two classes."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["floats", "w"], ["maps"], kernel_shape=[2, 2]),
            helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["logits"]),
        ],
        "pictures",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch_size", 3, 5, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch_size", 2])],
        [numpy_helper.from_array(points(2, 12, seed=3).reshape(2, 3, 2, 2) / 100, "w")],
    )
    session = session_of(model_of(graph), inputs={"image": ("UINT8", (3, 5, 4))}, classes=("cat", "dog"))
    images = np.random.default_rng(4).integers(0, 256, (9, 3, 5, 4), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(images.astype(np.float64), (2, 2), axis=(2, 3))
    kernels = points(2, 12, seed=3).reshape(2, 3, 2, 2) / 100
    logits = np.einsum("nchwij,kcij->nkhw", windows, kernels).mean(axis=(2, 3))
    np.testing.assert_allclose(session.answer({"image": images}).probabilities, softmax(logits), atol=1e-5)


def test_a_project_may_hold_a_narrower_type_than_the_graph_takes() -> None:
    """Image bytes for a float graph are widened; floats for a whole-number graph are refused."""
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    answers = session_of(dense(W3), inputs={"x": ("UINT8", (4,))}).answer({"x": rows})
    np.testing.assert_allclose(answers.probabilities, softmax(rows.astype(np.float32) @ W3), atol=1e-6)
    with pytest.raises(ModelRefused, match="is INT64 in the graph, FP32 in the project"):
        session_of(dense(W3, dtype="int64"))


def test_several_named_inputs_and_text() -> None:
    """A graph over columns, one of them text, is fed by name."""
    graph = helper.make_graph(
        [
            helper.make_node(
                "LabelEncoder",
                ["word"],
                ["number"],
                domain="ai.onnx.ml",
                keys_strings=["hot", "cold"],
                values_floats=[1.0, -1.0],
            ),
            helper.make_node("Concat", ["number", "size"], ["row"], axis=1),
            helper.make_node("MatMul", ["row", "w"], ["logits"]),
        ],
        "columns",
        [
            helper.make_tensor_value_info("word", TensorProto.STRING, [None, 1]),
            helper.make_tensor_value_info("size", TensorProto.FLOAT, [None, 1]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.array([[1.0, -1.0], [2.0, 0.0]], np.float32), "w")],
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8
    )
    session = session_of(
        proto.SerializeToString(), inputs={"size": ("FP32", (1,)), "word": ("BYTES", (1,))}, classes=("big", "small")
    )
    words = np.array([["hot"], ["cold"], ["unheard"]], dtype=object)
    sizes = np.array([[1.0], [0.5], [0.0]], np.float32)
    number = np.array([[1.0], [-1.0], [0.0]])
    expected = softmax(np.concatenate([number, sizes], axis=1) @ np.array([[1.0, -1.0], [2.0, 0.0]]))
    np.testing.assert_allclose(session.answer({"word": words, "size": sizes}).probabilities, expected, atol=1e-6)


def test_a_committee_graph_gives_members_and_embedding() -> None:
    """The trainer's graphs answer with all three outputs, and members keep their axis first."""
    weights = np.stack([points(4, 3, seed=s) for s in range(5)])
    answers = session_of(committee(weights)).answer({"x": X})
    members = softmax(np.einsum("nd,mdk->mnk", X, weights))
    assert answers.members is not None
    assert answers.embedding is not None
    np.testing.assert_allclose(answers.members, members, atol=1e-6)
    np.testing.assert_allclose(answers.probabilities, members.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(answers.embedding, np.tanh(X), atol=1e-6)


@pytest.mark.parametrize("squash", ["", "Softmax"])
def test_temperature_softens_without_changing_the_winner(squash: str) -> None:
    """Calibration divides the logits, also where the graph gives probabilities."""
    model = dense(W3, squash=squash)
    session = ModelSession(model, session_of(model).plan, temperature=2.5)
    np.testing.assert_allclose(session.answer({"x": X}).probabilities, softmax(X @ W3 / 2.5), atol=1e-5)


def embedding_table(rows: int) -> bytes:
    """A graph that fails as a whole when one row's number lies outside its table."""
    table: Array = np.eye(rows, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["t", "x"], ["vectors"], axis=0),
            helper.make_node("Squeeze", ["vectors", "one"], ["logits"]),
        ],
        "table",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["n", 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", rows])],
        [numpy_helper.from_array(table, "t"), numpy_helper.from_array(np.array([1]), "one")],
    )
    return model_of(graph)


def test_an_input_the_graph_fails_on_costs_its_own_row_alone() -> None:
    """onnxruntime fails the whole batch for one number outside a table: the other rows are answered all the same."""
    session = session_of(embedding_table(3), inputs={"x": ("INT64", (1,))})
    answered = session.answer({"x": np.array([[0], [99], [2], [1], [-77]])}).probabilities
    alone = softmax(np.eye(3))
    np.testing.assert_allclose(answered[[0, 2, 3]], alone[[0, 2, 1]], atol=1e-6)
    assert np.isnan(answered).all(axis=1).tolist() == [False, True, False, False, True]


def test_a_large_batch_is_run_in_parts_and_nobody_sees_it() -> None:
    """More rows than one run on a CPU takes: all three outputs are those of the whole, row for row."""
    weights = np.stack([points(4, 3, seed=s) for s in range(5)])
    rows = np.concatenate([X] * (1 + 600 // len(X)))[:600]
    answers = session_of(committee(weights)).answer({"x": rows})
    members = softmax(np.einsum("nd,mdk->mnk", rows, weights))
    assert answers.members is not None
    assert answers.embedding is not None
    np.testing.assert_allclose(answers.members, members, atol=1e-6)
    np.testing.assert_allclose(answers.probabilities, members.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(answers.embedding, np.tanh(rows), atol=1e-6)


@pytest.mark.parametrize(("width", "is_ours"), [(3, True), (4, False)])
def test_an_output_called_asking_is_taken_where_it_has_the_shape_of_the_scores(width: int, is_ours: bool) -> None:
    """Somebody's own model may call anything else so: it is left alone, and serves."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
            helper.make_node("MatMul", ["x", "v"], ["others"]),
            helper.make_node("Softmax", ["others"], ["asking"], axis=-1),
        ],
        "asks",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("asking", TensorProto.FLOAT, ["n", width]),
        ],
        [numpy_helper.from_array(W3, "w"), numpy_helper.from_array(points(4, width, seed=5), "v")],
    )
    answers = session_of(model_of(graph)).answer({"x": X[:7]})
    assert answers.probabilities.shape == (7, 3)
    assert (answers.asking is not None) is is_ours

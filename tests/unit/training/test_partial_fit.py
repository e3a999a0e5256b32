"""scikit-learn's `partial_fit` estimators behind the learner's port: one graph, judged and restored without the library."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto
from pydantic import ValidationError

from tests.support.labels import blob_labels, dataset_of, make_label, project_of
from tests.support.training import Running, log_for, publish_labels
from tiebreak.contracts.errors import ConfigError, ModelRefused
from tiebreak.contracts.project import Model, Project, TensorSpec, Training
from tiebreak.contracts.project_training import Estimator, Option
from tiebreak.contracts.tensors import FloatArray
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.training.dataset import training_set
from tiebreak.training.export import export, read_back
from tiebreak.training.export_graphs import GraphModel
from tiebreak.training.learner import TrainingSet
from tiebreak.training.sklearn_learners import contest_of, learner_of
from tiebreak.training.sklearn_partial_fit import PartialFit

PLANE = (TensorSpec(name="x", shape=(2,)),)
CLASSES = ("a", "b", "c")
PASSIVE: dict[str, Option] = {"loss": "hinge", "penalty": None, "learning_rate": "pa1", "eta0": 1.0}
ESTIMATORS = {
    "sgd": Estimator(name="SGDClassifier", options={}),
    "passive-aggressive": Estimator(name="SGDClassifier", options=PASSIVE),
    "perceptron": Estimator(name="MLPClassifier", options={"hidden_layer_sizes": (8, 8), "activation": "tanh"}),
    "perceptron-auto": Estimator(name="MLPClassifier", options={"batch_size": "auto"}),
    "bayes": Estimator(name="GaussianNB", options={}),
}
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=list(ESTIMATORS))


def labels_of(n: int, classes: tuple[str, ...] = CLASSES) -> TrainingSet:
    rows = dataset_of(blob_labels(n, classes=classes[:3], audit_every=0)).rows(audit=False)
    return training_set(rows, classes)


def points(n: int) -> FloatArray:
    return np.random.default_rng(5).normal(0.0, 3.0, (n, 2)).astype(np.float32)


@every_estimator
@pytest.mark.parametrize("classes", [("a", "b"), (*CLASSES, "nobody said so yet")], ids=["two", "four"])
def test_the_graph_answers_as_the_learner_does(estimator: Estimator, classes: tuple[str, ...]) -> None:
    """Probabilities, members and embedding of the served file, far outside of the labels too, and with a class without labels."""
    model = PartialFit(estimator, 3, 7).fit(labels_of(90, classes))
    x = np.concatenate([points(600), np.array([[1e30, -1e30], [0.0, np.finfo(np.float32).max]], np.float32)])
    served = onnxruntime.InferenceSession(export(model, PLANE, 1.7), providers=["CPUExecutionProvider"])
    p, members, embedding = served.run(["probabilities", "members", "embedding"], {"x": x})
    np.testing.assert_allclose(p, model.probabilities(x, 1.7), atol=1e-4)
    np.testing.assert_allclose(members, model.members(x, 1.7), atol=1e-4)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-4)
    np.testing.assert_array_equal(embedding, x)
    assert members.shape == (3, len(x), len(classes))
    assert not np.allclose(members[0], members[1])


@every_estimator
def test_it_learns_and_a_label_that_people_split_over_is_split(estimator: Estimator) -> None:
    """Blobs are told apart; where half of the votes said one class and half another, the answer is undecided between them."""
    x = points(0)
    split = [make_label(f"s{i}", "a", [20.0, 20.0], distribution={"a": 0.5, "b": 0.5}) for i in range(40)]
    rows = dataset_of([*split, *blob_labels(120, audit_every=0)]).rows(audit=False)
    model = PartialFit(estimator, 2, 7).fit(training_set(rows, CLASSES))
    labels = labels_of(120)
    assert (model.probabilities(labels.x).argmax(axis=1) == labels.targets.argmax(axis=1)).mean() > 0.85
    p = model.probabilities(np.array([[20.0, 20.0]], np.float32))[0]
    assert p[:2].sum() > 0.5
    assert model.probabilities(x).shape == (0, 3)


@every_estimator
def test_the_file_holds_the_whole_state_and_the_same_set_the_same_bytes(estimator: Estimator) -> None:
    """A champion is restored from the store and judged; a refit of the same labels makes the same file, another seed does not."""
    model = PartialFit(estimator, 3, 7).fit(labels_of(60))
    data = export(model, PLANE, 2.5)
    back = read_back(data)
    assert back is not None
    assert isinstance(back[0], GraphModel)
    assert (back[0].digest(), back[0].size, back[0].width, back[1]) == (model.digest(), 3, 2, 2.5)
    assert export(PartialFit(estimator, 3, 7).fit(labels_of(60)), PLANE, 2.5) == data
    assert export(PartialFit(estimator, 3, 8).fit(labels_of(60)), PLANE, 2.5) != data


@every_estimator
def test_a_step_takes_in_what_came_since_and_leaves_its_base_alone(estimator: Estimator) -> None:
    """Beyond `refit_below` an estimator goes on: new labels change it, the same step gives the same bits, the base stays."""
    learner = PartialFit(estimator, 2, 7)
    first, all_of_them = labels_of(200), labels_of(260)
    base = learner.base(first)
    before = base.after(first).digest()
    stepped = base.after(all_of_them).digest()
    assert stepped != before
    assert base.after(all_of_them).digest() == stepped
    assert learner.base(first).after(all_of_them).digest() == stepped
    assert base.after(first).digest() == before


def test_a_step_from_a_base_still_learns() -> None:
    """Labels that came since the base and say something else win the region that only they are in."""
    learner = PartialFit(ESTIMATORS["bayes"], 2, 7)
    old = blob_labels(60, audit_every=0)
    far = [make_label(f"far{i}", "b", [-30.0 + i % 3, 30.0 + i % 2], settled_ms=5000 + i) for i in range(40)]
    first, more = (training_set(dataset_of(part).rows(audit=False), CLASSES) for part in (old, [*old, *far]))
    base = learner.base(first)
    spot = np.array([[-29.0, 30.0]], np.float32)
    known = [int(model.probabilities(spot).argmax()) for model in (base.after(first), base.after(more))]
    assert known[1] == CLASSES.index("b")
    assert (base.after(more).probabilities(first.x).argmax(axis=1) == first.targets.argmax(axis=1)).mean() > 0.85


def test_names_of_classes_are_examples_for_it_too() -> None:
    """With `model.class_vectors` the estimator that knows the names comes first, the one that does not stays in the contest."""
    training = Training(learner="partial_fit", committee=1)
    plans = contest_of(training, 2, names={"a": np.zeros(2, np.float32)}).plans
    assert [plan.name for plan in plans] == ["partial_fit_names", "partial_fit"]
    with pytest.raises(ValueError, match="no labels"):
        learner_of(training).fit(training_set((), CLASSES))


async def test_a_project_with_an_estimator_trains_passes_the_gate_and_is_rebuilt_to_the_bit(tmp_path: Path) -> None:
    """From labels to a file that the sandbox accepts; a trainer that lost its ledger and reads all at once ends at the same file."""
    chosen = Estimator(name="MLPClassifier", options={"hidden_layer_sizes": (12,)})
    training = Training(
        learner="partial_fit", estimator=chosen, committee=3, min_labels=10, step_s=0.05, refit_below=40
    )
    project = project_of([2], CLASSES, training=training)
    log = await log_for(project)
    async with Running(project, log, tmp_path / "first") as run:
        await publish_labels(log, project, blob_labels(60))
        await run.trains(60)
        await publish_labels(log, project, blob_labels(240, seed=3))
        await run.trains(300)
    last = run.candidates[-1]
    assert await SandboxProbe(project).check(last, None) == ()
    assert last.evaluation.accuracy.estimate > 0.8
    async with Running(project, log, tmp_path / "again") as again:
        await again.trains(300)
    assert (again.candidates[-1].digest, again.candidates[-1].model) == (last.digest, last.model)


def test_a_restored_file_runs_nothing_but_the_operators_of_heads() -> None:
    """A file that names our trainer as its maker and hides another operator among the heads is refused, and not run."""
    proto = ModelProto()
    proto.ParseFromString(export(PartialFit(ESTIMATORS["sgd"], 1, 7).fit(labels_of(30)), PLANE, 1.0))
    node = next(node for node in proto.graph.node if node.op_type == "MatMul" and "heads" in node.output[0])
    node.op_type, node.domain = "Loop", "somebody.else"
    with pytest.raises(ModelRefused) as refused:
        read_back(proto.SerializeToString())
    assert "Operators ['Loop'] have no place" in str(refused.value.__cause__)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("SGDClassifier", {"alfa": 1.0}, "unexpected keyword argument 'alfa'"),
        ("SGDClassifier", {"alpha": -1.0}, "'alpha' parameter of SGDClassifier"),
        ("MLPClassifier", {"solver": "lbfgs"}, "partial_fit"),
        ("MLPClassifier", {"hidden_layer_sizes": "many"}, "cannot be used with options"),
        ("MLPClassifier", {"batch_size": 2.5}, "'batch_size' parameter of MLPClassifier"),
    ],
)
def test_an_option_that_the_estimator_refuses_is_told_before_any_label(
    name: str, options: dict[str, Option], reason: str
) -> None:
    """The trainer does not start: the message names the estimator, the options and what scikit-learn says of them."""
    estimator = Estimator.model_validate({"name": name, "options": options})
    with pytest.raises(ConfigError, match=reason) as refused:
        PartialFit(estimator, 1, 7)
    assert f"training.estimator: {name}" in str(refused.value)


def test_without_skl2onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project that asks for it on a machine that lacks the converter is told what to install."""
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ConfigError, match="needs scikit-learn and skl2onnx") as refused:
        learner_of(Training(learner="partial_fit"))
    assert "partial-fit" in str(refused.value.fix)


def test_keys_without_effect_or_of_the_trainer_are_refused() -> None:
    """An estimator beside another learner, a seed in its options, kernels, several classes, naive Bayes behind an encoder."""
    with pytest.raises(ValidationError, match="estimator: belongs to learner 'partial_fit'"):
        Training(estimator=ESTIMATORS["bayes"])
    with pytest.raises(ValidationError, match="random_state is set by the trainer"):
        Estimator(options={"random_state": 3})
    with pytest.raises(ValidationError, match="hidden: belongs to learner 'softmax'"):
        Training(learner="partial_fit", hidden=5)
    numbers = {"labeling": {"answer": {"kind": "numeric", "least": 0, "most": 1}}, "classes": {"names": []}}
    plain = project_of([2], CLASSES, training=Training(learner="partial_fit")).model_dump(exclude_unset=True)
    with pytest.raises(ValidationError, match="partial_fit: single classes only, not numeric"):
        Project.model_validate(plain | numbers)
    bayes = Training(learner="partial_fit", estimator=ESTIMATORS["bayes"])
    with pytest.raises(ValidationError, match="GaussianNB is for the columns of a table"):
        Project.model_validate(plain | {"training": bayes, "model": Model(encoder="e.onnx")})

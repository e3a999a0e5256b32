"""The learner: good with few labels, the same bits from the same set, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.digits import TEN, digits, drifted
from tests.support.labels import blob_labels, dataset_of, make_label, project_of, revised
from tiebreak.contracts.project import Project, Training
from tiebreak.training.dataset import training_set
from tiebreak.training.fitting import material_of
from tiebreak.training.heads import SigmoidCommittee
from tiebreak.training.learner import Learner, Settings, SoftmaxCommittee, SoftmaxModel, TrainingSet, bootstrap
from tiebreak.training.names import Named
from tiebreak.training.plans import Plan
from tiebreak.training.sklearn_learners import contest_of, learner_of
from tiebreak.training.targets import SomeClasses

LEARNER = SoftmaxCommittee(Settings(committee=3))


def fit_digits(n: int) -> tuple[SoftmaxModel, float, float]:
    x, y = digits()
    other = drifted(x)
    half = n // 2
    rows = np.concatenate([x[:half], other[half:n]])
    targets = np.eye(10)[[TEN.index(v) for v in y[:n]]]
    ids = tuple(f"l{i}" for i in range(n))
    model = SoftmaxCommittee(Settings()).fit(TrainingSet(ids, TEN, rows, targets, np.ones(n)))
    truth = np.array([TEN.index(v) for v in y[1200:]])
    before, after = (float((model.probabilities(rest[1200:]).argmax(axis=1) == truth).mean()) for rest in (x, other))
    return model, before, after


def test_500_labels_over_a_drift_give_nine_in_ten_on_both_sides_of_it() -> None:
    """250 digits and 250 turned, noisier ones are enough for 90 % on held-out digits of both kinds."""
    _, before, after = fit_digits(500)
    assert before > 0.9
    assert after > 0.9


def test_50_labels_are_far_better_than_chance() -> None:
    """A young model must already be worth serving: 50 labels over two worlds give well above one in ten."""
    _, before, after = fit_digits(50)
    assert min(before, after) > 0.4


def test_what_serves_saw_every_label_and_its_members_disagree() -> None:
    """A head without a bootstrap serves, so that the only label of a class counts; members differ; rows are distributions."""
    model, _, _ = fit_digits(100)
    x, _ = digits()
    members = model.members(x[:20])
    assert members.shape == (5, 20, 10)
    np.testing.assert_allclose(members.sum(axis=2), 1.0, atol=1e-5)
    served = model.probabilities(x[:20])
    np.testing.assert_allclose(served.sum(axis=1), 1.0, atol=1e-5)
    assert not all(np.allclose(served, member) for member in members)
    assert not np.allclose(members[0], members[1])


def test_the_only_label_of_a_class_is_learned_whatever_the_bootstrap_drew() -> None:
    """Members leave a label out with chance 0.37: what serves never does."""
    for i in range(20):
        lone = make_label(f"lone-{i}", "c", [0.0, -9.0])
        rows = dataset_of([*blob_labels(20, classes=("a", "b"), audit_every=0), lone]).rows(audit=False)
        model = LEARNER.fit(training_set(rows, ("a", "b", "c")))
        assert model.probabilities(np.array([lone.features], np.float32)).argmax() == 2


def test_wide_inputs_go_without_kernels() -> None:
    """Embeddings of 384 columns are learned linearly: no landmark, and still right on held-out rows."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 384))
    kinds = np.arange(300) % 6
    x = (centres[kinds] + rng.normal(0, 2.0, (300, 384))).astype(np.float32)
    ids = tuple(f"l{i}" for i in range(200))
    model = LEARNER.fit(TrainingSet(ids, tuple("abcdef"), x[:200], np.eye(6)[kinds[:200]], np.ones(200)))
    assert model.features.landmarks.shape == (0, 384)
    assert float((model.probabilities(x[200:]).argmax(axis=1) == kinds[200:]).mean()) > 0.95


def test_a_soft_label_is_learned_as_the_doubt_it_is() -> None:
    """Where people split evenly over two classes, the model is undecided too instead of picking one."""
    labels = [make_label(f"s{i}", "a", [0.0, 0.0], distribution={"a": 0.5, "b": 0.5}) for i in range(40)]
    rows = dataset_of([*labels, *blob_labels(60)]).rows(audit=False)
    p = LEARNER.fit(training_set(rows, ("a", "b", "c"))).probabilities(np.zeros((1, 2), np.float32))[0]
    assert abs(float(p[0] - p[1])) < 0.15


@pytest.mark.parametrize(("share", "most"), [(0.0, 1.0), (0.3, 0.8), (0.6, 0.6)])
def test_label_smoothing_bounds_how_sure_a_head_becomes(share: float, most: float) -> None:
    """`training.label_smoothing` is taken from what was said and spread over all classes; without it a head is as sure as it can be."""
    rows = dataset_of(blob_labels(300, audit_every=0)).rows(audit=False)
    labels = training_set(rows, ("a", "b", "c"))
    said = learner_of(Training(label_smoothing=share, l2=1e-6)).fit(labels).probabilities(labels.x)
    right = said[np.arange(len(rows)), labels.targets.argmax(axis=1)]
    assert float(np.quantile(right, 0.9)) == pytest.approx(most, abs=0.05)


@pytest.mark.parametrize(("share", "most"), [(0.0, 1.0), (0.4, 0.8)])
def test_label_smoothing_of_several_classes_goes_towards_a_half(share: float, most: float) -> None:
    """Each class is a question of its own: half the share is what an answer that is sure loses."""
    x = np.random.default_rng(3).normal(size=(300, 2)).astype(np.float32)
    labels = TrainingSet(tuple(f"l{i}" for i in range(300)), ("a", "b"), x, (x > 0.0).astype(np.float64), np.ones(300))
    training = Training(label_smoothing=share, l2=1e-6, learner="softmax")
    heads = contest_of(training, 2, SomeClasses(("a", "b"))).plans[0].learner.fit(labels)
    said = heads.probabilities(np.array([[1.5, 1.5], [-1.5, -1.5]], np.float32))
    np.testing.assert_allclose(said, [[most, most], [1.0 - most, 1.0 - most]], atol=0.08)


def test_label_smoothing_is_refused_where_nothing_would_heed_it() -> None:
    """Trees, scikit-learn's estimators and numbers know no such targets: the project file's error names the key."""
    for learner in ("trees", "partial_fit"):
        with pytest.raises(ValidationError, match="label_smoothing: belongs to learner 'softmax'"):
            Training(learner=learner, label_smoothing=0.1)
    with pytest.raises(ValidationError, match=r"training\.label_smoothing: spreads an answer over classes"):
        Project.model_validate(
            {
                "project": "tests",
                "input": {"tensors": [{"name": "x", "shape": [4]}]},
                "classes": {},
                "labeling": {"answer": {"kind": "numeric", "most": 50, "step": 0}},
                "training": {"label_smoothing": 0.1},
            }
        )


VECTORS = {"a": np.array([0.0, 3.0], np.float32)}


@pytest.mark.parametrize(
    "learner", [LEARNER, Named(LEARNER, VECTORS), SigmoidCommittee(Settings())], ids=lambda one: type(one).__name__
)
def test_a_plan_is_judged_without_fitting_members_and_predicts_the_same_to_the_bit(learner: Learner) -> None:
    """Members do not serve: what a contest says must not depend on whether they stood by."""
    rows = dataset_of(blob_labels(200, audit_every=0)).rows(audit=False)
    plan = Plan("only", learner, 1000, 1000, 7)
    whole, alone = plan.fit(rows, ("a", "b", "c")), plan.predictor(rows, ("a", "b", "c"))
    x = np.random.default_rng(1).normal(size=(500, 2)).astype(np.float32) * 3
    assert alone.size == 0 < whole.size
    assert alone.probabilities(x).tolist() == whole.probabilities(x).tolist()


def test_an_empty_set_is_refused() -> None:
    """Nothing can be fitted to nothing: the error says so instead of a model of zeros."""
    with pytest.raises(ValueError, match="no labels"):
        LEARNER.fit(TrainingSet((), ("a", "b"), np.zeros((0, 2), np.float32), np.zeros((0, 2)), np.zeros(0)))


def test_bootstrap_counts_depend_on_the_label_alone() -> None:
    """A label's Poisson weights are the same in any batch, their mean is 1, and about 37 % are 0."""
    ids = [f"l{i}" for i in range(4000)]
    counts = bootstrap(ids, 5, 7)
    np.testing.assert_array_equal(counts[:, 10:20], bootstrap(ids[10:20], 5, 7))
    assert abs(counts.mean() - 1.0) < 0.03
    assert abs((counts == 0).mean() - np.exp(-1.0)) < 0.02


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_reach_the_weights(random: object) -> None:
    """The topic's partitions interleave anew on each replay: revisions and withdrawals included, the digest is one."""
    labels = blob_labels(40)
    labels += [revised(labels[3], "c", 2000), make_label("gone", "a", [9, 9], settled_ms=5)]
    labels += [make_label("gone", "a", [9, 9], revision=2, withdrawn=True, settled_ms=2001), *labels[:5]]
    shuffled = list(labels)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _digest(shuffled) == _digest(labels)


def _digest(labels: list) -> str:  # type: ignore[type-arg]
    material = material_of(dataset_of(labels), project_of([2], "abc", training=Training(refit_below=20)))
    return LEARNER.fit(training_set(material.training, material.classes)).digest()


@pytest.mark.parametrize(("hidden", "units"), [(None, 40), (0, 0), (16, 16)])
def test_the_project_says_how_many_hidden_units_there_are(hidden: int | None, units: int) -> None:
    """`training.hidden` bounds the kernels of the model (at most one per label); 0 is a linear head."""
    labels = training_set(dataset_of(blob_labels(40, audit_every=0)).rows(audit=False), ("a", "b", "c"))
    model = learner_of(Training(hidden=hidden, committee=2)).fit(labels)
    assert isinstance(model, SoftmaxModel)
    assert len(model.features.landmarks) == units

"""Numbers and lists of classes as targets: their heads, their graphs, and the whole way from labels to what serves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from tests.support.eventually import eventually
from tests.support.labels import dataset_of, make_label
from tests.support.streaming import StreamBench
from tests.support.training import Running, log_for, publish_labels
from tiebreak.contracts.codec import decode_prediction, decode_task
from tiebreak.contracts.messages import Label, ModelEvent
from tiebreak.contracts.project import Project, Training
from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.gate import Verdict, judge
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.model_graph import describe, parse
from tiebreak.runtime.model_plan import plan_model
from tiebreak.runtime.onnx_session import ModelSession
from tiebreak.runtime.sandbox import wanted_by
from tiebreak.scoring.stage import Scorer
from tiebreak.training.dataset import Aside, refuse, training_set
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.export import read_back
from tiebreak.training.features import fit_features
from tiebreak.training.fitting import Stamp, gathered, material_of, planned, train
from tiebreak.training.heads import HeadsModel, RidgeCommittee
from tiebreak.training.learner import Settings, SoftmaxCommittee, TrainingSet, basis_of, ties_for
from tiebreak.training.sklearn_learners import contest_of, learner_of
from tiebreak.training.solver import Solver
from tiebreak.training.targets import Number, OneClass, SomeClasses, target_of, truth_of

TOPICS = ("billing", "delivery", "refund")
SECTIONS = {
    "input": {"tensors": [{"name": "x", "shape": [4]}]},
    "training": {"min_labels": 10, "step_labels": 10, "step_s": 0.05, "committee": 4},
    "sampling": {"target_share": 0.1},
    "budget": {"labels_per_hour": 1e6, "carry_over": 1000},
    "gate": {"rollout": "direct"},
}
NUMBERS = Project.model_validate(
    {**SECTIONS, "project": "tests", "classes": {}, "labeling": {"answer": {"kind": "numeric", "most": 50, "step": 0}}}
)
SEVERAL = Project.model_validate(
    {**SECTIONS, "project": "tests", "classes": {"names": TOPICS}, "labeling": {"answer": {"kind": "multi"}}}
)
LEVELS = Project.model_validate(
    {
        **SECTIONS,
        "project": "tests",
        "classes": {"names": ["low", "mid", "high"]},
        "labeling": {"answer": {"kind": "ordinal"}},
    }
)
JUDGED = {ModelEvent.PROMOTED, ModelEvent.HELD}
PROJECTS = [NUMBERS, SEVERAL, LEVELS]


def points(n: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)


def answer_to(project: Project, x: FloatArray) -> str:
    """What everybody says of an event of this project."""
    if project is NUMBERS:
        return f"{np.clip(25 + 8 * x[0] - 4 * x[1], 0, 50):.6g}"
    if project is LEVELS:
        return project.classes.names[int(np.digitize(x[0], [-0.5, 0.5]))]
    chosen = [f'"{name}"' for name, value in zip(TOPICS, x, strict=False) if value > 0.3]
    return f"[{','.join(chosen)}]"


def labels_of(project: Project, n: int, seed: int = 0) -> list[Label]:
    return [
        make_label(f"e{seed}-{i}", answer_to(project, x), x.tolist(), audit=i % 4 == 1, settled_ms=1000 + i)
        for i, x in enumerate(points(n, seed))
    ]


def model_of(project: Project, labels: Sequence[Label]) -> tuple[bytes, str]:
    contest = contest_of(project.training, 4, target_of(project))
    plan, wanted = planned(contest, gathered(dataset_of(labels), project))
    made = train(plan.learner, project, wanted, None, Stamp(len(labels), 1))
    assert made.manifest.form is project.labeling.answer.kind.form
    return made.model, made.digest


@pytest.mark.parametrize("project", PROJECTS, ids=["numeric", "multi", "ordinal"])
def test_the_same_set_of_labels_gives_the_same_bytes_in_any_order(project: Project) -> None:
    """Weights and file are functions of the set: shuffled labels give both to the bit, another label changes them."""
    labels = labels_of(project, 60)
    mixed = [labels[i] for i in np.random.default_rng(1).permutation(60)]
    assert model_of(project, labels) == model_of(project, mixed)
    assert model_of(project, labels[:-2]) != model_of(project, labels)


@pytest.mark.parametrize("project", PROJECTS, ids=["numeric", "multi", "ordinal"])
def test_the_graph_says_what_the_learner_says_and_is_read_back(project: Project) -> None:
    """The exported file under onnxruntime gives the learner's answers and members, and read back it has the same digest."""
    data, digest = model_of(project, labels_of(project, 80))
    read = read_back(data)
    assert read is not None
    model, temperature = read
    assert model.digest() == digest
    session = ModelSession(data, plan_model(describe(parse(data)), wanted_by(project)))
    x = points(50, seed=5) * 3
    got, said = session.answer({"x": x}), model.probabilities(x, temperature)
    assert session.plan.form is project.labeling.answer.kind.form
    table = got.probabilities if got.values is None else got.values[:, None]
    np.testing.assert_allclose(table, said, atol=1e-3)
    assert got.members is not None
    np.testing.assert_allclose(got.members, model.members(x, temperature), atol=1e-3)
    if project is NUMBERS:
        assert got.values is not None
        assert (got.values.min() >= 0.0, got.values.max() <= 50.0) == (True, True)
    if project is SEVERAL:
        assert np.abs(got.probabilities.sum(axis=1) - 1.0).max() > 0.1


def test_twenty_labels_of_noise_are_answered_with_the_mean_and_twenty_of_diabetes_better() -> None:
    """Leave-one-out errors choose the penalty: noise teaches next to nothing, a real table beats the mean by a tenth."""
    x, y = load_diabetes(return_X_y=True)
    against_mean: dict[str, list[float]] = {"noise": [], "diabetes": []}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(y))
        for name, truth in (("noise", rng.normal(150, 70, len(y))), ("diabetes", y)):
            few, rest = order[:20], order[20:]
            labels = TrainingSet(
                tuple(f"{seed}-{i}" for i in few), (), x[few].astype(np.float32), truth[few][:, None], np.ones(20)
            )
            model = RidgeCommittee(Settings(), 0.0, 400.0).fit(labels)
            said = model.probabilities(x[rest].astype(np.float32))[:, 0]
            flat = np.abs(truth[few].mean() - truth[rest]).mean()
            against_mean[name].append(float(np.abs(said - truth[rest]).mean() / flat))
            assert model.members(x[rest].astype(np.float32)).std(axis=0).mean() > 0.0
    assert np.mean(against_mean["noise"]) < 1.05
    assert np.mean(against_mean["diabetes"]) < 0.9


@pytest.mark.parametrize(
    ("project", "text"),
    [
        (NUMBERS, "51"),
        (NUMBERS, "nan"),
        (NUMBERS, "many"),
        (SEVERAL, '["other"]'),
        (SEVERAL, "billing"),
        (SEVERAL, "[1]"),
    ],
)
def test_an_answer_that_is_no_target_is_kept_aside_with_the_reason(project: Project, text: str) -> None:
    """Outside the range, not a number, an unknown class, not a list: refused as a bad answer, and a good one is taken."""
    refused = refuse(make_label("e", text, [0, 0, 0, 0]), project, 4)
    assert refused is not None
    assert refused[0] is Aside.BAD_ANSWER
    assert refuse(make_label("e", answer_to(project, points(1)[0]), [0, 0, 0, 0]), project, 4) is None


def test_earned_are_what_the_table_of_targets_says() -> None:
    """Numbers by their part of the range, lists by Jaccard, levels by how far, classes by right or wrong; NaN earns nothing."""
    number = Number(0.0, 50.0)
    said = np.array([[20.0], [50.0], [np.nan]], np.float32)
    assert number.credit(said, truth_of(number, ["25", "0", "1"], ())).tolist() == [0.9, 0.0, 0.0]
    several = SomeClasses(("a", "b"))
    sets = np.array([[0.9, 0.9], [0.1, 0.2], [0.1, 0.7]], np.float32)
    assert several.credit(sets, truth_of(several, ['["a"]', "[]", '["a"]'], ("a", "b"))).tolist() == [0.5, 1.0, 0.0]
    p = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    names = ("low", "mid", "high")
    assert OneClass(3).credit(p, truth_of(OneClass(3), ["high", "high", "low"], names)).tolist() == [0.0, 0.5, 1.0]
    assert OneClass().credit(p, truth_of(OneClass(), ["high", "mid", "odd"], names)).tolist() == [0.0, 1.0, 0.0]


@pytest.fixture
def scorers() -> Iterator[list[Scorer]]:
    made: list[Scorer] = []
    yield made
    for scorer in made:
        scorer.close()


@pytest.mark.parametrize("project", PROJECTS, ids=["numeric", "multi", "ordinal"])
async def test_from_labels_to_a_promoted_model_that_scores_and_asks(
    project: Project, tmp_path_factory: pytest.TempPathFactory, scorers: list[Scorer]
) -> None:
    """Labels on the log become a model that the sandbox and the gate pass; it then scores events and chooses some to ask about."""
    log, store = await log_for(project), MemoryModelStore()
    metrics, clock = Metrics(project.project), SystemClock()
    deployer = Deployer(project, Tools(store, log, SandboxProbe(project), metrics, clock))
    await deployer.start()
    labels = labels_of(project, 120)
    async with Running(project, log, tmp_path_factory.mktemp("ledger") / "l.sqlite", sink=deployer) as trainer:
        await publish_labels(log, project, labels[:60])
        await trainer.counts("tiebreak_training_steps_total", outcome="candidate")
        await publish_labels(log, project, labels[60:])

        async def all_judged() -> bool:
            newest = (await deployer.registry()).history[-1]
            return newest.dataset_version >= len(labels) and newest.event in JUDGED

        await eventually(all_judged)
    registry = await deployer.registry()
    await deployer.close(1.0)
    judged = [r for r in registry.history if r.event in JUDGED]
    assert judged[0].event is ModelEvent.PROMOTED
    assert judged[-1].reasons[-1] == target_of(project).measure
    manifest, data = await store.get(project.project, registry.champion)
    scorer = Scorer(project, metrics)
    scorers.append(scorer)
    await scorer.swap(manifest, data)
    bench = StreamBench(project, log)
    x = points(600, seed=9)
    await bench.send([(f"n{i}".encode(), row.tobytes()) for i, row in enumerate(x)])
    await bench.run(scorer)
    said = {p.event_id: p for p in (decode_prediction(r.value) for r in await bench.records(Topic.PREDICTIONS))}
    tasks = [decode_task(r.value) for r in await bench.records(Topic.TASKS)]
    assert len(said) == 600
    assert 20 < len(tasks) < 120
    assert {t.selection.audit for t in tasks} == {True, False}
    right = [agreed(project, said[f"n{i}"].label, said[f"n{i}"].values, row) for i, row in enumerate(x)]
    assert np.mean(right) > 0.75
    assert all(task.predicted for task in tasks)


def agreed(project: Project, label: str, values: tuple[float, ...], x: FloatArray) -> bool:
    truth = answer_to(project, x)
    return abs(values[0] - float(truth)) < 5.0 if project is NUMBERS else label == truth


class _Middle:
    """A learner that has learned nothing: the middle of the range for every event."""

    def fit(self, labels: TrainingSet) -> HeadsModel:
        features = fit_features(labels.x, 0, 1.0)
        bias = np.full((4, 1), 25.0, np.float32)
        return HeadsModel(Form.VALUES, (), features, np.zeros((4, 4, 1), np.float32), bias, 7, 0.0, 50.0)


def test_a_worse_regressor_is_held_with_reasons_in_the_range_of_the_answers() -> None:
    """A challenger that gives the middle of the range to all does not replace a champion that knows better."""
    labels = labels_of(NUMBERS, 400)
    material = material_of(dataset_of(labels), NUMBERS)
    plan = contest_of(NUMBERS.training, 4, target_of(NUMBERS)).plans[0]
    good = train(plan.learner, NUMBERS, material, None, Stamp(400, 1))
    read = read_back(good.model)
    assert read is not None
    serving = Serving("v1", Contender(*read, target=target_of(NUMBERS)))
    bad = train(_Middle(), NUMBERS, material, serving, Stamp(401, 1))
    decision = judge(bad.evaluation, (), NUMBERS.gate)
    assert decision.verdict is Verdict.HOLD
    assert any("worse by more than" in reason for reason in decision.reasons)
    assert "an absolute error of 50" in decision.reasons[-1]
    assert bad.evaluation.metrics["mean_absolute_error"] > good.evaluation.metrics["mean_absolute_error"]


@pytest.mark.parametrize("project", PROJECTS, ids=["numeric", "multi", "ordinal"])
def test_audit_labels_judge_the_plans_of_every_kind(project: Project) -> None:
    """A contest with the audit labels as witnesses comes to other scores than one without, whatever people answer."""
    material = gathered(dataset_of(labels_of(project, 900)), project)
    contest = contest_of(project.training, 4, target_of(project))
    alone = contest.scores(material.training, material.classes)
    heard = contest.scores(material.training, material.classes, material.audit)
    assert alone is not None
    assert heard is not None
    assert not np.array_equal(alone, heard)


@pytest.mark.parametrize("project", [NUMBERS, SEVERAL], ids=["numeric", "multi"])
async def test_a_graph_that_says_other_than_its_learner_is_refused(project: Project) -> None:
    """The golden batch compares numbers and lists as it does classes: an answer shifted beyond the tolerance is caught."""
    material = material_of(dataset_of(labels_of(project, 60)), project)
    plan = contest_of(project.training, 4, target_of(project)).plans[0]
    made = train(plan.learner, project, material, None, Stamp(60, 1))
    probe = SandboxProbe(project)
    assert await probe.check(made, None) == ()
    shift = 0.1 if project is NUMBERS else 0.01
    golden = replace(made.golden, probabilities=made.golden.probabilities + np.float32(shift))
    refused = await probe.check(replace(made, golden=golden), None)
    assert len(refused) == 1
    assert "golden batch is off" in refused[0]


def test_a_label_of_a_level_says_something_of_the_levels_beside_it() -> None:
    """Few labels of ten levels, held out: heads that heed the order come nearer than heads that do not, and nearly as fast."""
    names = tuple(f"level {i}" for i in range(10))
    rng, earned = np.random.default_rng(0), []
    x = rng.normal(size=(660, 4)).astype(np.float32)
    levels = np.clip(np.floor(5 + 2 * (x @ [1.0, -0.5, 0.25, 0.0] + rng.normal(0, 0.5, 660))), 0, 9).astype(int)
    labels = TrainingSet(tuple(map(str, range(60))), names, x[:60], np.eye(10)[levels[:60]], np.ones(60))
    for target in (OneClass(), OneClass(10)):
        model = learner_of(Training(committee=2), target).fit(labels)
        earned.append(float(OneClass(10).credit(model.probabilities(x[60:]), np.eye(10)[levels[60:]]).mean()))
    assert earned[1] > earned[0] + 0.02


def test_a_tied_head_goes_on_from_where_its_base_is() -> None:
    """Beyond `refit_below` a step begins at the base's weights, whatever ties them, and fits no worse than it."""
    material = material_of(dataset_of(labels_of(LEVELS, 400)), LEVELS)
    learner = learner_of(LEVELS.training, target_of(LEVELS))
    assert isinstance(learner, SoftmaxCommittee)
    labels = training_set(material.training, material.classes, target_of(LEVELS))
    base = learner.base(labels)
    basis, settings = basis_of(base.model.features, labels.x, base.back), Settings(ordered=True)
    solver = Solver(basis, labels.targets, settings.l2, ties_for(settings, labels.classes))
    begun = solver._tied(solver._inverse @ solver._from(base.head).reshape(base.head.shape))
    np.testing.assert_allclose(begun, base.head, atol=1e-6)
    before, after = (
        -np.log(model.probabilities(labels.x)[labels.targets > 0.5]).mean()
        for model in (base.model, base.after(labels))
    )
    assert after < before + 0.01

"""Which learners a project trains with, on how many labels each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Training
from tiebreak.contracts.tensors import Form
from tiebreak.training.contest import Contest
from tiebreak.training.discriminant import Discriminant, Taught
from tiebreak.training.heads import RidgeCommittee, SigmoidCommittee
from tiebreak.training.learner import Learner, Settings, SoftmaxCommittee
from tiebreak.training.names import Named, Teachable, Vectors
from tiebreak.training.plans import Plan
from tiebreak.training.sklearn_partial_fit import PartialFit
from tiebreak.training.sklearn_trees import SklearnTrees
from tiebreak.training.targets import CLASSES, Number, OneClass, Target

# Enough to learn a simple boundary, few enough to have left the last one behind soon after a drift.
_RECENT = 500


def learner_of(training: Training, target: Target = CLASSES) -> Learner:
    """What the project file asks for, or what ``auto`` begins with. Raises ConfigError where what it needs is not installed."""
    if training.learner == "trees":
        return SklearnTrees(training.committee, training.seed)
    return _teachable(training, target)


def contest_of(training: Training, width: int, target: Target = CLASSES, names: Vectors | None = None) -> Contest:
    """The plans for inputs of ``width`` numbers. ``auto`` has several, and trees among them where scikit-learn is installed.

    Columns of a table: kernels, trees, linear heads on what a step may fit and on less, and kernels with a short memory.
    Embeddings: linear heads, and a discriminant on the whole window. Heads of ordered classes heed their order. Numbers and several
    classes have heads of their own, on all labels or the newest.
    ``training.unlabelled`` events teach a discriminant more, the last of the plans: the contest says when it is on.
    ``names`` (single classes only): heads that know the names come first, those that do not stay in the contest.
    Raises ConfigError as :func:`learner_of` does.
    """
    limit = max(training.refit_below, training.min_labels)

    def plan(name: str, learner: Learner, newest: int = training.window, most: int = limit) -> Plan:
        return Plan(name, learner, min(newest, training.window), most, training.seed, target, training.propensity)

    wide = Settings().units(width) == 0
    _refuse_untaught(training, width)
    if target.form is not Form.CLASSES:
        name, heads = _heads_of(training, target)
        recent = [plan(f"{name}_recent", heads, _RECENT)] if training.learner == "auto" else []
        return Contest([plan(name, heads), *recent], training.seed, limit)
    name = "softmax" if training.learner == "auto" else training.learner
    plans = [plan(name, learner_of(training, target))]
    if names and training.learner != "trees":
        plans.insert(0, replace(plan(f"{name}_names", Named(_teachable(training, target), names)), without=(name,)))
    if training.learner == "auto" and wide:
        plans = _with_discriminants(plans, training, names, plan)
    elif training.learner == "auto":
        # Where a straight line is all there is to learn, kernels and replay only add noise.
        plans.append(plan("linear", _softmax(training, 0, target), limit))
        plans.append(plan("linear_recent", _softmax(training, 0, target), _RECENT))
        plans.append(plan("softmax_recent", _softmax(training, training.hidden, target), _RECENT))
        if importlib.util.find_spec("sklearn") is not None:
            plans.append(plan("trees", SklearnTrees(training.committee, training.seed)))
    return Contest(plans, training.seed, limit)


def _refuse_untaught(training: Training, width: int) -> None:
    if training.unlabelled and Settings().units(width):
        raise ConfigError(
            f"training.unlabelled: events of {width} numbers are learned from by kernels and trees, which it does not teach.",
            fix="Leave it out: it is for embeddings, of 256 numbers and more.",
        )


def _with_discriminants(
    plans: Sequence[Plan], training: Training, names: Vectors | None, plan: Callable[..., Plan]
) -> list[Plan]:
    whole, most = Discriminant(training.committee, training.seed), training.window
    found = [*plans, plan("discriminant", whole, most=most)]
    if names:
        named = plan("discriminant_names", Named(whole, names), most=most)
        found.insert(0, replace(named, without=("discriminant",)))
    if training.unlabelled:
        # Last: of blocks it has to predict better.
        taught = Taught(whole)
        found.append(replace(plan("taught", taught, most=most), without=("discriminant",)))
        if names:
            both = plan("taught_names", Named(taught, names), most=most)
            found.append(replace(both, without=("discriminant_names", "taught")))
    return found


def _heads_of(training: Training, target: Target) -> tuple[str, Learner]:
    settings = _settings(training, training.hidden)
    if isinstance(target, Number):
        return "ridge", RidgeCommittee(settings, target.least, target.most)
    return "sigmoids", SigmoidCommittee(settings)


def _teachable(training: Training, target: Target) -> Teachable:
    if training.learner == "partial_fit":
        return PartialFit(training.estimator, training.committee, training.seed)
    return _softmax(training, training.hidden, target)


def _softmax(training: Training, hidden: int | None, target: Target) -> SoftmaxCommittee:
    ordered = isinstance(target, OneClass) and target.levels > 1
    return SoftmaxCommittee(replace(_settings(training, hidden), ordered=ordered))


def _settings(training: Training, hidden: int | None) -> Settings:
    t = training
    return Settings(committee=t.committee, l2=t.l2, seed=t.seed, hidden=hidden, smoothing=t.label_smoothing)

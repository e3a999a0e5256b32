"""Which learners a project trains with, on how many labels each."""

from __future__ import annotations

import importlib.util

from tiebreak.contracts.project import Training
from tiebreak.training.contest import Contest, Plan
from tiebreak.training.discriminant import Discriminant
from tiebreak.training.learner import Learner, Settings, SoftmaxCommittee
from tiebreak.training.sklearn_trees import SklearnTrees

# Enough to learn a simple boundary, few enough to have left the last one behind soon after a drift.
_RECENT = 500


def learner_of(training: Training) -> Learner:
    """What the project file asks for, or what ``auto`` begins with. Raises ConfigError where what it needs is not installed."""
    if training.learner == "trees":
        return SklearnTrees(training.committee, training.seed)
    return _softmax(training, training.hidden)


def contest_of(training: Training, width: int) -> Contest:
    """The plans for inputs of ``width`` numbers. ``auto`` has several, and trees among them where scikit-learn is installed.

    Columns of a table: kernels, trees, and a linear head and kernels with a short memory. Embeddings: linear heads, and a
    discriminant on the whole window. Raises ConfigError as :func:`learner_of` does.
    """
    limit = max(training.refit_below, training.min_labels)

    def plan(name: str, learner: Learner, newest: int = training.window, most: int = limit) -> Plan:
        return Plan(name, learner, min(newest, training.window), most, training.seed)

    plans = [plan(training.learner if training.learner == "trees" else "softmax", learner_of(training))]
    if training.learner == "auto" and Settings().units(width) == 0:
        whole = Discriminant(training.committee, training.seed)
        plans.append(plan("discriminant", whole, most=training.window))
    elif training.learner == "auto":
        plans.append(plan("linear_recent", _softmax(training, 0), _RECENT))
        plans.append(plan("softmax_recent", _softmax(training, training.hidden), _RECENT))
        if importlib.util.find_spec("sklearn") is not None:
            plans.append(plan("trees", SklearnTrees(training.committee, training.seed)))
    return Contest(plans, training.seed)


def _softmax(training: Training, hidden: int | None) -> SoftmaxCommittee:
    return SoftmaxCommittee(Settings(committee=training.committee, l2=training.l2, seed=training.seed, hidden=hidden))

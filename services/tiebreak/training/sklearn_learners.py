"""Which learner a project trains with."""

from __future__ import annotations

from tiebreak.contracts.project import Training
from tiebreak.training.learner import Learner, Settings, SoftmaxCommittee
from tiebreak.training.sklearn_trees import SklearnTrees


def learner_of(training: Training) -> Learner:
    """What the project file asks for. Raises ConfigError where what it needs is not installed."""
    if training.learner == "trees":
        return SklearnTrees(training.committee, training.seed)
    return SoftmaxCommittee(
        Settings(committee=training.committee, l2=training.l2, seed=training.seed, hidden=training.hidden)
    )

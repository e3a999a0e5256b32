"""A learner and the labels it is given. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tiebreak.training.blocks import told
from tiebreak.training.dataset import Row, choose, training_set
from tiebreak.training.learner import Accompanied, Learner, Model, TrainingSet
from tiebreak.training.targets import CLASSES, Target


@dataclass(frozen=True, slots=True)
class Plan:
    """A learner and the labels it is given: the ``newest``, at most ``limit`` of them, older ones balanced over classes.

    ``propensity``: how far a label weighs by how seldom its like is chosen (:func:`~tiebreak.training.dataset.training_set`).
    ``without``: the names of the plans that lack one of its helps and are the same else.
    """

    name: str
    learner: Learner
    newest: int
    limit: int
    seed: int
    target: Target = CLASSES
    propensity: float = 0.0
    without: tuple[str, ...] = ()

    def select(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """Of the standing training rows in canonical order."""
        return choose(rows, self.limit, self.newest, self.seed, self.target)

    def fit(self, rows: Sequence[Row], classes: Sequence[str]) -> Model:
        """The learner on its share of the rows. Raises ValueError where there are none."""
        return self.learner.fit(self.given(self.select(rows), classes))

    def given(self, rows: Sequence[Row], classes: Sequence[str]) -> TrainingSet:
        """What the learner is told of rows that were selected."""
        return training_set(rows, classes, self.target, self.propensity)

    def key(self, rows: Sequence[Row], classes: Sequence[str]) -> tuple[object, ...]:
        """What a fit to these rows is known by."""
        return self.name, tuple(classes), told(rows)

    def predictor(self, rows: Sequence[Row], classes: Sequence[str]) -> Model:
        """What :meth:`fit` gives, or a model without members whose probabilities are the same."""
        learner = self.learner.alone() if isinstance(self.learner, Accompanied) else self.learner
        return replace(self, learner=learner).fit(rows, classes)

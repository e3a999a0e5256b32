"""What the names of the classes say: each name's embedding is one example of its class, beside the labels. Pure.

Where an encoder puts the name of a class near its events, a model knows something of every class before its first label, and a
class with many labels does not notice one example more. So the help fades by itself, with any learner, and stays a function of the
set of labels. It may mislead too: the plans without names stay in the contest (``contest.py``) and take over where they predict better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.learner import Accompanied, Base, Continuing, Learner, Model, TrainingSet

Vectors = Mapping[str, FloatArray]


class Teachable(Learner, Continuing, Protocol):
    """A Learner that can go on from a base."""


@dataclass(frozen=True, slots=True)
class Named:
    """A Learner that has ``vectors`` ``(d,)`` by class as one example each, as heavy as a label of full confidence."""

    learner: Teachable
    vectors: Vectors

    def fit(self, labels: TrainingSet) -> Model:
        """Raises ValueError for an empty set."""
        return self.learner.fit(with_names(labels, self.vectors))

    def alone(self) -> Self:
        return replace(self, learner=self.learner.alone()) if isinstance(self.learner, Accompanied) else self

    def base(self, labels: TrainingSet) -> NamedBase:
        """Raises ValueError for an empty set."""
        return NamedBase(self.learner.base(with_names(labels, self.vectors)), self.vectors)


@dataclass(frozen=True, slots=True)
class NamedBase:
    """A Base whose labels have the names beside them."""

    inner: Base
    vectors: Vectors

    @property
    def model(self) -> Model | None:
        return self.inner.model

    def after(self, labels: TrainingSet) -> Model:
        return self.inner.after(with_names(labels, self.vectors))


def with_names(labels: TrainingSet, vectors: Vectors) -> TrainingSet:
    """``labels`` and one example for each of their classes that has a vector; an empty set stays empty."""
    known = [(column, name) for column, name in enumerate(labels.classes) if name in vectors]
    if not known or not len(labels):
        return labels
    targets = np.zeros((len(known), len(labels.classes)))
    targets[np.arange(len(known)), [column for column, _ in known]] = 1.0
    return replace(
        labels,
        label_ids=(*labels.label_ids, *(f"name:{name}" for _, name in known)),
        x=np.concatenate([labels.x, np.stack([vectors[name] for _, name in known])]).astype(np.float32),
        targets=np.concatenate([labels.targets, targets]),
        weights=np.concatenate([labels.weights, np.ones(len(known))]),
    )

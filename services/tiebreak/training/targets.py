"""What is learned from an answer: how its text becomes numbers, and how right a prediction of it is. Pure.

One :class:`Target` per kind of answer says all that training needs to know of kinds. To add a kind, add a target here, a learner for
its form in ``heads.py`` and its plans in ``sklearn_learners.py``. Every target judges by a **credit** in [0, 1], 1 for right, so that
contest, evaluation and gate are the same for all kinds:

===========  ===========================  ==========================================  =======================
kind         a target row                 credit                                      model's form
===========  ===========================  ==========================================  =======================
single       shares of the classes        1 for the right class, else 0               ``probabilities``, sum 1
ordinal      shares of the classes        1 - levels away / (levels - 1)              ``probabilities``, sum 1
multi        each class's share           Jaccard: common classes / named by either   ``probabilities``, each
numeric      the number                   1 - absolute error / declared range         ``values``
===========  ===========================  ==========================================  =======================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.answer_text import choices_of, chosen, number_of
from tiebreak.contracts.project import Answer, AnswerKind, Project
from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.training.features import Matrix

_BANDS = 5


class Target(Protocol):
    """``said`` ``(..., n, c)`` is what a model gives, ``truth`` ``(n, c)`` what the answers say; ``c`` is 1 for numbers."""

    @property
    def form(self) -> Form:
        """What a model gives."""

    @property
    def measure(self) -> str:
        """What a point of the credit is, in words for the gate's reasons; empty where it is a share of right answers."""

    def problem(self, text: str) -> str:
        """Why ``text`` is no answer that can be learned from; empty where it is one."""

    def columns(self, classes: Sequence[str]) -> tuple[str, ...]:
        """The names of a model's columns for the classes known; none for numbers."""

    def row(self, text: str, classes: Sequence[str]) -> Matrix:
        """``(c,)`` what one answer asks of a model with these columns; a class that it does not know is 0 everywhere."""

    def credit(self, said: FloatArray, truth: Matrix) -> Matrix:
        """``(..., n)`` in [0, 1]."""

    def stratum(self, text: str) -> str:
        """The group that a replay balances: as many older labels of each."""

    def parts(self, texts: Sequence[str]) -> Mapping[str, tuple[bool, ...]]:
        """Groups of labels that the gate judges apart, besides single classes."""

    def figures(self, said: FloatArray, truth: Matrix, weights: Matrix | None = None) -> dict[str, float]:
        """What people know such models by, over at least one label; ``weights`` ``(n,)`` are what each counts."""


def mean(values: NDArray[Any], weights: Matrix | None) -> float:
    """Of ``(n, ...)`` values, one row per label, each counting its weight."""
    if weights is None:
        return float(values.mean())
    return float(np.average(values.reshape(len(values), -1).mean(axis=1), weights=weights))


def truth_of(target: Target, texts: Sequence[str], classes: Sequence[str]) -> Matrix:
    """``(n, c)`` of the answers, one row each."""
    width = 1 if target.form is Form.VALUES else len(classes)
    places: dict[str, int] = {}
    at = [places.setdefault(text, len(places)) for text in texts]
    # Thousands of labels have a few dozen answers: each is read once.
    rows = np.array([target.row(text, classes) for text in places]).reshape(len(places), width)
    return rows[at] if at else np.zeros((0, width))


@dataclass(frozen=True, slots=True)
class OneClass:
    """The name of a class; with ``levels`` the classes have an order, and a near one is nearly right."""

    levels: int = 0
    form: Form = Form.CLASSES

    @property
    def measure(self) -> str:
        return f"100 points are {self.levels - 1} levels of absolute error" if self.levels > 1 else ""

    def problem(self, text: str) -> str:
        return "" if text else "the answer is empty"

    def columns(self, classes: Sequence[str]) -> tuple[str, ...]:
        return tuple(classes)

    def row(self, text: str, classes: Sequence[str]) -> Matrix:
        return np.array([float(name == text) for name in classes])

    def credit(self, said: FloatArray, truth: Matrix) -> Matrix:
        first = said.argmax(axis=-1)
        known = np.broadcast_to(truth.any(axis=1), first.shape)
        away = np.abs(first - truth.argmax(axis=1)) if len(truth) else np.zeros(first.shape)
        worth = 1.0 - away / (self.levels - 1) if self.levels > 1 else away == 0
        result: Matrix = np.where(known, worth, 0.0).astype(np.float64)
        return result

    def stratum(self, text: str) -> str:
        return text

    def parts(self, texts: Sequence[str]) -> Mapping[str, tuple[bool, ...]]:
        del texts
        return {}

    def figures(self, said: FloatArray, truth: Matrix, weights: Matrix | None = None) -> dict[str, float]:
        if self.levels < 2:
            return {}
        return {"mean_absolute_levels": mean(1.0 - self.credit(said, truth), weights) * (self.levels - 1)}


@dataclass(frozen=True, slots=True)
class SomeClasses:
    """A list of classes, perhaps empty. A class is predicted where it is at least as likely as not."""

    names: tuple[str, ...]
    form: Form = Form.MULTI
    measure: str = "a label counts by its Jaccard index: classes in common over classes that either names"

    def problem(self, text: str) -> str:
        try:
            unknown = sorted(set(choices_of(text)) - set(self.names))
        except ValueError as error:
            return str(error)
        return f"classes {unknown} are not in the project file" if unknown else ""

    def columns(self, classes: Sequence[str]) -> tuple[str, ...]:
        return tuple(classes)

    def row(self, text: str, classes: Sequence[str]) -> Matrix:
        named = set(choices_of(text))
        return np.array([float(name in named) for name in classes])

    def credit(self, said: FloatArray, truth: Matrix) -> Matrix:
        ours, theirs = chosen(said), truth >= 0.5
        either = (ours | theirs).sum(axis=-1)
        result: Matrix = np.where(either == 0, 1.0, (ours & theirs).sum(axis=-1) / np.maximum(either, 1))
        return result

    def stratum(self, text: str) -> str:
        del text  # balanced over sets of classes, nearly every label would be a group of its own
        return ""

    def parts(self, texts: Sequence[str]) -> Mapping[str, tuple[bool, ...]]:
        named = [set(choices_of(text)) for text in texts]
        return {f"with {name}": tuple(name in one for one in named) for name in sorted(set().union(*named))}

    def figures(self, said: FloatArray, truth: Matrix, weights: Matrix | None = None) -> dict[str, float]:
        p, right = said.astype(np.float64), truth >= 0.5
        likely = np.clip(np.where(right, p, 1.0 - p), 1e-6, 1.0)
        return {
            "jaccard": mean(self.credit(said, truth), weights),
            "hamming": mean(chosen(said) != right, weights),
            "nll": mean(-np.log(likely).sum(axis=1), weights),
        }


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the declared range."""

    least: float
    most: float
    form: Form = Form.VALUES

    @property
    def measure(self) -> str:
        return f"100 points are an absolute error of {self.most - self.least:g}, the declared range"

    def problem(self, text: str) -> str:
        try:
            number = number_of(text)
        except ValueError:
            return f"{text[:40]!r} is not a finite number"
        inside = self.least <= number <= self.most
        return "" if inside else f"{number:g} is not from {self.least:g} to {self.most:g}"

    def columns(self, classes: Sequence[str]) -> tuple[str, ...]:
        del classes
        return ()

    def row(self, text: str, classes: Sequence[str]) -> Matrix:
        del classes
        return np.array([number_of(text)])

    def credit(self, said: FloatArray, truth: Matrix) -> Matrix:
        gap = np.abs(said[..., 0].astype(np.float64) - truth[:, 0]) / (self.most - self.least)
        # Written so that NaN is the worst there is.
        result: Matrix = np.where(gap <= 1.0, 1.0 - gap, 0.0)
        return result

    def stratum(self, text: str) -> str:
        return str(self._band(text))

    def parts(self, texts: Sequence[str]) -> Mapping[str, tuple[bool, ...]]:
        bands = [self._band(text) for text in texts]
        if len(set(bands)) < 2:
            return {}
        edges = np.linspace(self.least, self.most, _BANDS + 1).tolist()
        return {
            f"answers from {edges[band]:g} to {edges[band + 1]:g}": tuple(b == band for b in bands)
            for band in sorted(set(bands))
        }

    def figures(self, said: FloatArray, truth: Matrix, weights: Matrix | None = None) -> dict[str, float]:
        gap = said[..., 0].astype(np.float64) - truth[:, 0]
        return {"mean_absolute_error": mean(np.abs(gap), weights), "rmse": float(np.sqrt(mean(gap * gap, weights)))}

    def _band(self, text: str) -> int:
        share = (number_of(text) - self.least) / (self.most - self.least)
        return min(max(int(share * _BANDS), 0), _BANDS - 1)


CLASSES = OneClass()


def target_of(project: Project) -> Target:
    """The target of the project's answers; spans and boxes, which no model learns, are never asked for one."""
    answer: Answer = project.labeling.answer
    match answer.kind:
        case AnswerKind.ORDINAL:
            return OneClass(len(project.classes.names))
        case AnswerKind.MULTI:
            return SomeClasses(project.classes.names)
        case AnswerKind.NUMERIC:
            return Number(answer.least, answer.most)
        case _:
            return CLASSES


def brier(said: FloatArray, truth: Matrix) -> NDArray[np.float64]:
    """``(n,)`` mean squared distance of each class's probability from what is true of it, in [0, 1] (Brier 1950)."""
    gap = said.astype(np.float64) - truth
    return np.asarray(np.clip((gap * gap).mean(axis=1), 0.0, 1.0))

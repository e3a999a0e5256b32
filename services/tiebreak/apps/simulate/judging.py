"""What models said of a stream's events, as the scorer would have it, and how right that was. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.apps.simulate.stream import Ints, Stream
from tiebreak.contracts.answer_text import choices_text, chosen, number_text, on_scale
from tiebreak.contracts.project import Answer
from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.sampling.acquisition_forms import shares_of
from tiebreak.sampling.appraisal import Scored
from tiebreak.training.learner import Model
from tiebreak.training.targets import Target, truth_of

Floats = NDArray[np.float64]


class Judge:
    """Of one replay. ``predicted`` ``(n,)`` are class indices, -1 before the first model and where an answer is no single class."""

    def __init__(self, stream: Stream, target: Target) -> None:
        self._stream, self._target = stream, target
        self.predicted = np.full(len(stream), -1, dtype=np.int64)
        self.credit = np.zeros(len(stream))
        self._said: list[str] = [""] * (len(stream) if stream.texts else 0)
        self._named = np.zeros((len(stream), len(stream.classes) if target.form is Form.MULTI else 0), np.bool_)
        # Once: every checkpoint asks for them, and reading lists of names costs more than small models do.
        self._rare = stream.rare
        self._held_truth = (
            np.zeros((0, 1)) if target.form is Form.CLASSES else truth_of(target, stream.held_texts, stream.classes)
        )

    def see(self, start: int, said: FloatArray, columns: Ints) -> None:
        """A model with these ``columns`` says ``(m, c)`` of the events from ``start`` on."""
        part = slice(start, start + len(said))
        if self._target.form is Form.CLASSES:
            self.predicted[part] = columns[said.argmax(axis=1)]
            self.credit[part] = self._of_classes(self.predicted[part], self._stream.y[part])
            return
        self.credit[part] = self._of_texts(said, self._stream.texts[part])
        self._said[part] = self._texts(said)
        if self._target.form is Form.MULTI:
            self._named[part] = chosen(said)

    def said(self, at: int) -> str:
        """What was predicted of an event, as an answer would say it; empty before the first model."""
        if self._said:
            return self._said[at]
        return self._stream.classes[int(self.predicted[at])] if self.predicted[at] >= 0 else ""

    def held(self, model: Model | None, columns: Ints) -> tuple[float, float]:
        """The mean credit of a model on the held-out rows, and its F1 of the rarest classes there; NaN where there are none."""
        stream = self._stream
        if not len(stream.held_y):
            return float("nan"), float("nan")
        none = np.full(len(stream.held_y), -1, dtype=np.int64)
        said = None if model is None else model.probabilities(stream.held_x)
        if self._target.form is Form.CLASSES:
            predicted = none if said is None else columns[said.argmax(axis=1)]
            found = self._of_classes(predicted, stream.held_y)
            return float(found.mean()), f1(predicted, stream.held_y, self._rare)
        if said is None:
            return 0.0, 0.0 if self._named.shape[1] else float("nan")
        truth = self._held_truth
        rare = f1_named(chosen(said), truth >= 0.5, self._rare) if self._target.form is Form.MULTI else float("nan")
        return float(self._target.credit(said, truth).mean()), rare

    def rare(self, half: int) -> float:
        """F1 of the rarest classes before the label was known, from event ``half`` on; NaN where answers are numbers."""
        if self._target.form is Form.CLASSES:
            return f1(self.predicted[half:], self._stream.y[half:], self._rare)
        if self._target.form is Form.MULTI:
            return f1_named(self._named[half:], self._stream.named[half:], self._rare)
        return float("nan")

    def _of_classes(self, predicted: Ints, truth: Ints) -> Floats:
        levels = len(self._stream.classes)
        if self._target.measure:
            # Ordered levels: a near one is nearly right.
            return np.where(predicted >= 0, 1.0 - np.abs(predicted - truth) / (levels - 1), 0.0)
        return np.asarray(predicted == truth, dtype=np.float64)

    def _of_texts(self, said: FloatArray, texts: Sequence[str]) -> Floats:
        return np.asarray(self._target.credit(said, truth_of(self._target, texts, self._stream.classes)))

    def _texts(self, said: FloatArray) -> list[str]:
        if self._target.form is Form.VALUES:
            return [number_text(on_scale(number, self._stream.answer)) for number in said[:, 0].astype(float).tolist()]
        names = self._stream.classes
        return [choices_text([names[i] for i in np.flatnonzero(row).tolist()]) for row in chosen(said)]


def scored_as(form: Form, plain: Scored, answer: Answer) -> Scored:
    """A batch as a scorer gives it: of a regressor the numbers, as shares of their range."""
    if form is not Form.VALUES:
        return replace(plain, form=form)
    said, members = plain.probabilities, shares_of(plain.members, answer)
    return replace(plain, probabilities=said[:, :0], values=shares_of(said[:, 0], answer), members=members, form=form)


def f1(predicted: Ints, truth: Ints, classes: Sequence[int]) -> float:
    """Mean F1 of ``classes``; one that is neither there nor predicted counts 0.

    >>> f1(np.array([0, 1, 1]), np.array([0, 1, 0]), (0, 1)).__round__(3)
    0.667
    """
    named = np.stack([predicted == c for c in classes], axis=1) if classes else np.zeros((len(truth), 0), np.bool_)
    there = np.stack([truth == c for c in classes], axis=1) if classes else named
    return f1_named(named, there, range(len(classes)))


def f1_named(named: NDArray[np.bool_], there: NDArray[np.bool_], classes: Sequence[int]) -> float:
    """Mean F1 of columns ``classes`` of ``(n, k)``; one that is neither there nor named counts 0."""
    scores = []
    for c in classes:
        hit, all_of = int((named[:, c] & there[:, c]).sum()), int(named[:, c].sum()) + int(there[:, c].sum())
        scores.append(2.0 * hit / all_of if all_of else 0.0)
    return float(np.mean(scores)) if scores else float("nan")

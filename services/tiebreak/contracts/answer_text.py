"""What a model says, and what a label says, in one form: the canonical text of an answer as numbers and back. Pure.

The texts are those of ``docs/adr/0008-answers-are-canonical-text.md``: the name of a class, a number, or a JSON list of classes in the
project's order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.codec import dump_json, parse_json
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.project_answers import Answer, AnswerKind
from tiebreak.contracts.tensors import FloatArray, Form, Scores

_MOST_BYTES = 32_768
_NEAR = 0.1  # of the range: where a project declares no tolerance, a prediction so close counts as right


def number_text(number: float) -> str:
    """A number in its shortest form.

    >>> number_text(3.0), number_text(0.1 + 0.2)
    ('3', '0.3')
    """
    return format(round(number, 9) + 0.0, ".12g")


def number_of(text: str) -> float:
    """The finite number that ``text`` is. Raises ValueError."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a finite number")
    return number


def choices_of(text: str) -> tuple[str, ...]:
    """The classes that a canonical list names. Raises ValueError.

    >>> choices_of('["a","c"]')
    ('a', 'c')
    """
    try:
        value = parse_json(text.encode(), _MOST_BYTES)
    except BadRecord as error:
        raise ValueError("not a list of classes") from error
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("not a list of classes")
    return tuple(value)


def choices_text(names: Sequence[str]) -> str:
    """The canonical list of ``names``, which are in the project's order."""
    return dump_json(list(names)).decode()


def chosen(probabilities: FloatArray) -> NDArray[np.bool_]:
    """``(n, k)``: which classes a model with a probability for each says apply: those that are at least as likely as not."""
    return np.asarray(probabilities >= 0.5)


def predicted_text(scores: Scores, row: int, answer: Answer) -> str:
    """What the model says of one event, as an answer would say it; empty where it says nothing."""
    if scores.form is Form.VALUES and scores.values is not None:
        return number_text(on_scale(float(scores.values[row]), answer))
    if not scores.classes:
        return ""
    if scores.form is Form.MULTI:
        return choices_text([scores.classes[i] for i in np.flatnonzero(chosen(scores.probabilities[row])).tolist()])
    return scores.classes[int(scores.probabilities[row].argmax())]


def on_scale(number: float, answer: Answer) -> float:
    """The nearest number that people could have answered.

    >>> on_scale(7.3, Answer(kind=AnswerKind.NUMERIC, least=0, most=5, step=0.5))
    5.0
    """
    inside = min(max(number, answer.least), answer.most)
    if not answer.step:
        return inside
    return min(answer.least + round((inside - answer.least) / answer.step) * answer.step, answer.most)


def agrees(answer: Answer, predicted: str, settled: str) -> bool:
    """Whether a prediction was right: the same answer; for numbers, within the tolerance (else a tenth of the range).

    >>> agrees(Answer(kind=AnswerKind.NUMERIC, most=50), "21", "25"), agrees(Answer(), "a", "b")
    (True, False)
    """
    if answer.kind is not AnswerKind.NUMERIC:
        return predicted == settled
    try:
        gap = abs(number_of(predicted) - number_of(settled))
    except ValueError:
        return False
    return gap <= (answer.tolerance or _NEAR * (answer.most - answer.least)) + 1e-9

"""Two models on the same events where answers are numbers or lists of classes: what disagrees, what shifts, what a canary answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiebreak.contracts.project import Answer, AnswerKind
from tiebreak.contracts.tensors import Form, Scores
from tiebreak.scoring.trial import compare, joined

RANGE = Answer(kind=AnswerKind.NUMERIC, least=0, most=100)


def numbers(version: str, *values: float) -> Scores:
    array = np.array(values, np.float32)
    return Scores(version, (), np.empty((len(values), 0), np.float32), values=array, form=Form.VALUES)


def test_numbers_disagree_across_tenths_of_the_range_and_shift_is_between_those() -> None:
    """Within a tenth two numbers are one answer; a challenger that failed on a row is counted as failed, not compared."""
    found = compare(numbers("v1", 11, 55, 99), numbers("v2", 18, 75, np.nan), (0.1, 0.1), RANGE, 0.02)[0]
    assert (found.rows, found.disagreed, found.failed) == (2, 1, 1)
    assert found.champion == {"10 to 20": 1, "50 to 60": 1}
    assert found.challenger == {"10 to 20": 1, "70 to 80": 1}
    assert found.shift == 0.5


def test_lists_disagree_where_any_class_differs() -> None:
    """The likeliest class may be the same: a class more or less is another answer."""
    theirs = Scores("v1", ("a", "b"), np.array([[0.9, 0.1], [0.9, 0.1]], np.float32), form=Form.MULTI)
    ours = Scores("v2", ("a", "b"), np.array([[0.9, 0.6], [0.8, 0.2]], np.float32), form=Form.MULTI)
    found = compare(theirs, ours, (0.1, 0.1), Answer(kind=AnswerKind.MULTI), 0.02)[0]
    assert (found.rows, found.disagreed, found.shift) == (2, 1, 0.0)


def classes(version: str, *rows: tuple[float, float]) -> Scores:
    return Scores(version, ("a", "b"), np.array(rows, np.float32))


def test_where_two_models_differ_is_told_row_by_row() -> None:
    """The likeliest class, or any class of a list; what either could not answer is neither."""
    nan = float("nan")
    one, two = (
        classes("v1", (0.9, 0.1), (0.6, 0.4), (nan, nan), (0.5, 0.5)),
        classes("v2", (0.7, 0.3), (0.4, 0.6), (0.9, 0.1), (nan, nan)),
    )
    assert told(one, two, Answer()) == [0, 1, -1, -1]
    lists = [replace(classes("v", row, (0.1, 0.2)), form=Form.MULTI) for row in ((0.9, 0.1), (0.9, 0.6))]
    assert told(lists[0], lists[1], Answer(kind=AnswerKind.MULTI)) == [1, 0]


def test_numbers_differ_beyond_the_gates_margin_and_peoples_tolerance() -> None:
    """2 points of a range of 100: two numbers across an edge of a tenth are one answer. Where people agree within 5, models do."""
    one, two = numbers("v1", 19.9, 50, 50, 50, np.nan), numbers("v2", 20.1, 52, 52.5, 40, 1)
    assert told(one, two, RANGE) == [0, 0, 1, 1, -1]
    assert told(one, two, RANGE.model_copy(update={"tolerance": 5.0})) == [0, 0, 0, 1, -1]


def told(one: Scores, two: Scores, answer: Answer) -> list[int]:
    found: list[int] = compare(one, two, (0.1, 0.1), answer, 0.02)[1].tolist()
    return found


def test_a_canary_answers_its_share_with_its_own_numbers() -> None:
    """The challenger's values stand in its rows and nowhere else."""
    mixed = joined(numbers("v1", 1, 2, 3), numbers("v2", 20), np.array([1]))
    assert mixed.values is not None
    assert mixed.values.tolist() == [1.0, 20.0, 3.0]
    assert mixed.by_challenger is not None
    assert mixed.by_challenger.tolist() == [False, True, False]

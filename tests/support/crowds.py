"""Simulated people with known habits, for the tests of what is learned of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLASSES = ("ant", "bee", "cow", "dog")


@dataclass(frozen=True, slots=True)
class Votes:
    """``said[i] = (task, annotator, value)`` in the order of the log; ``truth`` by task."""

    truth: dict[str, str]
    said: list[tuple[str, str, str]]


def habits(accuracy: float, classes: int = len(CLASSES)) -> NDArray[np.float64]:
    """A confusion matrix with even errors."""
    errors = np.full((classes, classes), (1.0 - accuracy) / (classes - 1))
    np.fill_diagonal(errors, accuracy)
    return errors


def votes(seed: int, tasks: int, people: Sequence[NDArray[np.float64]], each: int) -> Votes:
    """``each`` different people answer every task, each by their own confusion matrix; task after task."""
    rng = np.random.default_rng(seed)
    truth = {f"t{i}": CLASSES[rng.integers(len(CLASSES))] for i in range(tasks)}
    said = []
    for task, right in truth.items():
        for person in rng.permutation(len(people))[:each]:
            value = rng.choice(len(CLASSES), p=people[person][CLASSES.index(right)])
            said.append((task, f"p{person}", CLASSES[value]))
    return Votes(truth, said)

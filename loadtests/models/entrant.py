"""Tiebreak's own learners in the contest: the trainer's plans over the window, chosen and refitted on each step."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import tiebreak.training
from loadtests.models.contest import Matrix, Stream, Track, kept, place, prequential
from tiebreak.contracts.project import Training
from tiebreak.training.dataset import Dataset, Row, training_set
from tiebreak.training.sklearn_learners import contest_of


class Ours:
    """With the defaults of a project file."""

    def __init__(self, classes: int, width: int, training: Training) -> None:
        self._window, self._contest = training.window, contest_of(training, width)
        self._dataset, self._classes = Dataset(), tuple(str(c) for c in range(classes))
        self._model: Any = None
        self._count = 0

    def predict(self, x: Matrix) -> Matrix:
        if self._model is None:
            return np.zeros(len(x), np.int64)
        return np.asarray(self._model.probabilities(x).argmax(axis=1))

    def learn(self, x: Matrix, y: Matrix) -> None:
        for features, value in zip(x, y.tolist(), strict=True):
            self._count += 1
            name = str(value)
            beside = self._beside()
            row = Row(f"l{self._count}", 1, self._count, name, {name: 1.0}, 1.0, 1.0, False, False, features, beside)
            self._dataset.add(row)
        rows = self._dataset.rows(audit=False, newest=self._window)
        if len({row.value for row in rows}) > 1:
            plan, chosen = self._contest.ready(rows, self._classes)
            self._model = plan.learner.fit(training_set(chosen, self._classes))

    def _beside(self) -> bytes:
        """The unlabelled events that come along with a label."""
        return b""

    def forget(self, newest: int) -> None:
        """Let go of all labels but the ``newest``."""
        self._dataset = Dataset(self._dataset.rows(audit=False, newest=newest))


def track(stream: Stream, portion: int, limit_s: float) -> Track:
    """Kept per state of the learners' source: a change is measured anew."""

    def run() -> Track:
        return prequential(stream, Ours(stream.classes, stream.x.shape[1], Training()), portion, limit_s)

    return kept(place(stream, portion, f"tiebreak-{_source()}"), run)


def _source() -> str:
    folder = Path(tiebreak.training.__path__[0])
    heads = ("discriminant", "features", "learner", "sklearn_trees", "solver", "trees")
    names = ("bases", "blocks", "contest", "dataset", "plans", "sklearn_learners", *heads)
    return sha256(b"".join((folder / f"{name}.py").read_bytes() for name in names)).hexdigest()[:8]

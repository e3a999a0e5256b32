"""Learners on one stream with every label: predict a portion, then learn it, the same portions for everybody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from river import ensemble, forest, linear_model, multiclass, tree
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from tiebreak.contracts.project import Training
from tiebreak.training.dataset import Dataset, Row, choose, training_set
from tiebreak.training.sklearn_learners import learner_of

Matrix = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """``x`` ``(n, d)`` float32 and ``y`` ``(n,)`` column numbers in the order of arrival; ``tabular``: columns of a table."""

    name: str
    x: Matrix
    y: Matrix
    classes: int
    tabular: bool


def streams(folder: Path, events: int, wanted: tuple[str, ...] = ()) -> Iterator[Stream]:
    """The streams of a data folder, each cut to ``events``; around the middle where the drift is there."""
    for path in sorted(folder.glob("*.npz")):
        if wanted and path.stem not in wanted:
            continue
        with np.load(path) as data:
            x, y, timed = data["X"].astype(np.float32), data["y"].astype(np.int64), bool(data["timed"])
            tabular = str(data["kind"]) == "tab"
            drifts = data["drifts"].tolist() if "drifts" in data.files else []
        if not timed:
            order = np.random.default_rng(0).permutation(len(x))
            x, y = x[order], y[order]
        middle = int(drifts[0]) if drifts else 0
        start = min(max(0, middle - events // 2), max(0, len(x) - events))
        x, y = x[start : start + events], y[start : start + events]
        yield Stream(path.stem, x, y, int(y.max()) + 1, tabular)


class Contestant(Protocol):
    """Learns in portions."""

    def predict(self, x: Matrix) -> Matrix:
        """``(n, d)`` to ``(n,)``."""

    def learn(self, x: Matrix, y: Matrix) -> None:
        """A portion of labels."""


def prequential(stream: Stream, contestant: Contestant, portion: int) -> tuple[float, float]:
    """Accuracy on every event predicted before its label, and seconds."""
    began, right, seen = time.perf_counter(), 0, 0
    for start in range(0, len(stream.x), portion):
        x, y = stream.x[start : start + portion], stream.y[start : start + portion]
        if start:
            right += int((contestant.predict(x) == y).sum())
            seen += len(y)
        contestant.learn(x, y)
    return right / max(seen, 1), time.perf_counter() - began


class Ours:
    """Tiebreak's learner as the trainer runs it: the bounded set of labels, refitted on each step."""

    def __init__(self, classes: int, training: Training) -> None:
        self._training, self._learner = training, learner_of(training)
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
            row = Row(f"l{self._count}", 1, self._count, name, {name: 1.0}, 1.0, 1.0, False, False, features)
            self._dataset.add(row)
        t = self._training
        rows = choose(self._dataset.rows(audit=False, newest=t.window), t.refit_below, t.window, t.seed)
        if len({row.value for row in rows}) > 1:
            self._model = self._learner.fit(training_set(rows, self._classes))


class River:
    """A river classifier, label by label."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, x: Matrix) -> Matrix:
        said = [self._model.predict_one(dict(enumerate(row))) for row in x.tolist()]
        return np.array([-1 if value is None else int(value) for value in said])

    def learn(self, x: Matrix, y: Matrix) -> None:
        for row, value in zip(x.tolist(), y.tolist(), strict=True):
            self._model.learn_one(dict(enumerate(row)), value)


class Sklearn:
    """A scikit-learn estimator by ``partial_fit``."""

    def __init__(self, model: Any, classes: int) -> None:
        self._model, self._classes = model, np.arange(classes)

    def predict(self, x: Matrix) -> Matrix:
        return np.asarray(self._model.predict(x))

    def learn(self, x: Matrix, y: Matrix) -> None:
        self._model.partial_fit(x, y, classes=self._classes)


def ours(stream: Stream) -> Contestant:
    """What Tiebreak advises for the kind of input: trees for tables, heads for everything else."""
    return Ours(stream.classes, Training(learner="trees" if stream.tabular else "softmax"))


def peers() -> Mapping[str, Callable[[Stream], Contestant]]:
    """The incremental models of river and scikit-learn."""
    return {
        "river ARF": lambda s: River(forest.ARFClassifier(seed=1)),  # noqa: ARG005
        "river LevBag": lambda s: River(  # noqa: ARG005
            ensemble.LeveragingBaggingClassifier(tree.HoeffdingTreeClassifier(), n_models=10, seed=1)
        ),
        "river logistic": lambda s: River(
            linear_model.LogisticRegression()
            if s.classes == 2
            else multiclass.OneVsRestClassifier(linear_model.LogisticRegression())
        ),
        "sklearn SGD": lambda s: Sklearn(SGDClassifier(loss="log_loss", random_state=1), s.classes),
        "sklearn MLP": lambda s: Sklearn(MLPClassifier((100,), random_state=1), s.classes),
    }

"""The incremental models of river and scikit-learn, as the contest runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from river import ensemble, forest, linear_model, multiclass, tree
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from loadtests.models.contest import Contestant, Matrix, Stream

_UPDATE = 10


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
        # A multilayer perceptron makes one update per call: a few labels at a time, or it would hardly learn.
        for start in range(0, len(x), _UPDATE):
            self._model.partial_fit(x[start : start + _UPDATE], y[start : start + _UPDATE], classes=self._classes)


def _forest(_: Stream) -> Contestant:
    return River(forest.ARFClassifier(seed=1))


def _bagging(_: Stream) -> Contestant:
    return River(ensemble.LeveragingBaggingClassifier(tree.HoeffdingTreeClassifier(), n_models=10, seed=1))


def _logistic(stream: Stream) -> Contestant:
    model = linear_model.LogisticRegression()
    return River(model if stream.classes == 2 else multiclass.OneVsRestClassifier(model))


def _sgd(stream: Stream) -> Contestant:
    return Sklearn(SGDClassifier(loss="log_loss", random_state=1), stream.classes)


def _mlp(stream: Stream) -> Contestant:
    return Sklearn(MLPClassifier((100,), random_state=1), stream.classes)


def peers() -> Mapping[str, Callable[[Stream], Contestant]]:
    """By name. river's are slow where classes and columns are many."""
    return {
        "river ARF": _forest,
        "river LevBag": _bagging,
        "river logistic": _logistic,
        "sklearn SGD": _sgd,
        "sklearn MLP": _mlp,
    }

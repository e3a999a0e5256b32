"""Estimators of scikit-learn that learn by ``partial_fit``, written as ONNX by skl2onnx (``export_graphs.py``).

One estimator serves and one per member has its own Poisson bootstrap by hash. Few labels are passed over several times; beyond
``training.refit_below`` a step is what the name says: copies of the base's estimators take the labels since in, and nothing else.
Where an estimator stands is never written down as an object: it is a function of the ledger's labels, and is made again from them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project_training import Estimator
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.export_graphs import OPSET, GraphModel, joined
from tiebreak.training.features import FeatureMap, Matrix, fit_features
from tiebreak.training.learner import TrainingSet, bootstrap, softmax

_MODULES = {"SGDClassifier": "linear_model", "MLPClassifier": "neural_network", "GaussianNB": "naive_bayes"}
# Chosen on elec2, hwu64 and outdoor (loadtests/README.md); what a project names replaces them.
_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "SGDClassifier": {"loss": "log_loss", "alpha": 1e-3},
    "MLPClassifier": {"batch_size": 16, "learning_rate_init": 0.005},
    "GaussianNB": {"var_smoothing": 1e-2},
}
# Few labels deserve full effort; what only counts is as sure after one pass as after twenty.
_ENOUGH, _MOST_PASSES = 4000, 100
_ONE_PASS = frozenset({"GaussianNB"})
_CHECKED_ROWS = 16
_TOLERANCE = 1e-3


class PartialFit:
    """A Learner that can go on from a base. Raises ConfigError where a library is missing or refuses the options."""

    def __init__(self, estimator: Estimator, committee: int, seed: int) -> None:
        self._name, self._committee, self._seed = estimator.name, committee, seed
        self._options: dict[str, Any] = {**_DEFAULTS[estimator.name], **estimator.options}
        try:
            self._class = getattr(importlib.import_module(f"sklearn.{_MODULES[estimator.name]}"), estimator.name)
            self._to_onnx = importlib.import_module("skl2onnx").to_onnx
        except ImportError as error:
            raise ConfigError(
                f"training.learner: 'partial_fit' needs scikit-learn and skl2onnx ({error}).",
                fix="Install the extra `partial-fit`, or use 'auto'.",
            ) from error
        self._try_options()

    def fit(self, labels: TrainingSet) -> GraphModel:
        """Raises ValueError for an empty set."""
        return self.base(labels).after(labels)

    def base(self, labels: TrainingSet) -> PartialFitBase:
        """Every head, passed over all labels; raises ValueError for an empty set."""
        if not len(labels):
            raise ValueError("fit: no labels")
        features = fit_features(labels.x, 0, 1.0)
        heads = [self._new(head) for head in range(self._committee + 1)]
        passes = 1 if self._name in _ONE_PASS else min(_MOST_PASSES, max(1, _ENOUGH // len(labels)))
        self._step(heads, features, labels, passes)
        return PartialFitBase(self, features, heads, frozenset(labels.label_ids))

    def go_on(self, base: PartialFitBase, labels: TrainingSet) -> GraphModel:
        """Copies of the base's estimators, after one pass over what the base has not seen."""
        new = [i for i, label in enumerate(labels.label_ids) if label not in base.seen]
        heads = base.heads
        if new:
            heads = deepcopy(heads)
            ids = tuple(labels.label_ids[i] for i in new)
            since = TrainingSet(ids, labels.classes, labels.x[new], labels.targets[new], labels.weights[new])
            self._step(heads, base.features, since, 1)
        return self._model(heads, base.features, labels)

    def _new(self, head: int) -> Any:
        estimator = self._class(**self._options)
        if "random_state" in estimator.get_params():
            estimator.set_params(random_state=(self._seed + head) % 2**32)
        return estimator

    def _step(self, heads: Sequence[Any], features: FeatureMap, labels: TrainingSet, passes: int) -> None:
        z, known = features.standardise(labels.x), np.arange(len(labels.classes))
        counts = bootstrap(labels.label_ids, self._committee, self._seed)
        for head, estimator in enumerate(heads):
            weights = labels.weights * counts[head - 1] if head else labels.weights
            rows, columns, shares = _examples(labels.targets, weights if weights.any() else labels.weights)
            # All passes in one call: what a call costs beside its rows is most of it for few of them.
            rows, columns, shares = (np.tile(values, passes) for values in (rows, columns, shares))
            size = self._options.get("batch_size")
            if isinstance(size, int):  # anything else is scikit-learn's to know or to refuse
                # More rows than there are would be cut to size anyway, with a warning.
                estimator.set_params(batch_size=min(size, len(rows)))
            estimator.partial_fit(z[rows], columns, classes=known, sample_weight=shares)

    def _model(self, heads: Sequence[Any], features: FeatureMap, labels: TrainingSet) -> GraphModel:
        scores = not hasattr(heads[0], "predict_proba")
        rows = labels.x[-_CHECKED_ROWS:]
        probe = features.standardise(rows)
        with np.errstate(all="ignore"):  # the logarithm of the prior of a class without labels
            graph = joined([self._converted(estimator, probe) for estimator in heads], scores=scores)
            answers = _said(heads, probe, scores=scores)
        model = GraphModel(labels.classes, features, graph, self._committee, self._seed)
        off = float(np.abs(model.said(rows) - answers).max())
        if not off <= _TOLERANCE:  # so written, NaN is refused too
            raise ConfigError(
                f"training.estimator: the graph of {self._name} answers by {off:.3g} other than the estimator does.",
                fix="Change its options, or choose another learner.",
            )
        return model

    def _converted(self, estimator: Any, probe: FloatArray) -> Any:
        options, opsets = {id(estimator): {"zipmap": False}}, {"": OPSET, "ai.onnx.ml": 3}
        return self._to_onnx(estimator, probe[:1], options=options, target_opset=opsets)

    def _try_options(self) -> None:
        # On eight rows of nothing: what an estimator has against its options it says when it first learns.
        rng = np.random.default_rng(0)
        x = rng.normal(size=(8, 2)).astype(np.float32)
        ids = tuple(f"probe-{i}" for i in range(8))
        try:
            self.fit(TrainingSet(ids, ("a", "b", "c"), x, np.eye(3)[np.arange(8) % 3], np.ones(8)))
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"training.estimator: {self._name} cannot be used with options {self._options}: {error}",
                fix="See the estimator's page in scikit-learn's reference for what it takes.",
            ) from error


@dataclass(frozen=True, slots=True, eq=False)
class PartialFitBase:
    """Estimators that have learned ``seen``. A step works on copies."""

    learner: PartialFit
    features: FeatureMap
    heads: Sequence[Any]
    seen: frozenset[str]

    @property
    def model(self) -> None:
        """Its graph would have to be made for this."""

    def after(self, labels: TrainingSet) -> GraphModel:
        return self.learner.go_on(self, labels)


def _examples(targets: Matrix, weights: Matrix) -> tuple[Any, Any, Matrix]:
    """Rows, columns and weights: a soft target is an example per class, each with its share."""
    shares = targets * weights[:, None]
    rows, columns = np.nonzero(shares)
    return rows, columns, shares[rows, columns]


def _said(heads: Sequence[Any], z: FloatArray, *, scores: bool) -> FloatArray:
    """``(h, n, k)``: what the estimators themselves answer."""
    if not scores:
        return np.stack([estimator.predict_proba(z) for estimator in heads]).astype(np.float32)
    raw = [np.asarray(estimator.decision_function(z), np.float32) for estimator in heads]
    return np.stack([softmax(s if s.ndim == 2 else np.stack([-s, s], axis=1)) for s in raw])

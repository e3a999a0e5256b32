"""Challengers that are broken rather than a little worse, through the whole gate: trained, exported, checked in the sandbox, judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tests.support.labels import dataset_of, make_label
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Project
from tiebreak.deployment.gate import Verdict, judge
from tiebreak.deployment.port import Served
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.runtime.sandbox import Sandbox
from tiebreak.training.dataset import training_set
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.fitting import Stamp, material_of, train
from tiebreak.training.learner import Settings, SoftmaxCommittee, SoftmaxModel, TrainingSet

_CLASSES = ("a", "b", "c")
_SLICE = 0.75  # events whose third number is at least this are the slice: a quarter of them
CONTROL = "the champion again"
Fit = Callable[[TrainingSet], SoftmaxModel]


@dataclass(frozen=True, slots=True)
class Broken:
    """A Learner that goes wrong in one way."""

    fit: Fit


def _good(labels: TrainingSet) -> SoftmaxModel:
    return SoftmaxCommittee(Settings(committee=3)).fit(labels)


def _nan(labels: TrainingSet) -> SoftmaxModel:
    """One weight of many."""
    model = _good(labels)
    weights = model.weights.copy()
    weights[0, 0, 0] = np.nan
    return replace(model, weights=weights)


def _constant(labels: TrainingSet) -> SoftmaxModel:
    model = _good(labels)
    return replace(model, weights=np.zeros_like(model.weights), bias=model.bias + np.array([9.0, 0.0, 0.0], np.float32))


def _collapsed_slice(labels: TrainingSet) -> SoftmaxModel:
    """It has learned the wrong class wherever the third number is high."""
    inside = labels.x[:, 2] >= _SLICE
    targets = np.where(inside[:, None], np.roll(labels.targets, 1, axis=1), labels.targets)
    return _good(replace(labels, targets=targets))


WAYS: Mapping[str, Fit] = {
    CONTROL: _good,
    "NaN": _nan,
    "one class always": _constant,
    "one slice collapsed": _collapsed_slice,
}


async def promoted(runs: int) -> Mapping[str, int]:
    """Of ``runs`` challengers of each kind, how many may serve in the place of a sound champion."""
    project, sandbox = _project(), Sandbox()
    try:
        return {
            way: sum([await _may_serve(project, sandbox, fit, seed) for seed in range(runs)])
            for way, fit in WAYS.items()
        }
    finally:
        await sandbox.close()


async def _may_serve(project: Project, sandbox: Sandbox, fit: Fit, seed: int) -> bool:
    material = material_of(dataset_of(_labels(seed)), project)
    champion = train(Broken(_good), project, material, None, Stamp(1, 1))
    good = _good(training_set(material.training, material.classes))
    contender = Contender(good, champion.evaluation.metrics["temperature"])
    serving = Serving(champion.manifest.version, contender)
    challenger = train(Broken(fit), project, material, serving, Stamp(2, 2))
    served = Served(champion.manifest, champion.model)
    refusals = await SandboxProbe(project, sandbox).check(challenger, served)
    return judge(challenger.evaluation, refusals, project.gate).verdict is Verdict.PROMOTE


def _project() -> Project:
    """Three numbers by name, so that a slice can be declared."""
    return Project.model_validate(
        {
            "project": "tests",
            "input": {"tensors": [{"name": "x", "shape": [3]}], "fields": ["east", "north", "age"]},
            "classes": {"names": list(_CLASSES)},
            "training": {"learner": "softmax", "committee": 3, "min_labels": 10},
            "gate": {"slices": [{"name": "old", "field": "age", "at_least": _SLICE}]},
        }
    )


def _labels(seed: int, training: int = 600, audit: int = 250) -> list[Label]:
    """Three clouds in the plane, and an age that has nothing to do with the class."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(training + audit):
        kind = int(rng.integers(3))
        east, north = 4.0 * np.array([np.cos(2.1 * kind), np.sin(2.1 * kind)]) + rng.normal(0.0, 1.0, 2)
        features = (float(east), float(north), float(rng.random()))
        found.append(make_label(f"e{seed}-{n}", _CLASSES[kind], features, audit=n >= training, settled_ms=n))
    return found

"""One training step as a pure function: rows in, candidate out. The shell runs it in a worker thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from tiebreak.contracts.candidate import Candidate, Golden
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.contest import Contest, Plan
from tiebreak.training.dataset import Dataset, Row, choose, classes_of, training_set
from tiebreak.training.evaluation import Serving, calibrated, evaluate
from tiebreak.training.export import Encoder, export, inputs_of
from tiebreak.training.learner import Learner, Model
from tiebreak.training.slices import slices_of

_GOLDEN_ROWS = 16
AUDIT_ROWS = (
    5000  # more would cost every step time and tell the gate nothing new; the newest are about the world as it is
)
_VERSION_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Material:
    """What a step works on: the bounded training rows, the standing audit rows, and the classes, all in canonical order.

    ``recent``: the training rows of the whole window, which plans choose from.
    """

    training: tuple[Row, ...]
    audit: tuple[Row, ...]
    classes: tuple[str, ...]
    recent: tuple[Row, ...] = ()

    @property
    def learnable(self) -> bool:
        """Whether there is something to tell apart."""
        return len({row.value for row in self.training}) > 1


def material_of(dataset: Dataset, project: Project) -> Material:
    """A function of the set of labels alone."""
    t = project.training
    rows = dataset.rows(audit=False, newest=t.window)
    audit = dataset.rows(audit=True, newest=min(t.window, AUDIT_ROWS))
    training = choose(rows, max(t.refit_below, t.min_labels), t.window, t.seed)
    return Material(training, audit, classes_of(project.classes.names, training), rows)


def planned(contest: Contest, project: Project, material: Material) -> tuple[Plan, Material]:
    """The plan that predicts best, and the material as it wants it. A function of the set of labels, like the material."""
    classes = classes_of(project.classes.names, material.recent) if project.classes.open else material.classes
    plan = contest.pick(material.recent, classes)
    return plan, replace(material, training=plan.select(material.recent), classes=classes)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a candidate carries that its labels do not say. ``encoder``: what stands in front of the heads."""

    dataset_version: int
    created_ms: int
    encoder: Encoder | None = None


def train(learner: Learner, project: Project, material: Material, serving: Serving | None, stamp: Stamp) -> Candidate:
    """Fit, calibrate, evaluate, export. The version's name is the data set's number and the file's digest: a repeat repeats it."""
    model = learner.fit(training_set(material.training, material.classes))
    judged = calibrated(model, material.audit)
    temperature = judged.temperature
    data = export(model, project.input.tensors, temperature, stamp.encoder)
    digest = sha256(data).hexdigest()
    version = f"v{stamp.dataset_version:06d}-{digest[:_VERSION_DIGITS]}"
    recent = project.gate.young_labels
    evaluation = evaluate(
        judged,
        serving,
        material.training[-recent:] if recent else (),
        material.audit,
        project.gate.alpha,
    )
    in_slices = slices_of(material.audit if len(evaluation.audit) else (), project)
    evaluation = replace(evaluation, audit=replace(evaluation.audit, slices=in_slices))
    manifest = Manifest(
        project=project.project,
        version=version,
        sha256=digest,
        size_bytes=len(data),
        inputs={t.name: (t.datatype, t.shape) for t in project.input.tensors},
        classes=material.classes,
        temperature=1.0,  # the graph applies its own: what it answers is what is served
        dataset_version=stamp.dataset_version,
        created_ms=stamp.created_ms,
        parent=serving.version if serving else "",
        label_ids=tuple(row.label_id for row in material.training),
        metrics={"accuracy": evaluation.accuracy.estimate, **evaluation.metrics},
    )
    golden = (
        Golden(stamp.encoder.inputs, model.probabilities(stamp.encoder.embeddings, temperature))
        if stamp.encoder
        is not None  # no way leads back from an embedding to its event: the probe's events are the golden ones
        else _golden(model, project, material.training, temperature)
    )
    return Candidate(manifest, data, evaluation, golden, model.digest())


def _golden(model: Model, project: Project, rows: Sequence[Row], temperature: float) -> Golden:
    features: FloatArray = np.stack([row.features for row in rows[-_GOLDEN_ROWS:]])
    return Golden(inputs_of(features, project.input.tensors), model.probabilities(features, temperature))

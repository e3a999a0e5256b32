"""One training step as a pure function: rows in, candidate out. The shell runs it in a worker thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from tiebreak.contracts.candidate import Candidate, Golden
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import Dataset, Row, choose, classes_of, training_set
from tiebreak.training.eras import of_era
from tiebreak.training.evaluation import Serving, calibrated, evaluate
from tiebreak.training.export import Encoder, export, inputs_of
from tiebreak.training.learner import Learner, Model
from tiebreak.training.plans import Plan
from tiebreak.training.recall import Recall
from tiebreak.training.slices import slices_of
from tiebreak.training.targets import target_of

_GOLDEN_ROWS = 16
AUDIT_ROWS = (
    5000  # more would cost every step time and tell the gate little new; the newest are about the world as it is
)
_VERSION_DIGITS = 8
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Material:
    """What a step works on: the training rows, the standing audit rows, and the classes, all in canonical order."""

    training: tuple[Row, ...]
    audit: tuple[Row, ...]
    classes: tuple[str, ...]

    @property
    def learnable(self) -> bool:
        """Whether there is something to tell apart."""
        values = (row.value for row in self.training)
        first = next(values, None)
        return any(value != first for value in values)


def gathered(dataset: Dataset, project: Project) -> Material:
    """All that a plan chooses from: the training rows of the whole window. A function of the set of labels alone."""
    window = project.training.window
    rows = dataset.rows(audit=False, newest=window)
    audit = dataset.rows(audit=True, newest=min(window, AUDIT_ROWS))
    return Material(rows, audit, classes_of(project.classes.names, rows, target_of(project)))


def material_of(dataset: Dataset, project: Project) -> Material:
    """The same with the training rows of a plan without a name: at most ``refit_below``."""
    t, found, target = project.training, gathered(dataset, project), target_of(project)
    training = choose(found.training, max(t.refit_below, t.min_labels), t.window, t.seed, target)
    return replace(found, training=training, classes=classes_of(project.classes.names, training, target))


def planned(contest: Contest, material: Material) -> tuple[Plan, Material]:
    """The plan that predicts best, with its learner for this step, and what is :func:`gathered` cut to the rows that it wants."""
    plan, training = contest.ready(material.training, material.classes, material.audit)
    return plan, replace(material, training=training)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a candidate carries that its labels do not say. ``encoder``: what stands in front of the heads.

    ``era_ms``: when the newest confirmed drift was, 0 for never. Labels settled before it are in the report and no evidence.
    """

    dataset_version: int
    created_ms: int
    encoder: Encoder | None = None
    era_ms: int = 0


def train(
    learner: Learner,
    project: Project,
    material: Material,
    serving: Serving | None,
    stamp: Stamp,
    recall: Recall | None = None,
) -> Candidate:
    """Fit, calibrate, evaluate, export. The version's name is the data set's number and the file's digest: a repeat repeats it.

    ``recall`` saves work and changes nothing.
    """
    target = target_of(project)
    told = training_set(material.training, material.classes, target, project.training.propensity)
    model = learner.fit(told)
    judged = calibrated(model, material.audit, target, recall)
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
    judging = material.audit if len(evaluation.audit) else ()
    in_slices = {**slices_of(judging, project), **target.parts([row.value for row in judging])}
    # All that trained it: the evidence of labels left out is of the newest alone.
    metrics = {"training_labels": float(len(material.training)), **evaluation.metrics}
    evaluation = replace(evaluation, audit=replace(evaluation.audit, slices=in_slices), metrics=metrics)
    if stamp.era_ms:
        settled = {row.label_id: row.settled_ms for row in (*material.training, *material.audit)}
        evaluation = of_era(evaluation, settled, stamp.era_ms)
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
        form=target.form,
    )
    golden = _golden(model, project, material.training, temperature, stamp.encoder)
    return Candidate(manifest, data, evaluation, golden, model.digest())


def _golden(model: Model, project: Project, rows: Sequence[Row], temperature: float, encoder: Encoder | None) -> Golden:
    answer = project.labeling.answer
    # A number is as exact as its range lets it be.
    tolerance = _TOLERANCE * (answer.most - answer.least if answer.kind.form is Form.VALUES else 1.0)
    if encoder is not None:
        # No way leads back from an embedding to its event: the probe's events are the golden ones.
        return Golden(encoder.inputs, model.probabilities(encoder.embeddings, temperature), tolerance)
    features: FloatArray = np.stack([row.features for row in rows[-_GOLDEN_ROWS:]])
    return Golden(inputs_of(features, project.input.tensors), model.probabilities(features, temperature), tolerance)

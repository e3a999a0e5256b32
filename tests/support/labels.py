"""Labels as the topic `labels` carries them, for tests of what learns from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tiebreak.contracts.ids import label_id, task_id
from tiebreak.contracts.messages import Label, LabelMethod, Reason, Selection
from tiebreak.contracts.project import Classes, Input, Project, TensorSpec, Training
from tiebreak.training.dataset import Dataset, row_of


def project_of(
    shape: Sequence[int], classes: Sequence[str], *, open_set: bool = False, training: Training | None = None
) -> Project:
    """A project with one FP32 tensor `x` of this shape."""
    return Project(
        project="tests",
        input=Input(tensors=(TensorSpec(name="x", shape=tuple(shape)),)),
        classes=Classes(names=tuple(classes), open=open_set),
        training=training or Training(min_labels=10, step_labels=10, step_s=0.05, committee=3),
    )


def make_label(
    event: str,
    value: str,
    features: Sequence[float],
    *,
    project: str = "tests",
    audit: bool = False,
    revision: int = 1,
    withdrawn: bool = False,
    settled_ms: int = 0,
    distribution: Mapping[str, float] | None = None,
    schema_version: int = 1,
    propensity: float = 1.0,
) -> Label:
    """A settled label; what a test does not name is plain."""
    task = task_id(project, event)
    return Label(
        label_id=label_id(task),
        task_id=task,
        event_id=event,
        project=project,
        revision=revision,
        value=value,
        distribution=distribution if distribution is not None else {value: 1.0},
        confidence=1.0,
        method=LabelMethod.CONSENSUS,
        votes=(),
        features=tuple(float(v) for v in features),
        selection=Selection("margin", 0.5, 0.4, propensity, Reason.AUDIT if audit else Reason.UNCERTAIN, audit, "", ""),
        predicted="",
        event_time_ms=0,
        settled_ms=settled_ms,
        schema_version=schema_version,
        withdrawn=withdrawn,
    )


def blob_labels(
    n: int, *, classes: Sequence[str] = ("a", "b", "c"), audit_every: int = 5, seed: int = 0
) -> list[Label]:
    """``n`` labels of well separated classes in the plane; every ``audit_every``-th is an audit label."""
    rng = np.random.default_rng(seed)
    labels = []
    for i in range(n):
        kind = i % len(classes)
        centre = 4.0 * np.array([np.cos(2.1 * kind), np.sin(2.1 * kind)])
        point = (centre + rng.normal(0, 1, 2)).astype(np.float32)
        audit = audit_every > 0 and i % audit_every == 1
        labels.append(make_label(f"e{seed}-{i}", classes[kind], point.tolist(), audit=audit, settled_ms=1000 + i))
    return labels


def dataset_of(labels: Sequence[Label]) -> Dataset:
    return Dataset(row_of(label) for label in labels)


def revised(label: Label, value: str, settled_ms: int) -> Label:
    """A later revision of a label with another value."""
    return replace(label, revision=label.revision + 1, value=value, distribution={value: 1.0}, settled_ms=settled_ms)

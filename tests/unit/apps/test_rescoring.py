"""What a trained model thinks of waiting tasks: the same as the scorer would, from the features alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import onnxruntime
import pytest

from tests.support.labeling import a_task
from tests.support.labels import blob_labels, dataset_of, project_of
from tests.support.models import dense, manifest_of
from tiebreak.apps.rescoring import HeadOpinions
from tiebreak.contracts.project import Sampling, TensorSpec
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.sampling import acquisition
from tiebreak.training.dataset import training_set
from tiebreak.training.export import export
from tiebreak.training.learner import Settings, SoftmaxCommittee

PLANE = (TensorSpec(name="x", shape=(2,)),)
CLASSES = ("a", "b", "c")
Strategy = Literal["margin", "entropy", "vote_entropy"]
Utility = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("strategy", "output", "utility"),
    [
        ("margin", "probabilities", acquisition.margin),
        ("entropy", "probabilities", acquisition.entropy),
        ("vote_entropy", "members", acquisition.vote_entropy),
    ],
)
async def test_the_opinion_is_what_the_scorer_would_say(strategy: Strategy, output: str, utility: Utility) -> None:
    """Features in, the strategy's utility out, as onnxruntime computes it from the served file; odd widths are left alone."""
    rows = dataset_of(blob_labels(120, audit_every=0)).rows(audit=False)
    model = export(SoftmaxCommittee(Settings()).fit(training_set(rows, CLASSES)), PLANE, 1.7)
    project = project_of([2], CLASSES).model_copy(update={"sampling": Sampling(strategy=strategy)})
    store = MemoryModelStore()
    await store.put(manifest_of(project, model, "v2"), model)
    opinion = await HeadOpinions(project, store).of("v2")
    assert opinion is not None
    points = [(0.0, 0.0), (1.5, 0.2), (3.0, 9.0)]
    tasks = [replace(a_task(n), features=x) for n, x in enumerate([*points, (1.0,)])]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (served,) = session.run([output], {"x": np.array(points, np.float32)})
    said = opinion(tasks)
    np.testing.assert_allclose(np.array(said[:3], np.float64), utility(served), atol=1e-4)
    assert (said[3:], opinion([])) == ([None], [])
    ranked = [
        replace(tasks[0], selection=replace(tasks[0].selection, strategy=kind))
        for kind in ("density", "error_reduction")
    ]
    assert opinion(ranked) == [None, None]


async def test_a_model_that_is_gone_or_not_ours_has_no_opinion() -> None:
    """Waiting tasks then stay as they are."""
    project, store = project_of([2], CLASSES), MemoryModelStore()
    foreign = dense(np.eye(2, 3, dtype=np.float32))
    await store.put(manifest_of(project, foreign, "v1"), foreign)
    opinions = HeadOpinions(project, store)
    assert [await opinions.of("v1"), await opinions.of("v9")] == [None, None]

"""Does a prediction say what the model that it names says? Each model is loaded from the store and asked again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tiebreak.contracts.log import Partition, Record
from tiebreak.contracts.messages import Prediction
from tiebreak.contracts.ports import ModelStore
from tiebreak.contracts.project import Project
from tiebreak.runtime.model_graph import describe, parse
from tiebreak.runtime.model_plan import plan_model
from tiebreak.runtime.onnx_session import ModelSession
from tiebreak.runtime.sandbox import wanted_by
from tiebreak.scoring.decode import decode_batch

# Rows are added up in another order in a batch of another size.
_TOLERANCE = 1e-4


async def unlike_their_models(
    project: Project,
    store: ModelStore,
    events: Sequence[Record],
    predictions: Sequence[Prediction],
    per_model: int,
    seed: int,
) -> list[str]:
    """In words, each of a sample of ``per_model`` predictions of every version that is not that version's answer."""
    records = {(r.partition, r.offset): r for r in events}
    of_version: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        of_version[prediction.model_version].append(prediction)
    rng = np.random.default_rng(seed)
    found = [f"event {p.event_id}: no model is named, and it was answered" for p in of_version.pop("", []) if p.label]
    for version, given in sorted(of_version.items()):
        sample = [given[i] for i in rng.choice(len(given), min(per_model, len(given)), replace=False)]
        manifest, model = await store.get(project.project, version)
        plan = plan_model(describe(parse(model)), wanted_by(project, manifest))
        session = ModelSession(model, plan, manifest.temperature)
        for prediction in sample:
            record = records[prediction.source_partition, prediction.source_offset]
            columns, _ = decode_batch({Partition(record.topic, record.partition): [record]}, project)
            answer = session.answer(columns.inputs).probabilities[0]
            if not _same(prediction, answer, session.plan.classes):
                found.append(f"event {prediction.event_id}: {version} says {answer}, the prediction {prediction}")
    return found


def _same(prediction: Prediction, answer: np.ndarray[tuple[int], np.dtype[np.float32]], classes: Sequence[str]) -> bool:
    close = np.allclose(prediction.probabilities, answer, rtol=0.0, atol=_TOLERANCE)
    return close and answer[classes.index(prediction.label)] >= answer.max() - _TOLERANCE

"""Projects, batches and columns for tests of sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Budget, Classes, Drift, Input, Project, Sampling, TensorSpec
from tiebreak.contracts.tensors import EventColumns, FloatArray, Scores
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.decision import Decision
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import SamplerState

PLENTY = Grant(10**9, 0)
TOPIC = "tiebreak.p.events"


def project(
    *, sampling: Sampling | None = None, budget: Budget | None = None, drift: Drift | None = None, **sections: Any
) -> Project:
    """A project of 4-wide vectors in three classes whose budget never binds unless said otherwise."""
    return Project(
        project="p",
        partitions=2,
        input=Input(tensors=(TensorSpec(name="x", shape=(4,)),)),
        classes=Classes(names=("a", "b", "c")),
        sampling=sampling or Sampling(),
        budget=budget or Budget(labels_per_hour=1e9),
        drift=drift or Drift(),
        **sections,
    )


def policy(**settings: Any) -> Policy:
    """The policy of such a project with these sampling settings."""
    return Policy.of(project(sampling=Sampling(**settings)))


def probabilities(rng: np.random.Generator, events: int, classes: int = 3, sharpness: float = 0.3) -> FloatArray:
    """``(events, classes)``: the smaller ``sharpness``, the surer the model."""
    return rng.dirichlet(np.full(classes, sharpness), events).astype(np.float32)


def scored(
    p: FloatArray, *, start: int = 0, version: str = "v1", features: FloatArray | None = None, inputs: bool = False
) -> Scored:
    """A batch whose first event is number ``start`` of the stream."""
    return Scored(
        ids=[b"e%d" % (start + row) for row in range(len(p))],
        version=version,
        probabilities=p,
        features=features,
        inputs=features if inputs else None,
        offset=start + len(p) - 1,
    )


def pieces(batch: Scored, sizes: Sequence[int]) -> Iterator[Scored]:
    """The same events cut into batches of ``sizes`` (the last size repeats)."""
    start, turn = 0, 0
    while start < len(batch):
        stop = min(len(batch), start + sizes[min(turn, len(sizes) - 1)])
        yield Scored(
            ids=batch.ids[start:stop],
            version=batch.version,
            probabilities=batch.probabilities[start:stop],
            features=None if batch.features is None else batch.features[start:stop],
            inputs=None if batch.inputs is None else batch.inputs[start:stop],
            offset=batch.offset - len(batch) + stop,
            challenger=batch.challenger,
            differs=None if batch.differs is None else batch.differs[start:stop],
        )
        start, turn = stop, turn + 1


def run(
    made: Policy, batches: Sequence[Scored], state: SamplerState | None = None, grant: Grant = PLENTY
) -> tuple[list[Decision], SamplerState]:
    """Decide batch after batch, a second apart."""
    state = initial(made) if state is None else state
    decisions = []
    for second, batch in enumerate(batches):
        decision, state = decide(made, state, batch, grant, Moment(float(second)))
        decisions.append(decision)
    return decisions, state


def chosen(batches: Sequence[Scored], decisions: Sequence[Decision]) -> list[bytes]:
    """The ids that were selected, in order."""
    return [batch.ids[row] for batch, decision in zip(batches, decisions, strict=True) for row in decision.rows]


def columns_of(events: int, *, start: int = 0, partition: int = 0, seed: int = 0) -> EventColumns:
    """``events`` decoded events of one partition, from offset ``start`` on."""
    rng = np.random.default_rng((seed, start))
    ids = [b"e%d-%d" % (partition, start + row) for row in range(events)]
    records = [StoredRecord(TOPIC, partition, start + row, 1_000 + row, ids[row], b"raw") for row in range(events)]
    return EventColumns(
        ids=ids,
        inputs={"x": rng.normal(size=(events, 4)).astype(np.float32)},
        records=records,
        spans=[(Partition(TOPIC, partition), slice(0, events))] if events else [],
    )


def scores_of(columns: EventColumns, *, seed: int = 1, classes: int = 3, version: str = "v1") -> Scores:
    """What a model says of them; ``classes=0``: there is no model."""
    names = ("a", "b", "c")[:classes]
    if not classes:
        return Scores("", (), np.zeros((len(columns), 0), dtype=np.float32))
    return Scores(version, names, probabilities(np.random.default_rng((seed, len(columns))), len(columns), classes))

"""Floods: a million identical events, and senders of odd events who would have the whole budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.support.sampling import PLENTY, TOPIC, policy, project, scored
from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.contracts.messages import Selection
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Budget, Sampling
from tiebreak.contracts.tensors import EventColumns, Scores
from tiebreak.runtime.clock import ManualClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling.appraisal import Moment, initial
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.policy import decide
from tiebreak.sampling.stage import Sampler
from tiebreak.sampling.state import snapshot

TURNS, SIZE = 60, 400


@pytest.mark.parametrize(
    ("turns", "extra"), [(123, {}), (30, {"window_s": 1.0}), (30, {"strategy": "error_reduction"})]
)
def test_a_million_identical_events_cost_their_share_and_no_memory(turns: int, extra: dict[str, Any]) -> None:
    """They spend no more than their share, look like no drift, and leave a bounded state (a million by default, fewer elsewhere)."""
    made = policy(target_share=0.01, **extra)
    state, spent, records, sizes = initial(made), 0, 0, []
    p = np.tile(np.array([[0.6, 0.3, 0.1]], np.float32), (8192, 1))
    features = np.ones((8192, 4), np.float32)
    for turn in range(turns):
        batch = scored(p, start=8192 * turn, features=features, inputs=True)
        decision, state = decide(made, state, batch, PLENTY, Moment(float(turn)))
        spent, records = spent + len(decision.rows), records + len(decision.records)
        sizes.append(len(snapshot(state, made.fingerprint)))
    assert spent <= 0.01 * 8192 * turns * 1.01 + 20
    assert records == 0
    assert max(sizes) < 195_000


def traffic(turn: int) -> tuple[EventColumns, Scores, list[bool]]:
    """A third of the events comes from one source: undecidable for any model, and unlike anything, each other included."""
    rng = np.random.default_rng(turn)
    theirs = rng.random(SIZE) < 1.0 / 3.0
    sure = rng.uniform(0.6, 1.0, SIZE)
    p = np.where(theirs[:, None], 1.0 / 3.0, np.column_stack([sure, (1.0 - sure) / 2, (1.0 - sure) / 2]))
    x = np.where(
        theirs[:, None], 50.0 * rng.normal(size=(SIZE, 4)), [[1.0, 0.0, 0.0, 0.0]] + 0.2 * rng.normal(size=(SIZE, 4))
    )
    ids = [b"f%d" % (SIZE * turn + row) for row in range(SIZE)]
    records = [
        StoredRecord(
            TOPIC, 0, SIZE * turn + row, 1000, None, b"", (("ce_source", b"odd" if odd else b"s%d" % (row % 30)),)
        )
        for row, odd in enumerate(theirs.tolist())
    ]
    columns = EventColumns(ids, {"x": x.astype(np.float32)}, records, [(Partition(TOPIC, 0), slice(0, SIZE))])
    return columns, Scores("v1", ("a", "b", "c"), p.astype(np.float32)), theirs.tolist()


async def flooded(**sampling: Any) -> tuple[list[bool], list[Selection]]:
    """Whether each question that is no audit is about the flooder, over a flood that the shared budget does not bear."""
    made = project(
        sampling=Sampling.model_validate({"target_share": 0.1, **sampling}),
        budget=Budget(labels_per_hour=18_000.0, carry_over=100, max_open_tasks=10**6),
    )
    clock = ManualClock()
    sampler = Sampler(made, MemoryBudget(made), MemorySnapshots(), Metrics("p"), clock)
    about, selections = [], []
    for turn in range(TURNS):
        columns, scores, theirs = traffic(turn)
        sampled = await sampler.select(columns, scores)
        asked = [(theirs[row], s) for row, s in zip(sampled.rows, sampled.selections, strict=True) if not s.audit]
        about += [odd for odd, _ in asked]
        selections += [s for _, s in asked]
        clock.advance(2.0)
    return about, selections


@pytest.mark.parametrize("extra", [{}, {"window_s": 1.0}, {"strategy": "density"}, {"rule": "adaptive", "temper": 0.0}])
async def test_who_sends_odd_events_gets_a_share_of_the_questions(extra: dict[str, Any]) -> None:
    """Unbounded, the sender of odd events has most questions; with ``origin_share`` no more than that share of any 200."""
    free, _ = await flooded(**extra)
    capped, selections = await flooded(origin_share=0.2, **extra)
    assert np.mean(free) > 0.5
    assert max(sum(capped[at : at + 200]) for at in range(max(1, len(capped) - 199))) <= 40
    assert sum(not odd for odd in capped) > 1.3 * sum(not odd for odd in free)
    assert all(0.0 < s.propensity <= 1.0 for s in selections)


@pytest.mark.parametrize("labels", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_of_nothing_is_no_budget(labels: float) -> None:
    """Zero, less, and what is no number are refused when the project file is read, by the key."""
    with pytest.raises(ValidationError, match="labels_per_hour"):
        Budget(labels_per_hour=labels)


def test_a_grant_of_nothing_selects_nothing() -> None:
    """An empty bucket, or one that answers nonsense below zero, asks nobody anything."""
    made = policy(target_share=0.5)
    batch = scored(np.full((500, 3), 1.0 / 3.0, np.float32))
    for granted in (0, -5):
        decision, _ = decide(made, initial(made), batch, Grant(granted, 0), Moment(0.0))
        assert decision.rows == ()

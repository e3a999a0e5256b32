"""Two replicas of one project: a change is one burst, wherever it is seen first."""

from __future__ import annotations

import numpy as np

from tests.support.sampling import TOPIC, columns_of, project, scores_of
from tiebreak.contracts.log import Partition
from tiebreak.contracts.messages import DriftEvent, DriftRecord, Label, LabelMethod, Reason, Selection
from tiebreak.contracts.project import Budget, Burst, Drift, Sampling
from tiebreak.runtime.clock import ManualClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.stage import Sampler

MADE = project(
    sampling=Sampling(target_share=0.1),
    budget=Budget(labels_per_hour=1e9, carry_over=1000),
    drift=Drift(burst=Burst(labels=60, cooldown_events=2000)),
)


class Fleet:
    """Two samplers, a partition each, over one budget; ``turn`` gives each a batch of its own events."""

    def __init__(self) -> None:
        self.clock, self.budget = ManualClock(), MemoryBudget(MADE)
        self.samplers = [Sampler(MADE, self.budget, MemorySnapshots(), Metrics("p"), self.clock) for _ in range(2)]
        self.selections: list[list[Selection]] = [[], []]
        self.records: list[list[DriftRecord]] = [[], []]
        self._at = 0

    async def start(self) -> Fleet:
        for index, sampler in enumerate(self.samplers):
            await sampler.assigned(frozenset({Partition(TOPIC, index)}))
        return self

    async def turn(self, events: int = 200) -> None:
        self.clock.advance(1.0)
        for index, sampler in enumerate(self.samplers):
            columns = columns_of(events, start=self._at + 1_000_000 * index)
            sampled = await sampler.select(columns, scores_of(columns))
            self.selections[index] += sampled.selections
            self.records[index] += sampled.drift
        self._at += events

    def told(self, event: DriftEvent) -> list[list[str]]:
        return [[r.burst_id for r in records if r.event is event] for records in self.records]


def label(number: int, *, wrong: bool) -> Label:
    selection = Selection("margin", 0.1, 0.0, 0.1, Reason.UNCERTAIN, audit=False, model_version="v1", state_digest="")
    return Label(
        f"l{number}", "t", "e", "p", 1, "b" if wrong else "a", {"a": 1.0}, 1.0, LabelMethod.CONSENSUS, (), (),
        selection, "a", 0, 0, 1,
    )  # fmt: skip


async def test_what_all_replicas_see_is_one_burst() -> None:
    """Labels that turn wrong reach both: one burst is told, opened and closed once, and both together spend its labels."""
    fleet = await Fleet().start()
    for _ in range(20):
        await fleet.turn()
    for number in range(80):
        for sampler in fleet.samplers:
            sampler.observe_label(label(number, wrong=number >= 60))
    for _ in range(20):
        await fleet.turn()
    opened = fleet.told(DriftEvent.BURST_OPENED)
    assert [len(one) for one in opened] == [1, 0]
    assert fleet.told(DriftEvent.ALARM) == [opened[0], opened[0]]
    assert fleet.told(DriftEvent.BURST_CLOSED) == [opened[0], []]
    spent = [sum(s.burst_id == opened[0][0] for s in chosen) for chosen in fleet.selections]
    assert {s.burst_id for chosen in fleet.selections for s in chosen} == {"", opened[0][0]}
    assert all(30 <= one <= 60 for one in spent)
    assert fleet.records[0][-1].ended == "labels"


async def test_what_one_replica_sees_is_a_burst_of_all() -> None:
    """An alarm on one partition alone: the other replica takes part with its own share of the labels, and tells nothing of it."""
    fleet = await Fleet().start()
    for _ in range(20):
        await fleet.turn()
    for number in range(80):
        fleet.samplers[1].observe_label(label(number, wrong=number >= 60))
    for _ in range(20):
        await fleet.turn()
    opened = fleet.told(DriftEvent.BURST_OPENED)
    assert [len(one) for one in opened] == [0, 1]
    record = next(r for r in fleet.records[1] if r.event is DriftEvent.BURST_OPENED)
    assert record.burst_size == 60
    assert [r for r in fleet.records[0] if r.event is not DriftEvent.WARNING] == []
    assert all(30 <= sum(s.burst_id == record.burst_id for s in chosen) <= 60 for chosen in fleet.selections)


async def test_a_replica_that_starts_again_takes_part_in_a_burst_once() -> None:
    """A burst that was taken part in and is over is not joined again while the project still rests from it."""
    fleet = await Fleet().start()
    for _ in range(20):
        await fleet.turn()
    for number in range(80):
        fleet.samplers[0].observe_label(label(number, wrong=number >= 60))
    for _ in range(40):
        await fleet.turn()
    by_burst = [np.flatnonzero([bool(s.burst_id) for s in chosen]) for chosen in fleet.selections]
    assert all(np.ptp(places) < 80 for places in by_burst)

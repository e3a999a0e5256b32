"""Two replicas of one project: a change is one burst, wherever it is seen first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.support.sampling import TOPIC, columns_of, project, scores_of
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.log import Partition
from tiebreak.contracts.messages import DriftEvent, DriftRecord, Label, LabelMethod, Reason, Selection
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Budget, Burst, Drift, Project, Sampling
from tiebreak.contracts.sampled import Sampled
from tiebreak.runtime.clock import ManualClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.stage import Sampler

MADE = project(
    sampling=Sampling(target_share=0.1),
    budget=Budget(labels_per_hour=1e9, carry_over=1000),
    drift=Drift(burst=Burst(labels=60, known_to=None, cooldown_events=2000)),
)
QUICK = MADE.model_copy(update={"drift": Drift(burst=Burst(labels=60, known_to=None, cooldown_events=40))})


class Leaving(MemoryBudget):
    """A budget that may be away when it is asked for labels, though it lent some just before."""

    away = False

    async def take(self, wanted: int, now_s: float, batch_key: str, bill: Sequence[float] = ()) -> Grant:
        if self.away:
            raise SlowDown("no answer")
        return await super().take(wanted, now_s, batch_key, bill)


class Fleet:
    """Samplers over one budget, a partition each, of which two start; ``turn`` gives each a batch of its own events and commits it."""

    def __init__(self, made: Project = MADE) -> None:
        self.made, self.clock, self.budget, self.snapshots = made, ManualClock(), Leaving(made), MemorySnapshots()
        self.samplers: list[Sampler] = []
        self.selections: list[list[Selection]] = []
        self.records: list[list[DriftRecord]] = []
        self.at = 0

    async def start(self, replicas: int = 2) -> Fleet:
        for _ in range(replicas):
            self.samplers.append(await self.sampler(len(self.samplers)))
            self.selections.append([])
            self.records.append([])
        return self

    async def sampler(self, index: int) -> Sampler:
        sampler = Sampler(self.made, self.budget, self.snapshots, Metrics("p"), self.clock)
        await sampler.assigned(frozenset({Partition(TOPIC, index)}))
        return sampler

    async def batch(self, index: int, events: int = 200) -> Sampled:
        """The next events of a partition, decided and not committed."""
        columns = columns_of(events, start=self.at + 1_000_000 * index, partition=index)
        return await self.samplers[index].select(columns, scores_of(columns))

    async def turn(self, events: int = 200, turns: int = 1) -> None:
        for _ in range(turns):
            self.clock.advance(1.0)
            for index, sampler in enumerate(self.samplers):
                sampled = await self.batch(index, events)
                self.selections[index] += sampled.selections
                self.records[index] += sampled.drift
                await sampler.committed({Partition(TOPIC, index): self.at + 1_000_000 * index + events})
            self.at += events

    def told(self, event: DriftEvent) -> list[list[str]]:
        return [[r.burst_id for r in records if r.event is event] for records in self.records]

    def tell(self, index: int, count: int = 80, right: int = 60) -> None:
        """Labels that turn wrong after the first ``right``."""
        for number in range(count):
            self.samplers[index].observe_label(label(number, wrong=number >= right))


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
    assert (fleet.records[0][-1].ended, fleet.records[0][-1].burst_size) == ("labels", 60)


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
    """A burst that is over is not joined again during its rest: by a heir of the snapshot, or of the newest one."""
    fleet = await Fleet().start()
    await fleet.turn(turns=20)
    fleet.tell(0)
    await fleet.turn(turns=10)
    by_burst = [np.flatnonzero([bool(s.burst_id) for s in chosen]) for chosen in fleet.selections]
    assert all(0 < np.ptp(places) < 80 for places in by_burst)
    for sampler in fleet.samplers:
        await sampler.close()
    fleet.samplers = [await fleet.sampler(0), await fleet.sampler(1)]
    await fleet.start(1)
    asked, open_one = (
        [len(chosen) for chosen in fleet.selections],
        (await fleet.budget.take(0, 30.0, "")).burst.burst_id,
    )
    await fleet.turn(turns=10)
    assert [open_one] == fleet.told(DriftEvent.BURST_OPENED)[0]
    for before, chosen in zip(asked, fleet.selections, strict=True):
        assert {s.burst_id for s in chosen[before:]} == {""}


async def test_a_replica_that_comes_in_a_burst_tells_nothing_of_its_end() -> None:
    """It starts from the newest snapshot, of the replica that opened the burst and tells of its end."""
    fleet = await Fleet().start(1)
    await fleet.turn(turns=20)
    fleet.tell(0)
    await fleet.turn(events=64)
    await fleet.samplers[0].close()
    await fleet.start(1)
    await fleet.turn(turns=10)
    opened = fleet.told(DriftEvent.BURST_OPENED)
    assert (fleet.told(DriftEvent.BURST_CLOSED), len(opened[0])) == ([opened[0], []], 1)
    assert {s.burst_id for s in fleet.selections[1]} == {"", opened[0][0]}


@pytest.mark.parametrize("ahead", [0, 1])
async def test_a_rewind_across_an_alarm_tells_the_same_again(ahead: int) -> None:
    """Publishing failed: the batches come again with the labels that each took in, and the burst is opened by its opener."""
    fleet = await Fleet().start(1)
    await fleet.turn(turns=20)
    sampler, began = fleet.samplers[0], fleet.at
    attempts = []
    fleet.tell(0, 60 if ahead else 80)
    for attempt in range(3):
        fleet.at, told = began, []
        for number in range(ahead + 3):
            told.append(await fleet.batch(0))
            fleet.at += 200
            if ahead and not attempt and not number:
                fleet.tell(0, 20, 0)
        attempts.append([(one.rows, one.selections, [r.event for r in one.drift], one.drift) for one in told])
        await sampler.rewind()
    assert attempts[0][ahead][2][:2] == [DriftEvent.ALARM, DriftEvent.BURST_OPENED]
    assert attempts[0] == attempts[1] == attempts[2]
    fleet.at = began
    await fleet.turn(turns=10)
    assert [len(fleet.told(e)[0]) for e in (DriftEvent.BURST_OPENED, DriftEvent.BURST_CLOSED)] == [1, 1]


async def test_a_restart_across_an_alarm_tells_the_same_again() -> None:
    """A new process is not told of the burst before the batch that opens it."""
    fleet = await Fleet().start(1)
    await fleet.turn(turns=20)
    await fleet.samplers[0].close()
    began, attempts = fleet.at, []
    for _ in range(2):
        fleet.at, told = began, []
        fleet.samplers = [await fleet.sampler(0)]
        for number in range(4):
            told.append((await fleet.batch(0)).drift)
            fleet.at += 200
            if number == 1:
                fleet.tell(0)
        attempts.append(told)
    assert [r.event for r in attempts[0][2]][:2] == [DriftEvent.ALARM, DriftEvent.BURST_OPENED]
    assert attempts[0] == attempts[1]


async def test_a_restart_with_other_batches_tells_of_the_burst_that_it_opened() -> None:
    """Its opener died before anything was published, and comes again with batches cut elsewhere and without the labels it had heard."""
    fleet = await Fleet().start()
    await fleet.turn(turns=20)
    await fleet.samplers[0].close()
    fleet.tell(0)
    lost = [r.burst_id for r in (await fleet.batch(0)).drift if r.event is DriftEvent.BURST_OPENED]
    fleet.samplers[0] = await fleet.sampler(0)
    await fleet.turn(events=150, turns=20)
    assert (fleet.told(DriftEvent.BURST_OPENED), fleet.told(DriftEvent.BURST_CLOSED)) == ([lost, []], [lost, []])
    opened = next(r for r in fleet.records[0] if r.event is DriftEvent.BURST_OPENED)
    assert opened.burst_size == 60
    assert all(20 <= sum(s.burst_id == lost[0] for s in chosen) <= 60 for chosen in fleet.selections)


async def test_a_batch_that_the_budget_did_not_answer_opens_its_burst_when_it_comes_again() -> None:
    """Borrowed, and then no answer to what was wanted: the next try is the opener's still."""
    fleet = await Fleet().start(1)
    await fleet.turn(turns=20)
    fleet.tell(0)
    fleet.budget.away = True
    with pytest.raises(SlowDown):
        await fleet.batch(0)
    fleet.budget.away = False
    assert [r.event for r in (await fleet.batch(0)).drift][:2] == [DriftEvent.ALARM, DriftEvent.BURST_OPENED]


async def test_a_second_alarm_in_the_rest_of_a_burst_that_is_over_asks_no_more() -> None:
    """Nothing was lent for it: it is told as an alarm of the first burst, which is opened, spent and closed once."""
    fleet = await Fleet().start(1)
    await fleet.turn(turns=20)
    fleet.tell(0)
    await fleet.turn(turns=15)
    fleet.tell(0)
    await fleet.turn(turns=10)
    opened = fleet.told(DriftEvent.BURST_OPENED)[0]
    assert (len(opened), fleet.told(DriftEvent.ALARM), fleet.told(DriftEvent.BURST_CLOSED)) == (
        1,
        [2 * opened],
        [opened],
    )
    assert 30 <= sum(bool(s.burst_id) for s in fleet.selections[0]) <= 70


@pytest.mark.parametrize("owner", [0, 1])
async def test_a_second_alarm_in_a_burst_leaves_it_as_it_is(owner: int) -> None:
    """It goes on, is closed once by its labels, and takes no more than those, of its opener and of who takes part."""
    fleet = await Fleet(QUICK).start()
    await fleet.turn(turns=20)
    fleet.tell(owner)
    # Who takes part has spent its own labels by then: a burst begun anew would be seen in what it asks.
    await fleet.turn(events=16, turns=10 if owner else 3)
    assert fleet.told(DriftEvent.BURST_CLOSED) == [[], []]
    fleet.tell(0)
    await fleet.turn(turns=10)
    told = {event: fleet.told(event) for event in DriftEvent}
    opened = told[DriftEvent.BURST_OPENED][owner]
    assert (len(opened), told[DriftEvent.BURST_OPENED][1 - owner]) == (1, [])
    assert told[DriftEvent.ALARM][0] == (opened if owner else 2 * opened)
    assert (told[DriftEvent.BURST_CLOSED][owner], told[DriftEvent.BURST_CLOSED][1 - owner]) == (opened, [])
    assert fleet.records[owner][-1].ended == "labels"
    assert 25 <= sum(bool(s.burst_id) for s in fleet.selections[0]) <= 60


async def test_a_second_alarm_of_the_batch_that_opened_a_burst_leaves_it_to_its_opener() -> None:
    """Labels turn wrong, and later in the same batch the inputs move: one burst, which goes on and whose end is told."""
    fleet = await Fleet(QUICK).start(1)
    await fleet.turn(turns=20)
    fleet.tell(0)
    columns = columns_of(4000, start=fleet.at)
    columns.inputs["x"][2000:] += 3.0
    sampled = await fleet.samplers[0].select(columns, scores_of(columns))
    fleet.selections[0] += sampled.selections
    fleet.records[0] += sampled.drift
    fleet.at += 4000
    await fleet.turn(turns=10)
    opened = fleet.told(DriftEvent.BURST_OPENED)[0]
    assert [r.burst_id for r in sampled.drift if r.event is DriftEvent.ALARM] == 2 * opened
    assert {*fleet.told(DriftEvent.ALARM)[0]} == {*opened}
    assert [(r.burst_id, r.ended) for r in fleet.records[0] if r.event is DriftEvent.BURST_CLOSED] == [
        (opened[0], "labels")
    ]


async def test_a_burst_that_was_heard_of_before_does_not_take_the_place_of_a_newer_one() -> None:
    """A batch that asks nobody opens a burst, long after another: the next batch is asked for the newer."""
    fleet = await Fleet(QUICK).start(1)
    await fleet.turn(turns=20)
    fleet.tell(0)
    await fleet.turn(events=64, turns=2)
    fleet.clock.advance(100.0)
    fleet.tell(0)
    fleet.at += 64
    quiet = await fleet.batch(0, 1)
    assert (quiet.rows, [r.event for r in quiet.drift][-1]) == ((), DriftEvent.BURST_OPENED)
    newer = quiet.drift[-1].burst_id
    fleet.at += 1
    assert {s.burst_id for s in (await fleet.batch(0)).selections} >= {newer}


async def test_a_burst_that_listened_is_told_as_spent_when_a_replica_joins_anothers() -> None:
    """Its labels were spent and nobody had answered: that is why it asked no more, whatever came later."""
    listening = MADE.model_copy(update={"drift": Drift(burst=Burst(labels=60, cooldown_events=40))})
    fleet = await Fleet(listening).start()
    await fleet.turn(turns=20)
    fleet.tell(0)
    await fleet.turn(turns=10)
    assert fleet.told(DriftEvent.BURST_CLOSED) == [[], []]
    fleet.clock.advance(100.0)
    fleet.tell(1)
    await fleet.turn(turns=3)
    opened = fleet.told(DriftEvent.BURST_OPENED)
    assert [len(one) for one in opened] == [1, 1]
    closed = [(r.burst_id, r.ended) for r in fleet.records[0] if r.event is DriftEvent.BURST_CLOSED]
    assert closed == [(opened[0][0], "labels")]


async def test_a_burst_of_its_own_is_over_when_a_replica_joins_anothers() -> None:
    """The first burst's rest is over, not its labels, when the other replica opens the next: its opener tells of its end."""
    fleet = await Fleet(QUICK).start()
    await fleet.turn(turns=20)
    fleet.tell(0)
    await fleet.turn(events=16)
    for _ in range(4):
        await fleet.batch(1)
        fleet.at += 200
    fleet.clock.advance(100.0)
    fleet.tell(1)
    newer = [r.burst_id for r in (await fleet.batch(1)).drift if r.event is DriftEvent.BURST_OPENED]
    fleet.at += 200
    await fleet.turn(events=16, turns=2)
    opened = fleet.told(DriftEvent.BURST_OPENED)[0]
    closed = [(r.burst_id, r.ended) for r in fleet.records[0] if r.event is DriftEvent.BURST_CLOSED]
    assert (len(opened), len(newer), closed) == (1, 1, [(opened[0], "replaced")])

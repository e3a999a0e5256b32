"""What the hour of the day adds to a number is learnt from days that agree, and only that: a change that stays is no cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.sampling import columns_of, project, scores_of
from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.contracts.project import Drift
from tiebreak.runtime.clock import ManualClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling import drift as d
from tiebreak.sampling.appraisal import Policy, initial
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.seasons import DAY_MS, HOUR_MS, HOURS, NUMBERS, Seasons, counted, turned, usual
from tiebreak.sampling.stage import Sampler
from tiebreak.sampling.state import SamplerState, restore, snapshot

DAY = 8000  # events
FIRST_MS = 20_000 * DAY_MS + 1
SETTINGS = Drift(signals=("uncertainty", "predicted_class"))
CYCLE = 0.1 * np.sin(np.arange(HOURS) / HOURS * 2.0 * np.pi)

Floats = NDArray[np.float64]


def stream(seed: int, days: int, *, cycle: float = 0.06, level: Floats | float = 0.0) -> Floats:
    """Uncertainties of ``days``, up and down by ``cycle`` in each, about a ``level``."""
    rng = np.random.default_rng(seed)
    hour = np.sin(2.0 * np.pi * np.arange(days * DAY) / DAY)
    return np.clip(rng.beta(3.0, 6.0, days * DAY) + cycle * hour + level, 0.0, 1.0)


def time_of(number: int) -> int:
    return FIRST_MS + number * DAY_MS // DAY


def watched(
    uncertainty: Floats,
    *,
    size: int = 500,
    at: int = 0,
    state: d.DriftState | None = None,
    clock: Callable[[int], int] | None = time_of,
) -> tuple[d.DriftState, list[int]]:
    """The state after the stream, in batches of ``size``, and the event numbers of its alarms."""
    state, found = d.fresh(SETTINGS) if state is None else state, list[int]()
    for start in range(0, len(uncertainty), size):
        some = uncertainty[start : start + size]
        first = at + start
        told = None if clock is None else (lambda row, first=first: clock(first + row))
        seen = d.Observed(len(some), 2, some, (some > 0.4).astype(np.int64), None, told)
        state, fired = d.observe(state, seen, SETTINGS, first)
        found += [one.at for one in fired if one.alarm]
    return state, found


def learnt(days: list[Floats], hours: range = range(HOURS), blocks: int = 30) -> Seasons:
    """Days of ``(24,)`` numbers by the hour, of ``blocks`` blocks each."""
    seasons = Seasons()
    for day, numbers in enumerate(days, 20_000):
        seasons = turned(seasons, day)
        for hour in hours:
            times = [day * DAY_MS + hour * HOUR_MS + block for block in range(blocks)]
            seasons = counted(seasons, np.full((blocks, NUMBERS), numbers[hour]), times)
    return turned(seasons, 20_000 + len(days))


def noisy(days: int, sd: float, seed: int = 1) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [CYCLE + rng.normal(0.0, sd, HOURS) for _ in range(days)]


@pytest.mark.parametrize("seed", range(3))
def test_a_cycle_that_was_seen_twice_raises_no_alarm(seed: int) -> None:
    """A steep cycle is a change twice a day, until two days have shown it; without the time of events it stays one."""
    timed, blind = (watched(stream(seed, 8), clock=clock)[1] for clock in (time_of, None))
    assert [at for at in timed if at >= 2 * DAY] == []
    assert len([at for at in blind if at >= 2 * DAY]) > 6


@pytest.mark.parametrize("hour", [3, 9, 15, 21])
def test_a_change_that_stays_is_found_in_a_cycle_and_is_no_part_of_it(hour: int) -> None:
    """After five days the level moves by what the cycle does: one alarm, soon, and the next days raise none."""
    change = 5 * DAY + hour * DAY // HOURS
    level = np.where(np.arange(9 * DAY) < change, 0.0, 0.12)
    _, alarms = watched(stream(7, 9, level=level))
    assert len([at for at in alarms if at >= 2 * DAY]) == 1
    assert change < alarms[-1] < change + 700


def test_levels_that_move_between_days_and_models_are_no_part_of_the_shape() -> None:
    """Every day has a level of its own, and a model that comes in the middle of it another: the shape is the hours' own."""
    days = [numbers + level for numbers, level in zip(noisy(4, 0.01), (0.0, 0.5, -0.3, 0.9), strict=True)]
    assert np.abs(learnt(days).shape - CYCLE).max() < 0.02
    seasons = Seasons()
    for day, numbers in enumerate(noisy(5, 0.005), 20_000):
        seasons = turned(seasons, day)
        for hour in range(HOURS):
            promoted = 4 * (day % 5) + 3
            if hour == promoted:
                seasons = turned(seasons, day)
            row = np.full((30, NUMBERS), numbers[hour] + (0.8 if hour >= promoted else 0.0))
            seasons = counted(seasons, row, [day * DAY_MS + hour * HOUR_MS + 1] * 30)
    assert np.abs(turned(seasons, 20_005).shape - CYCLE).max() < 0.03


def test_a_promotion_begins_another_stretch() -> None:
    """Each day a model comes at another hour and is far less sure than the last: the shape is that of days without."""
    calm, state, level = watched(stream(5, 5))[0], d.fresh(SETTINGS), 0.0
    for day in range(5):
        promoted = (4 * day + 3) * DAY // HOURS
        for some in (slice(0, promoted), slice(promoted, DAY)):
            if some.start:
                state, level = d.new_model(state, inputs_too=False), 0.3 - level
            part = stream(5, 5)[day * DAY : (day + 1) * DAY][some]
            state, _ = watched(part + level, state=state, at=day * DAY + some.start)
    assert np.abs(state.seasons.shape[0] - calm.seasons.shape[0]).max() < 0.02


def test_a_shape_is_believed_as_far_as_days_agree() -> None:
    """After one day nothing is; chance alone hardly ever is; what is drowned in noise counts for less than it is."""
    once = learnt(noisy(1, 0.001))
    times = [20_001 * DAY_MS + hour * HOUR_MS + 1 for hour in range(8)]
    some = turned(counted(once, np.tile(CYCLE[:8, None], NUMBERS), times), 20_002)
    assert not once.shape.any()
    assert not some.shape.any()
    chance = [learnt([n - CYCLE for n in noisy(7, 0.05, seed)]).shape for seed in range(30)]
    assert np.mean([shape.any() for shape in chance]) < 0.1
    drowned = [learnt(noisy(7, 0.1, seed)).shape[0] for seed in range(30)]
    assert 0.4 < np.mean([shape @ CYCLE for shape in drowned]) / (CYCLE @ CYCLE) < 0.9


def test_hours_without_traffic_lead_from_the_last_to_the_first() -> None:
    """Eight to eighteen, and nothing at night: at the edges the shape is that of the nearest hour."""
    shape = learnt(noisy(5, 0.005), range(8, 18)).shape[0]
    assert abs(shape[18] - shape[17]) < 0.03
    assert abs(shape[7] - shape[8]) < 0.03
    assert np.isfinite(shape).all()


def test_between_the_middles_of_two_hours_there_is_a_line() -> None:
    """At half past an hour it is that hour's value, on the hour the mean of two, round midnight too; without a time nothing."""
    shape = np.tile(np.arange(float(HOURS)), (NUMBERS, 1))
    half = HOUR_MS // 2
    found = usual(Seasons(shape=shape), [DAY_MS + half, DAY_MS + 2 * HOUR_MS, DAY_MS, 0, -1])[:, 0]
    assert found.tolist() == [0.0, 1.5, 11.5, 0.0, 0.0]


def test_clocks_that_disagree_by_a_year_teach_nothing_and_forget_nothing() -> None:
    """Two partitions in turn, one a year ahead: no stretch of two hours ever ends, and what is known stays."""
    before = learnt(noisy(4, 0.01))
    after = before
    for turn in range(400):
        time_ms = (20_010 + 365 * (turn % 2)) * DAY_MS + turn * 60_000
        after = counted(turned(after, time_ms // DAY_MS), np.full((1, NUMBERS), float(turn % 7)), [time_ms])
    assert np.array_equal(after.shape, before.shape)
    assert np.array_equal(after.normal, before.normal)


def test_another_cut_or_a_snapshot_changes_nothing() -> None:
    """Batches of 37, 500 and 4,000 over midnights and alarms, or a state written down and read again, give the same state."""
    level = np.where(np.arange(5 * DAY) < 3.4 * DAY, 0.0, 0.12)
    events = stream(9, 5, level=level)
    whole, alarms = watched(events, size=4000)
    assert alarms
    for size in (37, 500):
        cut, found = watched(events, size=size)
        assert (found, cut.seasons.day) == (alarms, whole.seasons.day)
        for name in ("shape", "normal", "moment", "open", "total", "compared"):
            # A block that is cut is summed in two parts: the last bits.
            assert np.allclose(getattr(cut.seasons, name), getattr(whole.seasons, name), 1e-9, 1e-12), name
        assert [len(w.log) for w in cut.watches] == [len(w.log) for w in whole.watches]
    half = 3 * DAY + 1234
    first, early = watched(events[:half])
    template = SamplerState(d.fresh(SETTINGS))
    kept = restore(snapshot(replace(template, drift=first), "f"), template, "f").drift
    again, late = watched(events[half:], at=half, state=kept)
    live, _ = watched(events[half:], at=half, state=first)
    assert early + late == alarms
    assert snapshot(replace(template, drift=again), "f") == snapshot(replace(template, drift=live), "f")


@pytest.mark.parametrize("clock", [lambda _: 0, lambda _: -1], ids=["none", "Kafka's none"])
def test_events_without_a_time_have_no_hour(clock: Callable[[int], int]) -> None:
    """What has no time is watched as before, alarm for alarm."""
    events = stream(3, 4)
    state, alarms = watched(events, clock=clock)
    assert alarms == watched(events, clock=None)[1] != []
    assert not state.seasons.open.any()


async def test_the_sampler_takes_the_time_of_its_records() -> None:
    """The hour is that of the record, so a replay has the same; the process' clock says nothing."""
    made = project()
    snapshots, columns = MemorySnapshots(), columns_of(320)
    at_three = 20_000 * DAY_MS + 3 * HOUR_MS
    records = [StoredRecord(r.topic, r.partition, r.offset, at_three, r.key, r.value) for r in columns.records]
    sampler = Sampler(made, MemoryBudget(made), snapshots, Metrics("p"), ManualClock())
    await sampler.assigned(frozenset({Partition(records[0].topic, 0)}))
    await sampler.select(replace(columns, records=records), scores_of(columns))
    await sampler.committed({Partition(records[0].topic, 0): 320})
    await sampler.close()
    kept = await snapshots.load("latest")
    assert kept is not None
    policy = Policy.of(made)
    counts = restore(kept, initial(policy), policy.fingerprint).drift.seasons.open[0].sum(axis=1)
    assert np.flatnonzero(counts).tolist() == [3]

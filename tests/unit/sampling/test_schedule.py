"""The share that a budget allows, ahead of plan early and in bursts, and paid back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tiebreak.contracts.project import Budget, Burst, Sampling
from tiebreak.sampling import schedule as s

SAMPLING = Sampling(target_share=0.02)
PAID = replace(s.Plan(), early=0.0)


def watched(events_per_s: int, seconds: int) -> s.Plan:
    plan = PAID
    for second in range(seconds + 1):
        plan = s.arrive(plan, events_per_s, float(second))
    return plan


def test_the_share_follows_the_arrival_rate() -> None:
    """3600 labels an hour on 1000 events a second are a thousandth of them."""
    plan = watched(1000, 120)
    assert s.base_share(plan, SAMPLING, 3600.0, 1.0) == pytest.approx(0.001, rel=0.02)


def test_a_surge_lowers_the_share_and_not_the_budget() -> None:
    """Ten times the traffic for two minutes leaves the labels per second where they were."""
    budget = Budget(labels_per_hour=3600.0)
    plan = watched(1000, 120)
    for second in range(121, 241):
        plan = s.arrive(plan, 10_000, float(second))
    assert s.base_share(plan, SAMPLING, budget.labels_per_hour, 1.0) * 10_000 == pytest.approx(1.0, rel=0.05)


def test_a_replica_takes_its_part_of_the_budget() -> None:
    """Owning half of the partitions is half of the rate."""
    plan, budget = watched(1000, 60), Budget(labels_per_hour=3600.0)
    half, whole = (s.base_share(plan, SAMPLING, budget.labels_per_hour, fleet) for fleet in (0.5, 1.0))
    assert half == pytest.approx(whole / 2)


@pytest.mark.parametrize(
    ("arrived", "elapsed_s", "cooldown", "rest_s"),
    [
        (0.0, 0.0, 2000, 60.0),
        (1e9, 10.0, 2000, 60.0),
        (100.0, 10.0, 2000, 200.0),
        (1.0, 1e6, 2000, 86_400.0),
        (100.0, 10.0, 0, 0.0),
    ],
)
def test_a_burst_is_shared_for_the_rest_in_seconds_of_traffic(
    arrived: float, elapsed_s: float, cooldown: int, rest_s: float
) -> None:
    """The events of the rest at the rate of late; a minute where that is unknown or higher, a day at most, nothing without a rest."""
    assert s.rest_s(s.Plan(arrived=arrived, elapsed_s=elapsed_s), Burst(cooldown_events=cooldown)) == rest_s


def test_a_clock_that_jumps_adds_no_time() -> None:
    """An hour back or an hour ahead changes neither the elapsed time nor the share by more than a batch can."""
    plan = watched(1000, 60)
    for jump in (-3600.0, 3600.0):
        jumped = s.arrive(plan, 1000, 60.0 + jump)
        assert jumped.elapsed_s == plan.elapsed_s
        assert s.base_share(jumped, SAMPLING, 3600.0, 1.0) == pytest.approx(0.001, rel=0.1)


def test_without_a_rate_yet_the_target_share_holds() -> None:
    """The first batch says nothing of the rate, whatever its size."""
    assert s.base_share(s.arrive(PAID, 10**6, 5.0), SAMPLING, 1.0, 1.0) == 0.02


def test_early_labels_come_ahead_of_plan_and_are_paid_back() -> None:
    """The share starts at four times the target, falls below it while the debt is paid, and ends at the target with no debt."""
    plan, shares = s.Plan(), []
    for block in range(4000):
        plan = s.next_block(plan, 0.02, 32, block * 32, Burst())
        shares.append(plan.share)
    assert [shares[0], min(shares), shares[-1]] == pytest.approx([0.08, 0.01, 0.02])
    assert (plan.early, plan.debt) == (0.0, 0.0)
    assert sum(shares) * 32 == pytest.approx(0.02 * 4000 * 32, abs=1e-6)


def test_a_burst_ends_with_its_labels() -> None:
    """Once a burst has spent its labels the share is back below the target, and the debt remains."""
    burst = Burst(multiplier=4.0, labels=10)
    plan = s.open_burst(PAID, s.OpenBurst("b1", s.burst_labels(PAID, burst.labels, 1.0), opens_at=64), burst, 0.02)
    before = s.next_block(plan, 0.02, 32, 32, burst)
    inside = s.next_block(before, 0.02, 32, 64, burst)
    after = s.next_block(s.spent(inside, 10, 64), 0.02, 32, 96, burst)
    assert [before.share, inside.share, after.share] == pytest.approx([0.02, 0.08, 0.01])
    assert after.burst == s.OpenBurst()
    assert after.debt > 0.0


def test_a_burst_on_a_young_stream_is_small() -> None:
    """After 40 labels a burst is a quarter of them, after a thousand it is what the project file says, with none there is none."""
    young, grown = replace(PAID, planned=40.0), replace(PAID, planned=1000.0)
    found = [s.burst_labels(plan, 60, 1.0) for plan in (PAID, young, grown)]
    assert found == [8, 10, 60]
    assert s.burst_labels(grown, 0, 1.0) == 0


def test_alarm_after_alarm_owes_no_more_than_one_burst() -> None:
    """With an alarm every 2,000 events for as long as it takes, the debt stays within one burst, and spending within it of the plan."""
    burst, plan, asked = Burst(multiplier=4.0, labels=60), PAID, 0.0
    for block in range(4000):
        if block % 32 == 0:
            plan = s.open_burst(
                plan,
                s.OpenBurst(f"b{block}", s.burst_labels(plan, burst.labels, 1.0), opens_at=block * 64),
                burst,
                0.02,
            )
        plan = s.next_block(plan, 0.02, 64, block * 64, burst)
        asked += plan.share * 64
        plan = s.spent(plan, round(plan.share * 64), block * 64)
        assert plan.debt <= 60.0
    assert asked - 0.02 * 64 * 4000 <= 60.0


def test_bursts_take_a_quarter_of_the_labels_planned_at_most() -> None:
    """What earlier bursts took is not there for the next; one of eight labels there always is, less what is owed."""
    plan = replace(PAID, planned=400.0, in_bursts=70)
    assert s.burst_labels(plan, 60, 1.0) == 30
    assert s.burst_labels(replace(plan, in_bursts=300), 60, 1.0) == 8
    opened = s.open_burst(plan, s.OpenBurst("b", 30, opens_at=0), Burst(), 0.02)
    assert s.spent(s.next_block(opened, 0.02, 64, 0, Burst()), 5, 64).in_bursts == 75


def test_a_stream_that_ends_after_alarm_upon_alarm_has_spent_its_budget() -> None:
    """An alarm every 4,500 events of 40,000 at a fiftieth, the last of them 4,000 before the end: within a hundredth of the plan."""
    burst, plan, asked = Burst(multiplier=4.0, labels=60), s.Plan(), 0.0
    for block in range(624):
        if block % 70 == 1:
            opened = s.OpenBurst(f"b{block}", s.burst_labels(plan, burst.labels, 1.0), opens_at=block * 64)
            plan = s.open_burst(plan, opened, burst, 0.02)
        plan = s.next_block(plan, 0.02, 64, block * 64, burst)
        asked += plan.share * 64
        plan = s.spent(plan, round(plan.share * 64), block * 64)
    assert asked == pytest.approx(0.02 * 624 * 64, rel=0.01)


def test_refusals_are_forgotten_as_time_goes_by() -> None:
    """A share squeezed to a tenth, which is granted almost nothing, is whole again after 150 labels' time at the full share."""
    plan, blocks = replace(PAID, squeeze=s.LEAST_SQUEEZE), 0
    while plan.squeeze < 1.0:
        plan = s.next_block(plan, 0.02 * plan.squeeze, 64, blocks * 64, Burst())
        blocks += 1
    assert 0.02 * 64 * blocks < 150


def test_a_burst_that_nobody_pays_for_ends_too() -> None:
    """With every label refused, a burst ends after four times the events its labels should have taken."""
    burst = Burst(multiplier=4.0, labels=8)
    plan = s.open_burst(PAID, s.OpenBurst("b1", s.burst_labels(PAID, burst.labels, 1.0)), burst, 0.02)
    assert s.next_block(plan, 0.02, 32, 399, burst).burst.burst_id == "b1"
    assert s.next_block(plan, 0.02, 32, 400, burst).burst == s.OpenBurst()


@pytest.mark.parametrize(("later_s", "over"), [(0.0, ""), (86_399.0, ""), (86_401.0, s.LABELS), (-1.0, s.LABELS)])
def test_a_burst_listens_for_a_day_and_not_across_a_clock_that_goes_back(later_s: float, over: str) -> None:
    """Its labels spent and none of them told, it asks at the usual rate, and is over after a day, by its labels."""
    burst = Burst(multiplier=4.0, labels=10)
    plan = replace(PAID, last_s=1e6)
    plan = s.open_burst(plan, s.OpenBurst("b1", 10, whole=10), burst, 0.02)
    plan = s.next_block(s.spent(plan, 10, 0, telling=10), 0.02, 32, 64, burst)
    assert (plan.share < 0.021, s.burst_in_force(plan, 64), plan.burst.stopped) == (True, "", s.LABELS)
    later = replace(plan, last_s=1e6 + later_s)
    assert s.ended(later, 96, burst) == over
    assert (s.next_block(later, 0.02, 32, 96, burst).burst.burst_id == "") is bool(over)


@pytest.mark.parametrize(("told", "whole", "over"), [(8, 10, False), (9, 10, True), (17, 20, False), (18, 20, True)])
def test_a_burst_listens_until_most_of_its_answers_are_there_over_replicas(told: int, whole: int, over: bool) -> None:
    """Nine of ten, of its own ten where it is alone, of twenty where another replica has asked as many."""
    one = s.OpenBurst("b1", 10, 0.0, whole=whole, telling=10, told=told, stopped=s.LABELS)
    assert bool(s.ended(replace(PAID, last_s=0.0, burst=one), 64, Burst())) is over
    assert s.ended(replace(PAID, last_s=0.0, burst=one), 64, Burst(known_to=None)) == s.LABELS


def test_refusals_raise_the_threshold_and_grants_lower_it_again() -> None:
    """A hundred refusals squeeze the share to a tenth, not to nothing; as many grants as it takes bring it back to one."""
    plan = PAID
    for _ in range(100):
        plan = s.answered(plan, 1, 0)
    assert plan.squeeze == s.LEAST_SQUEEZE
    for _ in range(200):
        plan = s.answered(plan, 1, 1)
    assert plan.squeeze == 1.0

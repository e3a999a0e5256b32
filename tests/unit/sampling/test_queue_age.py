"""A simulated day of annotators who leave and return: how long tasks wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.support.sampling import columns_of, project, scores_of
from tiebreak.contracts.project import Budget, Project, Sampling
from tiebreak.runtime.clock import ManualClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.stage import Sampler

AGE_S, TURN_S, EACH_S = 600.0, 2.0, 20.0  # each person settles a task in twenty seconds


def made(age_s: float | None) -> Project:
    budget = Budget(labels_per_hour=3600.0, carry_over=500, max_open_tasks=5000, queue_age_s=age_s)
    return project(sampling=Sampling(target_share=0.2), budget=budget)


@dataclass
class Day:
    """What the queue was like: per settled task when it was settled and how long it waited, and the queue's length over time."""

    waited: list[tuple[float, float]] = field(default_factory=list)
    length: list[int] = field(default_factory=list)

    def longest(self, since_s: float, until_s: float) -> float:
        return max((waited for at, waited in self.waited if since_s <= at < until_s), default=0.0)

    def settled(self, since_s: float, until_s: float) -> int:
        return sum(since_s <= at < until_s for at, _ in self.waited)


async def live(people: Callable[[float], int], age_s: float | None, seconds: float) -> Day:
    """A stream of 20 events a second, and ``people(t)`` of them at work on the oldest tasks."""
    queue: deque[float] = deque()
    day, clock, able = Day(), ManualClock(), 0.0
    budget = MemoryBudget(made(age_s), lambda: len(queue), lambda: len(day.waited))
    sampler = Sampler(made(age_s), budget, MemorySnapshots(), Metrics("p"), clock)
    for turn in range(int(seconds / TURN_S)):
        now = turn * TURN_S
        columns = columns_of(40, start=40 * turn)
        sampled = await sampler.select(columns, scores_of(columns))
        queue.extend([now] * len(sampled.rows))
        able = min(able + people(now) * TURN_S / EACH_S, max(1.0, people(now)))
        while queue and able >= 1.0:
            able -= 1.0
            day.waited.append((now, now - queue.popleft()))
        day.length.append(len(queue))
        clock.advance(TURN_S)
    return day


@pytest.fixture(scope="module")
def hours() -> dict[str, float]:
    return {"half leave": 3600.0, "all return": 7200.0, "end": 10_800.0}


async def test_the_age_of_the_queue_is_held_when_half_of_the_people_leave_and_return(hours: dict[str, float]) -> None:
    """Twelve people, six from the first hour on, twelve again after the second: no task waits longer than the objective."""

    def people(now: float) -> int:
        return 6 if hours["half leave"] <= now < hours["all return"] else 12

    day = await live(people, AGE_S, hours["end"])
    assert day.longest(0.0, hours["end"]) <= AGE_S
    # Nobody idles for it: six people settle 0.3 tasks a second, twelve 0.6.
    assert day.settled(1200.0, 3600.0) == pytest.approx(0.6 * 2400, rel=0.05)
    assert day.settled(4800.0, 7200.0) == pytest.approx(0.3 * 2400, rel=0.05)
    assert day.settled(8400.0, 10_800.0) == pytest.approx(0.6 * 2400, rel=0.05)


async def test_without_an_objective_the_queue_grows_past_it(hours: dict[str, float]) -> None:
    """The same day with the declared budget alone: tasks wait far longer, as the bound is their number."""
    day = await live(lambda _: 6, None, hours["half leave"])
    assert day.longest(0.0, hours["half leave"]) > 2 * AGE_S


async def test_when_all_leave_nothing_more_is_asked_and_a_return_is_noticed(hours: dict[str, float]) -> None:
    """While nobody works the queue stops growing; those who come back find work at once, and soon as much as they can do."""

    def people(now: float) -> int:
        return 0 if hours["half leave"] <= now < hours["all return"] else 12

    day = await live(people, AGE_S, hours["end"])
    away = day.length[int(4200.0 / TURN_S) : int(7200.0 / TURN_S)]
    assert max(away) <= max(day.length[: int(3600.0 / TURN_S)]) + 10
    assert day.settled(7200.0, 7800.0) >= 0.6 * 600 * 0.8
    assert day.settled(9000.0, 10_800.0) == pytest.approx(0.6 * 1800, rel=0.05)
    # What was asked before they left waited for them; what was asked since is young.
    assert day.longest(8400.0, hours["end"]) <= AGE_S

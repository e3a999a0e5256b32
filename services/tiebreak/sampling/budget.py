"""The labelling budget as a token bucket with carry-over, a cap on the backlog, and bursts paid back from refills. Pure.

``redis.py`` runs the same rule inside Redis (``lua/budget_take.lua``), so that all replicas share one bucket; the contract suite
holds the two to the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, floor, isfinite

from tiebreak.contracts import project

REPAYMENT = 0.5  # of each refill goes to what bursts borrowed, until it is paid back
# Refills are sums of small doubles: 0.1 ten times is a hair below 1, and a whole label must not wait for that hair.
HAIR = 1e-9
HEADROOM = 0.5  # of the time a task may wait is what today's pace is planned to take: half of the people may leave
LEAST_OPEN = 10
PRIOR = 0.25  # of the pace's memory is what the declared budget counts for at the start


@dataclass(frozen=True, slots=True)
class Limits:
    """``per_s`` tokens (labels) a second, at most ``carry_over`` of them piled up, nothing while ``max_open`` tasks wait; with
    ``queue_age_s`` nothing either while more wait than people settle in time."""

    per_s: float
    carry_over: float
    max_open: int
    queue_age_s: float | None = None

    @classmethod
    def of(cls, budget: project.Budget) -> Limits:
        """The limits that a project file sets."""
        return cls(budget.labels_per_hour / 3600.0, float(budget.carry_over), budget.max_open_tasks, budget.queue_age_s)


@dataclass(frozen=True, slots=True)
class Bucket:
    """``tokens`` may exceed the carry-over by what was borrowed; ``debt`` is what refills still owe for that."""

    tokens: float
    debt: float
    at_s: float


def full(limits: Limits, now_s: float) -> Bucket:
    """A new project starts with its carry-over: early labels are worth most."""
    return Bucket(limits.carry_over, 0.0, now_s)


def refill(bucket: Bucket, limits: Limits, now_s: float) -> Bucket:
    """Earn tokens for the time since the last refill.

    A clock that went back earns nothing and is believed from now on; one that jumped ahead earns the carry-over at most.

    >>> refill(Bucket(0.0, 10.0, 0.0), Limits(1.0, 50.0, 100), 8.0)
    Bucket(tokens=4.0, debt=6.0, at_s=8.0)
    """
    earned = max(0.0, now_s - bucket.at_s) * limits.per_s
    if not isfinite(earned):
        return bucket
    repaid = min(bucket.debt, earned * REPAYMENT)
    room = max(0.0, limits.carry_over - bucket.tokens)
    return Bucket(bucket.tokens + min(room, earned - repaid), bucket.debt - repaid, now_s)


def take(bucket: Bucket, limits: Limits, wanted: int, open_tasks: int, now_s: float) -> tuple[Bucket, int]:
    """Up to ``wanted`` whole labels, as far as tokens and the room in the queue go; the rest is refused, not owed.

    >>> take(Bucket(2.5, 0.0, 0.0), Limits(1.0, 50.0, 100), 5, 99, 0.0)
    (Bucket(tokens=1.5, debt=0.0, at_s=0.0), 1)
    """
    bucket = refill(bucket, limits, now_s)
    room = max(0, limits.max_open - max(0, open_tasks))
    granted = max(0, min(wanted, floor(bucket.tokens + HAIR), room))
    return replace(bucket, tokens=max(0.0, bucket.tokens - granted)), granted


def within_purse(purse: Bucket, limits: Limits, bill: Sequence[float]) -> int:
    """How many of the tasks of ``bill``, from the first on, the money in the purse pays for.

    A full purse pays for one task whatever it costs, and owes the rest: a task dearer than the purse would else never be asked, nor
    any that is wanted after it.

    >>> limits = Limits(1.0, 2.0, 100)
    >>> within_purse(Bucket(1.5, 0.0, 0.0), limits, [1.0, 1.0]), within_purse(Bucket(2.0, 0.0, 0.0), limits, [5.0, 1.0])
    (1, 1)
    """
    spent = 0.0
    for count, price in enumerate(bill):
        spent += price
        if spent > purse.tokens + HAIR and not (count == 0 and purse.tokens >= limits.carry_over - HAIR):
            return count
    return len(bill)


def pay(purse: Bucket, money: float) -> Bucket:
    """The purse after so much is spent; it may owe."""
    return replace(purse, tokens=purse.tokens - money)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast people settle tasks: ``done`` of them within ``span_s``, both forgotten; ``settled`` is the queue's own count."""

    done: float
    span_s: float
    settled: int
    at_s: float


def fresh_pace(limits: Limits, settled: int, now_s: float) -> Pace:
    """What is believed before anybody was watched: the pace that the budget was declared with."""
    span_s = memory_s(limits) * PRIOR
    return Pace(limits.per_s * span_s, span_s, settled, now_s)


def memory_s(limits: Limits) -> float:
    """The time constant of the pace: a quarter of what a task may wait, so that a change is believed in time to matter."""
    return max(5.0, (limits.queue_age_s or 0.0) / 4.0)


def watched(pace: Pace, limits: Limits, settled: int, now_s: float) -> Pace:
    """The pace after another look at the queue. A count that fell (a queue built anew), or a clock that went back, says nothing.

    >>> limits = Limits(1.0, 50.0, 100, 40.0)
    >>> later = watched(Pace(10.0, 10.0, 100, 0.0), limits, 100, 10.0)
    >>> round(later.done / later.span_s, 2)
    0.27
    """
    gap = now_s - pace.at_s
    if gap < 0.0 or settled < pace.settled or not isfinite(gap):
        return Pace(pace.done, pace.span_s, settled, now_s)
    kept = exp(-gap / memory_s(limits))
    return Pace(pace.done * kept + settled - pace.settled, pace.span_s * kept + gap, settled, now_s)


def longest_queue(pace: Pace, limits: Limits) -> int:
    """How many tasks may wait: what people settle in ``HEADROOM`` of the time that one may wait, and ``LEAST_OPEN`` at least.

    By Little's law a queue of that length is worked off in time at half of today's pace. The few that are always open are how anybody's
    return is noticed.

    >>> longest_queue(Pace(20.0, 10.0, 0, 0.0), Limits(1.0, 50.0, 1000, 60.0))
    60
    """
    if limits.queue_age_s is None:
        return limits.max_open
    allowed = HEADROOM * limits.queue_age_s * pace.done / max(pace.span_s, 1e-9)
    return min(limits.max_open, max(LEAST_OPEN, floor(min(allowed, 1e15))))


def borrow(bucket: Bucket, labels: float) -> Bucket:
    """A burst's extra labels (or their money), at once, against later refills. Nothing for zero or less.

    >>> borrow(Bucket(1.0, 0.0, 0.0), 60)
    Bucket(tokens=61.0, debt=60.0, at_s=0.0)
    """
    extra = max(0.0, labels)
    return replace(bucket, tokens=bucket.tokens + extra, debt=bucket.debt + extra)

"""The labelling budget as a token bucket with carry-over, a cap on the backlog, and bursts paid back from refills. Pure.

``redis.py`` runs the same rule inside Redis (``lua/budget_take.lua``), so that all replicas share one bucket; the contract suite
holds the two to the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor, isfinite

from tiebreak.contracts import project

REPAYMENT = 0.5  # of each refill goes to what bursts borrowed, until it is paid back
# Refills are sums of small doubles: 0.1 ten times is a hair below 1, and a whole label must not wait for that hair.
HAIR = 1e-9


@dataclass(frozen=True, slots=True)
class Limits:
    """``per_s`` tokens (labels) a second, at most ``carry_over`` of them piled up, nothing while ``max_open`` tasks wait."""

    per_s: float
    carry_over: float
    max_open: int

    @classmethod
    def of(cls, budget: project.Budget) -> Limits:
        """The limits that a project file sets."""
        return cls(budget.labels_per_hour / 3600.0, float(budget.carry_over), budget.max_open_tasks)


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


def borrow(bucket: Bucket, labels: float) -> Bucket:
    """A burst's extra labels (or their money), at once, against later refills. Nothing for zero or less.

    >>> borrow(Bucket(1.0, 0.0, 0.0), 60)
    Bucket(tokens=61.0, debt=60.0, at_s=0.0)
    """
    extra = max(0.0, labels)
    return replace(bucket, tokens=bucket.tokens + extra, debt=bucket.debt + extra)

"""The in-memory twins of ``redis.py``: for tests, simulation and a single process that may forget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from tiebreak.contracts.ports import Grant, Lent
from tiebreak.contracts.project import Project
from tiebreak.sampling import budget
from tiebreak.sampling.budget import Limits
from tiebreak.sampling.pricing import purse_limits

REMEMBERED = 100_000

T = TypeVar("T")


class MemoryBudget:
    """A budget in this process. ``open_tasks`` answers how many tasks wait in the queue, ``settled`` how many were ever settled."""

    def __init__(
        self, project: Project, open_tasks: Callable[[], int] = lambda: 0, settled: Callable[[], int] = lambda: 0
    ) -> None:
        self._limits, self._purse_limits = Limits.of(project.budget), purse_limits(project.budget)
        self._purse: budget.Bucket | None = None
        self._open_tasks, self._settled = open_tasks, settled
        self._pace: budget.Pace | None = None
        self._bucket: budget.Bucket | None = None
        self._grants: OrderedDict[str, tuple[int, Lent]] = OrderedDict()
        self._bursts: OrderedDict[str, Lent] = OrderedDict()
        self._burst, self._burst_until_s = Lent(), 0.0

    async def take(self, wanted: int, now_s: float, batch_key: str, bill: Sequence[float] = ()) -> Grant:
        """Take up to ``wanted`` labels, once per ``batch_key``: a replayed batch gets its first answer again."""
        open_tasks = self._open_tasks()
        before = self._grants.get(batch_key)
        granted, burst = (0, self._open_burst(now_s)) if before is None else before
        if before is None:
            bucket = self._bucket or budget.full(self._limits, now_s)
            able = self._able(wanted, now_s, bill)
            limits = replace(self._limits, max_open=self._longest(now_s))
            self._bucket, granted = budget.take(bucket, limits, able, open_tasks, now_s)
            if self._purse is not None:
                self._purse = budget.pay(self._purse, sum(bill[:granted]))
            if wanted > 0:
                self._grants[batch_key] = granted, burst
                _forget(self._grants)
        return Grant(min(granted, max(0, wanted)), open_tasks, burst)

    def _longest(self, now_s: float) -> int:
        limits, settled = self._limits, self._settled()
        if limits.queue_age_s is None:
            return limits.max_open
        self._pace = budget.watched(self._pace or budget.fresh_pace(limits, settled, now_s), limits, settled, now_s)
        return budget.longest_queue(self._pace, limits)

    def _able(self, wanted: int, now_s: float, bill: Sequence[float]) -> int:
        limits = self._purse_limits
        if limits is None:
            return wanted
        self._purse = budget.refill(self._purse or budget.full(limits, now_s), limits, now_s)
        return min(wanted, budget.within_purse(self._purse, limits, bill))

    def _open_burst(self, now_s: float) -> Lent:
        return self._burst if now_s < self._burst_until_s else Lent()

    async def borrow(self, burst: Lent, now_s: float, rest_s: float = 0.0, money: float = 0.0) -> Lent:
        """A burst's extra labels, paid back from later refills, once per burst of the project; answers which that is now."""
        if (before := self._bursts.get(burst.burst_id)) is not None:
            return before
        ours = self._open_burst(now_s)
        self._bursts[burst.burst_id] = ours if ours.burst_id else burst
        _forget(self._bursts)
        if ours.burst_id:
            return ours
        if rest_s > 0.0:
            self._burst, self._burst_until_s = burst, now_s + rest_s
        # Before the first take nobody has told the time; the first refill then earns the carry-over at most.
        self._bucket = budget.borrow(self._bucket or budget.full(self._limits, 0.0), burst.labels)
        if self._purse_limits is not None:
            self._purse = budget.borrow(self._purse or budget.full(self._purse_limits, 0.0), money)
        return burst


class MemorySnapshots:
    """Snapshots in this process."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def load(self, key: str) -> bytes | None:
        return self._values.get(key)

    async def save(self, key: str, value: bytes) -> None:
        self._values[key] = value


def _forget(remembered: OrderedDict[str, T]) -> None:
    while len(remembered) > REMEMBERED:
        remembered.popitem(last=False)

"""The in-memory twins of ``redis.py``: for tests, simulation and a single process that may forget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Project
from tiebreak.sampling import budget
from tiebreak.sampling.budget import Limits

REMEMBERED = 100_000

T = TypeVar("T")


class MemoryBudget:
    """A budget in this process. ``open_tasks`` answers how many tasks wait in the queue."""

    def __init__(self, project: Project, open_tasks: Callable[[], int] = lambda: 0) -> None:
        self._limits = Limits.of(project.budget)
        self._open_tasks = open_tasks
        self._bucket: budget.Bucket | None = None
        self._grants: OrderedDict[str, int] = OrderedDict()
        self._bursts: OrderedDict[str, None] = OrderedDict()

    async def take(self, wanted: int, now_s: float, batch_key: str) -> Grant:
        """Take up to ``wanted`` labels, once per ``batch_key``: a replayed batch gets its first answer again."""
        open_tasks = self._open_tasks()
        granted = self._grants.get(batch_key)
        if granted is None:
            bucket = self._bucket or budget.full(self._limits, now_s)
            self._bucket, granted = budget.take(bucket, self._limits, wanted, open_tasks, now_s)
            if wanted > 0:
                self._grants[batch_key] = granted
                _forget(self._grants)
        return Grant(min(granted, max(0, wanted)), open_tasks)

    async def borrow(self, labels: int, burst_id: str) -> None:
        """A burst's extra labels, paid back from later refills. Idempotent per ``burst_id``."""
        if burst_id in self._bursts:
            return
        self._bursts[burst_id] = None
        _forget(self._bursts)
        # Before the first take nobody has told the time; the first refill then earns the carry-over at most.
        self._bucket = budget.borrow(self._bucket or budget.full(self._limits, 0.0), labels)


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

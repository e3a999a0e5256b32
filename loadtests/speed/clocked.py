"""How a rate is taken: the first events warm caches and connections and do not count, the rest does, to the last one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

WARM_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Measured:
    """``events`` in ``seconds`` of wall clock and ``cpu_seconds`` of this process.

    ``steps``: when (on the machine's monotonic clock) how many were done, from where they count to the last.
    """

    events: int
    seconds: float
    cpu_seconds: float
    notes: dict[str, float] = field(default_factory=dict)
    steps: list[tuple[float, int]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    def as_json(self) -> dict[str, object]:
        """For the line that a child prints."""
        return asdict(self)


def together(both: Sequence[Measured]) -> float:
    """Events per second of several processes over the time in which all of them were at work. Between two steps, in proportion.

    From a step to a step: what was begun before the one is as much, in the mean, as what is begun after the other.
    """
    start = max(each.steps[0][0] for each in both)
    end = min(each.steps[-1][0] for each in both)
    if end <= start:
        raise ValueError("the processes were never at work at the same time: there is no common rate")
    return sum(_done(each, end) - _done(each, start) for each in both) / (end - start)


def _done(measured: Measured, at: float) -> float:
    times, done = zip(*measured.steps, strict=True)
    return float(np.interp(at, times, done))


class Stopwatch:
    """Told how many events are done each time some are; knows the rate from a tenth of ``total`` to the end."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._warm: tuple[int, float, float] | None = None
        self._began = (0, time.perf_counter(), time.process_time())
        self._ended = 0.0
        self._cpu: float | None = None
        self._steps: list[tuple[float, int]] = []

    def begin(self) -> None:
        """The first events are at hand, none is done. Counts only where there are too few steps to leave the first ones out."""
        self._began = (0, time.perf_counter(), time.process_time())

    def add(self, events: int, ahead: int = 0) -> None:
        """``events`` more are done. ``ahead``: as many after them are begun, so what they cost is no longer to be measured."""
        self.done += events
        self._ended = time.perf_counter()
        # A process's own time is a call into the kernel, and a dear one: not for every step.
        if self._warm is None and self.done >= WARM_SHARE * self.total:
            self._warm = (self.done + ahead, self._ended, time.process_time())
        if self.total:
            self._steps.append((self._ended, self.done))
            self._cpu = time.process_time() if self.finished else None

    @property
    def finished(self) -> bool:
        """Whether all are done."""
        return self.done >= self.total

    def measured(self, **notes: float) -> Measured:
        """The rate. At least one step must have been seen; processor time is taken now where no total has been reached."""
        ended = time.process_time() if self._cpu is None else self._cpu
        # Of what was begun before the clock was, nothing counts: with few large batches a rate would gain by it.
        warm = self._warm if self._warm is not None and self._warm[0] < self.done else self._began
        done, wall, cpu = warm
        steps = [step for step in self._steps if step[0] >= wall]
        return Measured(self.done - done, self._ended - wall, ended - cpu, notes, steps)

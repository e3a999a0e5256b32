"""What the topic ``drift`` is told of alarms and bursts. Pure."""

from __future__ import annotations

from typing import Protocol

from tiebreak.contracts.messages import DriftEvent, DriftRecord
from tiebreak.sampling.drift import Fired
from tiebreak.sampling.schedule import OpenBurst


class Placed(Protocol):
    """A batch, as far as its last row's place in the log goes."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


def record(
    project: str, batch: Placed, event: DriftEvent, fired: Fired, now_s: float, burst: tuple[str, int] = ("", 0)
) -> DriftRecord:
    """What the topic ``drift`` is told."""
    return DriftRecord(
        project=project,
        event=event,
        detector=fired.detector.value,
        signal=fired.signal,
        statistic=fired.statistic,
        slice="",
        burst_id=burst[0],
        burst_size=burst[1],
        partition=batch.partition,
        offset=batch.offset,
        time_ms=int(now_s * 1000),
    )


def closed(project: str, batch: Placed, burst: OpenBurst, now_s: float) -> DriftRecord:
    """What the topic ``drift`` is told when a burst has had its labels, or its time."""
    return DriftRecord(
        project=project,
        event=DriftEvent.BURST_CLOSED,
        detector="",
        signal="",
        statistic=0.0,
        slice="",
        burst_id=burst.burst_id,
        burst_size=burst.size,
        partition=batch.partition,
        offset=batch.offset,
        time_ms=int(max(0.0, now_s) * 1000),
    )

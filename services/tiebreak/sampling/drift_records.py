"""What the topic ``drift`` is told of alarms and bursts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import DriftEvent, DriftRecord
from tiebreak.sampling.drift import Fired
from tiebreak.sampling.knowing import Known
from tiebreak.sampling.schedule import OpenBurst

CERTAIN = 4.0  # standard errors by which a class's share must be off to be named


def moved(usual: NDArray[np.float64], predicted: NDArray[np.int64], names: Sequence[str]) -> str:
    """The slice that moved most: the class whose share of the predictions is farthest from its ``usual`` one, in standard errors.

    Empty where none is clearly off, or classes have no names.

    >>> moved(np.array([0.9, 0.1]), np.repeat([0, 1], [50, 50]), ("calm", "angry"))
    'predicted angry'
    """
    if not len(names) == len(usual) > 1 or not len(predicted):
        return ""
    share = np.bincount(predicted, minlength=len(usual)) / len(predicted)
    # A class that was never seen has an error of its own: one event in the batch.
    error = np.sqrt(np.maximum(usual * (1.0 - usual), 1.0 / len(predicted)) / len(predicted))
    off = (share - usual) / error
    # Of two classes that change places, the one that came says what to look at.
    return f"predicted {names[int(off.argmax())]}" if off.max() > CERTAIN else ""


class Placed(Protocol):
    """A batch, as far as its last row's place in the log goes."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


def record(
    project: str,
    batch: Placed,
    event: DriftEvent,
    fired: Fired,
    now_s: float,
    burst: tuple[str, int, str] = ("", 0, ""),
) -> DriftRecord:
    """What the topic ``drift`` is told; ``burst`` is its id, its labels and the slice that moved."""
    return DriftRecord(
        project=project,
        event=event,
        detector=str(fired.detector),
        signal=fired.signal,
        statistic=fired.statistic,
        slice=burst[2],
        burst_id=burst[0],
        burst_size=burst[1],
        partition=batch.partition,
        offset=batch.offset,
        time_ms=int(now_s * 1000),
    )


def closed(project: str, batch: Placed, burst: OpenBurst, why: tuple[str, Known], now_s: float) -> DriftRecord:
    """What the topic ``drift`` is told when a burst is over: ``why``, and what is known of the error since its alarm."""
    ended, known = why
    known = known if known.burst_id == burst.burst_id else Known()
    return DriftRecord(
        project=project,
        event=DriftEvent.BURST_CLOSED,
        detector="",
        signal="",
        statistic=0.0,
        slice=burst.part,
        burst_id=burst.burst_id,
        burst_size=burst.whole,
        partition=batch.partition,
        offset=batch.offset,
        time_ms=int(max(0.0, now_s) * 1000),
        ended=ended,
        error_low=known.low,
        error_high=known.high,
        error_labels=len(known.labels),
    )

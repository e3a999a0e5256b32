"""How wrong the model has been since an alarm: an interval that holds whenever it is looked at, from the labels of the burst. Pure.

A question of a burst is asked with a probability that is known, by whichever way. A label counts the audit slice's share over it, so
that those of events that were likely to be asked about weigh less: the error is that of all events of the burst (of its slice, where it
has one), not of those chosen. Bounds are those of ``contracts/confidence.py``, at 95 % together.

Labels that never come back, or that the budget refused, are taken for missing by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.confidence import bounds

ALPHA = 0.025  # of each side
MOST = 1024  # labels that are looked at: the first ones, which are known to a point or two by then


class InBurst(NamedTuple):
    """A label of a burst: whether the prediction was wrong, and what it counts, in (0, 1]."""

    burst_id: str
    wrong: bool
    weight: float


@dataclass(frozen=True, slots=True)
class Known:
    """``labels`` ``(n, 2)`` of the burst: 1 where the prediction was wrong, and weights. The error is from ``low`` to ``high``."""

    burst_id: str = ""
    labels: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    low: float = 0.0
    high: float = 1.0

    @property
    def half_width(self) -> float:
        """By how much the error may be off from the middle of the interval."""
        return (self.high - self.low) / 2.0


def heard(known: Known, burst_id: str, told: Sequence[InBurst]) -> Known:
    """Take in labels of the burst that is open; those of others say nothing of it.

    >>> third = [InBurst("b", n % 10 < 3, 1.0) for n in range(200)]
    >>> [round(heard(Known(), "b", third[:labels]).half_width, 2) for labels in (60, 200)]
    [0.19, 0.11]
    """
    if not burst_id:
        return known
    known = known if known.burst_id == burst_id else Known(burst_id)
    new = [(float(one.wrong), one.weight) for one in told if one.burst_id == burst_id and 0.0 < one.weight <= 1.0]
    if not new or len(known.labels) >= MOST:
        return known
    labels = np.concatenate([known.labels, np.array(new)])[:MOST]
    # As -1 and 1: a bet on less than all that can be won would leave the interval wider.
    found = bounds((2.0 * labels[:, 0] - 1.0).tolist(), ALPHA, labels[:, 1].tolist())
    # Each look holds, so all of them do: an interval never grows.
    low, high = max(known.low, 0.5 + 0.5 * found.low), min(known.high, 0.5 + 0.5 * found.high)
    return Known(burst_id, labels, low, max(low, high))

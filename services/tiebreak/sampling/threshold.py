"""A threshold that follows the scores, so that the share of selected events is the budget's.

The balanced incremental quantile filter (Kottke, Krempl and Spiliopoulou 2015): ask where the score reaches the quantile of the last
``window`` scores, moved by how far spending is behind its plan. A token gate asks while spending is less than a label
ahead of its plan, so that a stream ends less than two ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TOLERANCE = 50.0  # labels of imbalance that move the threshold by the whole range of the window
WARM = 64  # scores before the quantile means anything
AHEAD = 1.0  # labels: as long as spending is less ahead of the plan, it asks
BEHIND = 25.0  # labels by which it may fall behind before the rest is given up: a long refusal must not end in a flood


@dataclass(frozen=True, slots=True)
class Window:
    """The last scores, oldest first, and the level taken from them at the start of the current block.

    ``level`` is the quantile and ``spread`` the range of the scores, once ``usable``; ``lowest`` is what the threshold cannot go
    below within the block. All of these stay put within a block.
    """

    scores: Floats = field(default_factory=lambda: np.zeros(0))
    level: float = 0.0
    spread: float = 0.0
    lowest: float = 0.0
    usable: bool = False


def push(window: Window, scores: Floats, size: int) -> Window:
    """Forget all but the last ``size`` scores, ``scores`` being the newest."""
    pushed = np.concatenate((window.scores, scores))[-size:]
    return Window(pushed, window.level, window.spread, window.lowest, window.usable)


def relevel(window: Window, share: float) -> Window:
    """Take the level that a ``share`` of the scores reaches (linear between neighbours), and their range.

    With fewer than ``WARM`` scores a quantile means nothing, and the window stays as it is.

    >>> relevel(Window(np.arange(101.0)), 0.25).level
    75.0
    """
    if len(window.scores) < WARM:
        return window
    ordered = np.sort(window.scores)
    at = (1.0 - min(1.0, max(0.0, share))) * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    level = ordered[low] + (ordered[high] - ordered[low]) * (at - low)
    return Window(window.scores, float(level), float(ordered[-1] - ordered[0]), window.lowest, usable=True)


def threshold(window: Window, balance: float) -> float:
    """The level, lowered while spending is behind (``balance`` > 0, in labels) and raised while it is ahead.

    >>> threshold(Window(level=1.0, spread=2.0), 25.0)
    0.0
    """
    return window.level - window.spread * balance / TOLERANCE


def bounded(window: Window, balance: float, slack: float) -> Window:
    """Fix ``lowest`` for a block in which the balance reaches at most ``balance``; ``slack`` below it is looked at too."""
    lowest = threshold(window, min(BEHIND, balance)) - slack
    return Window(window.scores, window.level, window.spread, lowest, window.usable)


def due(period: int, size: int) -> int:
    """After how many events the level is taken anew: each block, or an eighth of a long window (sorting it costs more)."""
    return max(period, size // 8 // period * period)

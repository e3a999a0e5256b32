"""The audit slice of a block: which events are in it, with which probability, and what their labels count. Pure.

An event has one coin, and is in the slice where that is below a level: the slice's share, a higher one where two models differ
(``differing.py``), a lower one for an origin that sends more of the events than ``sampling.origin_share`` (``origins.py``). Levels
are fixed before the block's events are seen, so the probability is the level itself, and a label counts what undoes it: with the
lowest part that any origin is held to as unit, so that no label counts more than 1.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from tiebreak.sampling import origins
from tiebreak.sampling.appraisal import Policy, Scored
from tiebreak.sampling.state import SamplerState

Floats = NDArray[np.float64]


class AuditSlice:
    """Scratch of one choice: ``open`` each block, ``rows`` of it in order, then ``contrast`` and ``origins`` are the state after them.

    ``share`` is the slice's own part of the block's events, ``coins`` ``(n,)`` the uniform number of each.
    """

    def __init__(self, policy: Policy, state: SamplerState, batch: Scored, coins: Floats) -> None:
        self._sampling, self._compared, self._batch, self._coins = policy.sampling, policy.compared, batch, coins
        self.contrast, self.origins, self.share = state.contrast.of(batch.challenger), state.origins, 0.0
        self._capping = batch.origin_of is not None and policy.sampling.origin_share < 1.0
        self._drawn: tuple[tuple[float, float], list[int]] = ((-1.0, -1.0), [])
        self.fix(state.plan.share)

    def fix(self, share: float) -> None:
        """Go on in a block of which ``share`` is asked about."""
        self.share = self._sampling.audit_share * share

    def open(self, share: float) -> None:
        """Fix the levels of a block of which ``share`` is asked about."""
        self.fix(share)
        self.contrast = self.contrast.opened(self._sampling, share, self._compared)
        if self._capping:
            self.origins = origins.held(self.origins, self._sampling.origin_share)

    def rows(self, start: int, stop: int) -> set[int]:
        """The rows from ``start`` to before ``stop`` that are in the slice."""
        now, (then, drawn) = (self.share, self.contrast.level), self._drawn
        if then != now:
            # For the whole batch at once: the share is the same for most blocks.
            levels = self.contrast.coins(self._batch.differs, 0, len(self._batch), self.share)
            drawn = np.flatnonzero(self._coins < levels).tolist()
            self._drawn = (now, drawn)
        found = set(drawn[bisect_left(drawn, start) : bisect_left(drawn, stop)])
        if not self._capping:
            return found
        for row in sorted(found):
            if self._coins[row] < self.share:
                self.origins = origins.drew(self.origins, self._batch.origin_of, row)
        return {row for row in found if self._coins[row] < self.coin(row)}

    @property
    def least(self) -> float:
        """The lowest probability that any row of the block has."""
        return self.share * (origins.least(self.origins) if self._capping else 1.0)

    def coin(self, row: int) -> float:
        """The probability that a row is in the slice."""
        level = self.contrast.coin(self._batch.differs, row, self.share)
        return level * origins.part(self.origins, self._batch.origin_of, row) if self._capping else level

    def weight(self, row: int) -> float:
        """What the label of a row in the slice counts; 0 where all count alike."""
        if self.contrast.level <= self.share <= self.least:
            return 0.0
        return min(1.0, self.least / max(self.coin(row), 1e-12))

    def challenger(self, row: int) -> str:
        """The challenger whose answers had a say in the probability of a row: of one on which the two agree, only if it says so by its
        weight of 1."""
        if self.contrast.level <= self.share:
            return ""
        differs = self._batch.differs is not None and self._batch.differs[row] == 1
        return self._batch.challenger if differs or self.weight(row) == 1.0 else ""

    def seen(self, start: int, stop: int) -> None:
        """Count what the two models of a rollout answered."""
        self.contrast = self.contrast.seen(self._batch.differs, start, stop)

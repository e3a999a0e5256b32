"""Where champion and challenger of a rollout answer differently, the audit slice looks more often. Pure.

An event has one coin, the hash of its id that draws the audit slice. Below the slice's share it is an audit question, whatever the
models say; below a higher level it is one where they differ. So the probability of each is known, and a label's weight is the slice's
share over it. The level spends ``sampling.disagreement_share`` of the labels on such events, at the share of events on which the two
have differed of late. It is never above ``gate.canary.compared``: below that coin the scorer asks both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.project import Sampling

Differs = NDArray[np.int8]

REMEMBERED = 2000.0  # events that both have answered
# Before anything was seen: as if the two had differed on one event of ten.
PRIOR_DIFFERED, PRIOR_BOTH = 1.0, 10.0


@dataclass(frozen=True, slots=True)
class Contrast:
    """Of the rollout with ``challenger``: on how many events of late it answered beside the champion, and on how many they differed.

    Of the open block the ``level`` (0: nothing is looked for), and the ``part`` of its events that are expected to be asked about
    because the two differ. No rollout is under way while ``challenger`` is empty.
    """

    challenger: str = ""
    both: float = 0.0
    differed: float = 0.0
    level: float = 0.0
    part: float = 0.0

    def of(self, challenger: str) -> Contrast:
        """The state for a batch that this challenger answered too: what was counted of another is forgotten."""
        return self if self.challenger == challenger else Contrast(challenger)

    def opened(self, sampling: Sampling, share: float, compared: float) -> Contrast:
        """Fix the level of a block of which ``share`` is asked about."""
        if not self.challenger:
            return self
        kept = min(1.0, REMEMBERED / max(1.0, self.both))
        both, differed = self.both * kept, self.differed * kept
        often = (differed + PRIOR_DIFFERED) / (both + PRIOR_BOTH)
        slice_ = sampling.audit_share * share
        wanted = min(sampling.disagreement_share, 1.0 - sampling.audit_share) * share
        level = min(compared, slice_ + wanted / often)
        if level <= slice_ or not slice_:  # without a slice there is nothing that a weight could relate to
            return Contrast(self.challenger, both, differed)
        return Contrast(self.challenger, both, differed, level, often * (level - slice_))

    def coin(self, differs: Differs | None, row: int, slice_: float) -> float:
        """The probability that this row is an audit question: it is one where its own uniform number is below."""
        return self.level if differs is not None and self.level > slice_ and differs[row] == 1 else slice_

    def coins(self, differs: Differs | None, start: int, stop: int, slice_: float) -> NDArray[np.float64] | float:
        """The same of the rows from ``start`` to before ``stop``."""
        if differs is None or self.level <= slice_:
            return slice_
        return np.where(differs[start:stop] == 1, self.level, slice_)

    def seen(self, differs: Differs | None, start: int, stop: int) -> Contrast:
        """Count the rows from ``start`` to before ``stop``."""
        if differs is None:
            return self
        rows = differs[start:stop]
        both, differed = int((rows >= 0).sum()), int((rows == 1).sum())
        return replace(self, both=self.both + both, differed=self.differed + differed)

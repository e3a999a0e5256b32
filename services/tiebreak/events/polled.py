"""What polls brought and no handler has begun. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiebreak.contracts.log import Batch, Partition, Positions
from tiebreak.events.batching import joined


@dataclass(frozen=True, slots=True)
class Polled:
    """A batch, the positions after it, and when its first record came (on the event loop's clock)."""

    batch: Batch
    positions: Positions
    at_s: float

    @property
    def count(self) -> int:
        """Records."""
        return sum(map(len, self.batch.values()))


def whole(polled: Iterable[Polled]) -> Polled:
    """Several as one, in their order; at least one."""
    every = list(polled)
    positions: dict[Partition, int] = {}
    for one in every:
        positions |= one.positions
    return Polled(joined([one.batch for one in every]), positions, every[0].at_s)

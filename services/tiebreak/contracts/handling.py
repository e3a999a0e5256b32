"""What the consuming loop (``events/stage.py``) and a stage's handler say to each other.

One pass of the loop: poll -> ``handle`` -> publish outputs and dead letters -> wait for *every* acknowledgement -> commit
-> ``committed``. Handling of the next batch may begin before the previous one is acknowledged; commits stay in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.log import Batch, Outputs, Partition, Positions, Record


@dataclass(frozen=True, slots=True)
class Handled:
    """The outcome of one batch. Each record of it is either accounted for in ``outputs`` or set aside in ``dead``."""

    outputs: Outputs = field(default_factory=Outputs)
    dead: Sequence[tuple[Record, BadRecord]] = ()


class Handler(Protocol):
    """A stage's decision over a batch of records, with state that can be taken back."""

    async def handle(self, batch: Batch) -> Handled:
        """Decide. Raise SlowDown to have the same batch offered again later; any other error stops the stage."""

    async def committed(self, positions: Positions) -> None:
        """Everything up to ``positions`` is durable: the state that goes with it may be kept (and snapshotted)."""

    async def rewind(self) -> None:
        """Forget all state since the last ``committed``: its records will be handed out again."""

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """These partitions are now ours: load what belongs to them."""

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """These are no longer ours: forget what belongs to them."""

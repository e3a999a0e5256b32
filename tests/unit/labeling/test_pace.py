"""Settling at a pace: at once after a pause, in larger batches under load."""

from __future__ import annotations

from tiebreak.contracts.handling import Handled
from tiebreak.contracts.log import Batch, Partition, Positions
from tiebreak.labeling.stage_pace import Paced
from tiebreak.runtime.clock import ManualClock


class Noting:
    """Notes what it was told and when."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.told: list[tuple[str, float]] = []

    async def handle(self, _: Batch) -> Handled:
        self.told.append(("handle", self.clock.monotonic()))
        return Handled()

    async def committed(self, _: Positions) -> None:
        self.told.append(("committed", self.clock.monotonic()))

    async def rewind(self) -> None:
        self.told.append(("rewind", self.clock.monotonic()))

    async def assigned(self, _: frozenset[Partition]) -> None:
        self.told.append(("assigned", self.clock.monotonic()))

    async def revoked(self, _: frozenset[Partition]) -> None:
        self.told.append(("revoked", self.clock.monotonic()))


async def test_the_first_batch_goes_at_once_and_the_next_waits_its_turn() -> None:
    """Two batches in a row begin a pace apart; one after a pause does not wait; the other verbs never wait."""
    clock = ManualClock()
    noting = Noting(clock)
    paced = Paced(noting, clock, every_s=2.0)
    await paced.handle({})
    await paced.committed({})
    await paced.handle({})
    clock.advance(7.0)
    await paced.handle({})
    await paced.rewind()
    await paced.assigned(frozenset())
    await paced.revoked(frozenset())
    assert noting.told == [
        ("handle", 0.0),
        ("committed", 0.0),
        ("handle", 2.0),
        ("handle", 9.0),
        ("rewind", 9.0),
        ("assigned", 9.0),
        ("revoked", 9.0),
    ]

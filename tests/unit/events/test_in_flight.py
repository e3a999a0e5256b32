"""Batches in flight: what is acknowledged is committed in order, and one commit says what several would have."""

from __future__ import annotations

import asyncio

from tests.support.eventually import eventually
from tiebreak.contracts.log import Partition, Positions
from tiebreak.events.stage_in_flight import Done, InFlight

P0 = Partition("t", 0)
FOR_EVER_S = 3600.0


class Flight:
    """Batches that are acknowledged when the test says so; ``commits`` are those that the log was asked for."""

    def __init__(self, gap_s: float) -> None:
        self.commits: list[Positions] = []
        self.stirred = 0
        self.flying = InFlight(self._commit, self._stir, gap_s)

    async def _commit(self, positions: Positions) -> None:
        self.commits.append(positions)

    def _stir(self) -> None:
        self.stirred += 1

    def add(self, end: int) -> asyncio.Event:
        acknowledged = asyncio.Event()

        async def publish() -> None:
            await acknowledged.wait()

        self.flying.add({P0: end}, (), publish())
        return acknowledged

    async def committed(self) -> Done:
        done: list[Done] = []

        def told() -> bool:
            done.extend(filter(None, [self.flying.advance()]))
            return bool(done)

        await eventually(told)
        return done[0]


async def test_commits_keep_their_distance_and_the_newest_stands_for_those_between() -> None:
    """The first batch is committed at once; the next two wait, count as acknowledged, and go in one commit when somebody drains."""
    flight = Flight(FOR_EVER_S)
    flight.add(10).set()
    assert (await flight.committed()).positions == {P0: 10}
    second, third = flight.add(20), flight.add(30)
    second.set()
    third.set()
    await eventually(lambda: flight.flying.unacknowledged == 0)
    assert flight.flying.advance() is None
    assert (len(flight.flying), flight.commits) == (2, [{P0: 10}])
    await flight.flying.wait()
    assert (await flight.committed()).positions == {P0: 30}
    assert flight.commits == [{P0: 10}, {P0: 30}]
    assert len(flight.flying) == 0


async def test_a_commit_that_is_due_later_wakes_the_loop() -> None:
    """Nothing else may happen for hours: the last batch of a burst is committed all the same."""
    flight = Flight(0.3)
    flight.add(10).set()
    await flight.committed()
    flight.add(20).set()
    await eventually(lambda: flight.flying.unacknowledged == 0)
    if flight.flying.advance() is None and len(flight.commits) == 1:
        before = flight.stirred
        await eventually(lambda: flight.stirred > before)
    assert (await flight.committed()).positions == {P0: 20}


async def test_what_is_dropped_is_not_committed_later() -> None:
    """After a failure the loop goes back: a commit that waited for its time neither comes nor wakes anybody."""
    flight = Flight(0.3)
    flight.add(10).set()
    await flight.committed()
    flight.add(20).set()
    await eventually(lambda: flight.flying.unacknowledged == 0)
    flight.flying.advance()
    await flight.flying.drop()
    commits, stirred = list(flight.commits), flight.stirred
    loop = asyncio.get_running_loop()
    past_due = loop.time() + 0.5
    await eventually(lambda: loop.time() > past_due)
    assert (flight.commits, flight.stirred) == (commits, stirred)

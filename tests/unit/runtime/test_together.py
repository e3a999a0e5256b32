"""Group commit: what waits together goes together, and nobody gets another's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.eventually import eventually
from tests.support.skipping import skipping
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.together import Together


class Slow:
    """Answers ten times each item, once it is let; remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = asyncio.Event()
        self.let = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.entered.set()
        await self.let.wait()
        if 13 in items:
            raise ConnectionError("gone")
        return [ValueError(str(item)) if item < 0 else item * 10 for item in items]


async def test_what_comes_while_a_call_is_under_way_goes_together_in_the_next_one() -> None:
    """The first goes alone at once; the others gather, no more than the most at a time, in the order in which they came."""
    slow = Slow()
    together = Together(slow, most=3)
    first = asyncio.create_task(together.ask(1))
    await slow.entered.wait()
    others = [asyncio.create_task(together.ask(item)) for item in range(2, 7)]
    slow.let.set()
    assert [await task for task in (first, *others)] == [10, 20, 30, 40, 50, 60]
    assert slow.batches == [[1], [2, 3, 4], [5, 6]]


def test_a_pace_gathers_what_comes_soon_after_a_call_and_holds_up_nobody_after_a_pause() -> None:
    """The first goes at once; what is asked within the pace, at different moments, goes together and when it allows."""

    async def story() -> tuple[list[list[int]], list[float]]:
        slow, loop = Slow(), asyncio.get_running_loop()
        slow.let.set()
        together = Together(slow, most=10, every_s=5.0)

        async def at(item: int, second: float) -> float:
            await SystemClock().sleep(second)
            assert await together.ask(item) == item * 10
            return round(loop.time(), 6)

        return slow.batches, list(await asyncio.gather(at(1, 0.0), at(2, 1.0), at(3, 4.0), at(4, 20.0)))

    assert skipping(story()) == ([[1], [2, 3], [4]], [0.0, 5.0, 5.0, 20.0])


async def test_one_error_is_its_askers_alone_and_a_lost_call_is_everybodys() -> None:
    """An item that fails leaves the others of its batch alone; a call that raises answers all of its batch, and the next goes on."""
    slow = Slow()
    slow.let.set()
    together = Together(slow, most=10)
    mixed = await asyncio.gather(together.ask(1), together.ask(-2), together.ask(3), return_exceptions=True)
    assert [mixed[0], str(mixed[1]), mixed[2]] == [10, "-2", 30]
    lost = await asyncio.gather(together.ask(13), together.ask(4), return_exceptions=True)
    assert [type(answer) for answer in lost] == [ConnectionError, ConnectionError]
    assert await together.ask(5) == 50


async def test_whoever_is_cancelled_leaves_the_others_with_their_own_answers() -> None:
    """Cancelled under way or while waiting: the rest of the storm gets its answers, and what was not sent never is."""
    slow = Slow()
    together = Together(slow, most=1000)
    first = [asyncio.create_task(together.ask(item)) for item in range(100, 200)]
    await slow.entered.wait()
    then = [asyncio.create_task(together.ask(item)) for item in range(200, 300)]
    await asyncio.sleep(0)  # they are in the queue
    for task in (*first[::2], *then[::2]):
        task.cancel()
    slow.let.set()
    answers = await asyncio.gather(*first, *then, return_exceptions=True)
    kept = [answer for answer in answers if not isinstance(answer, asyncio.CancelledError)]
    assert kept == [item * 10 for item in range(101, 300, 2)]
    assert slow.batches == [list(range(100, 200)), list(range(201, 300, 2))]


async def test_a_call_that_is_cancelled_itself_cancels_whoever_waits() -> None:
    """At the end of the process nobody is left waiting for an answer that cannot come."""

    async def never(_: Sequence[int]) -> Sequence[int | Exception]:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Together(never, most=10).ask(1)


async def test_what_is_told_goes_in_front_of_what_is_asked_next_and_alone_where_nothing_is() -> None:
    """Told, then asked: one call, in that order. Told and then silence: it goes all the same, and its error is nobody's."""
    slow = Slow()
    slow.let.set()
    together = Together(slow, most=10)
    together.tell(1)
    assert (slow.batches, together.busy) == ([], True)
    assert await together.ask(2) == 20
    assert slow.batches == [[1, 2]]
    together.tell(13)
    await eventually(lambda: slow.batches == [[1, 2], [13]])
    assert await together.ask(3) == 30
    assert not together.busy

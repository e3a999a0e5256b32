"""Skipped time: waits are over at once and in their order, and work takes none."""

from __future__ import annotations

import asyncio

from tests.support.skipping import skipping


def test_waits_end_in_their_order_without_being_waited_for() -> None:
    """An hour, a minute and a timeout between them: each at its time, all of it at once."""

    async def story() -> list[tuple[str, float]]:
        loop, ended = asyncio.get_running_loop(), list[tuple[str, float]]()

        async def wait(name: str, until: asyncio.Event, seconds: float) -> None:
            try:
                async with asyncio.timeout(seconds):
                    await until.wait()
            except TimeoutError:
                ended.append((name, round(loop.time(), 6)))

        never = asyncio.Event()
        await asyncio.gather(wait("hour", never, 3600.0), wait("minute", never, 60.0), wait("half", never, 1800.0))
        return ended

    assert skipping(story()) == [("minute", 60.0), ("half", 1800.0), ("hour", 3600.0)]


def test_work_takes_no_time() -> None:
    """However long the machine computes, a timer is as far away as before."""

    async def story() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.time() - began

    assert skipping(story()) == 0.0

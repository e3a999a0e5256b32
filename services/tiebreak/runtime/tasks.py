"""Ending tasks for certain, and waiting between two turns of one that may be told to stop."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_S = 0.1


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Until ``stop`` is set, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def end(*tasks: asyncio.Task[Any] | asyncio.Future[Any] | None) -> None:
    """Cancel ``tasks`` and wait until each has ended, however it ends; None and ended ones are fine.

    One ``cancel`` is not enough: until Python 3.12 ``asyncio.wait_for`` loses a cancellation that arrives as its inner call ends, and
    redis-py wraps every write in one. A loop that was cancelled at such a moment would go on for ever.
    """
    for task in tasks:
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_AGAIN_S)
        if task is not None and not task.cancelled():
            task.exception()  # seen: asyncio would complain about one that nobody asked for

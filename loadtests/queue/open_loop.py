"""Open-loop load: pairs arrive at a fixed rate whatever the server does, and each is timed from when it was due.

A closed loop asks less of a server that is slow, and so hides how long people would have waited (coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from loadtests.queue.http import Connection, claim_and_vote


@dataclass(slots=True)
class Offered:
    """``rate`` pairs a second were offered for ``seconds``. ``waits``: seconds from due to answered, of those that were."""

    rate: float
    seconds: float
    due: int = 0
    waits: list[float] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)

    @property
    def kept_up(self) -> bool:
        """Whether nearly all that was due was answered by the end of the patience."""
        return len(self.waits) >= 0.99 * self.due


async def offer(address: str, project: str, tokens: Sequence[str], rate: float, seconds: float) -> Offered:
    """Each pair is taken by a person who is free; where nobody is, it waits, and its waiting counts."""
    run, result = f"{time.time_ns():x}", Offered(rate, seconds)
    people: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    lines = [Connection(address, token) for token in tokens]
    for line in lines:
        people.put_nowait(line)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(number: int) -> None:
        line = await people.get()
        status = await claim_and_vote(line, project, f"{run}-{number}")
        people.put_nowait(line)
        if status == 201:
            result.waits.append(loop.time() - (began + number / rate))
        else:
            result.odd.append(status)

    pairs: list[asyncio.Task[None]] = []
    while (due := began + result.due / rate) < began + seconds:
        await asyncio.sleep(max(0.0, due - loop.time()))
        pairs.append(asyncio.create_task(one(result.due)))
        result.due += 1
    _, late = await asyncio.wait(pairs, timeout=seconds)
    for pair in late:
        pair.cancel()
    await asyncio.gather(*pairs, return_exceptions=True)
    for line in lines:
        line.close()
    return result

"""What is older than a horizon of `privacy.retention` on topic `annotations`, in the queue's Redis: lines of histories, and notes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import redis.asyncio

from tiebreak.labeling.redis_errors import reachable
from tiebreak.labeling.redis_wire import done_of

_SCAN = 200


async def forget_lines(client: redis.asyncio.Redis, prefix: str, before_ms: int) -> int:
    """Take the lines of answers given before then out of people's histories; how many."""
    removed = 0
    async with reachable():
        people: Sequence[Any] = await client.hkeys(f"{prefix}answered")
        for mine in (f"{prefix}mine:{name.decode()}" for name in people):
            lines: Sequence[Any] = await client.lrange(mine, 0, -1)
            for line in (line for line in lines if done_of(line).at_ms < before_ms):
                removed += await client.lrem(mine, 0, line)
    return removed


async def old_notes(client: redis.asyncio.Redis, key: str, before_ms: int) -> AsyncIterator[Sequence[bytes]]:
    """The fields of notes of answers given before then, some at a time."""
    cursor = 0
    while True:
        async with reachable():
            reply: Any = await client.hscan(key, cursor, count=_SCAN)
        cursor, found = reply
        if old := [field for field, text in found.items() if int(text.partition(b"|")[0]) < before_ms]:
            yield old
        if not cursor:
            return

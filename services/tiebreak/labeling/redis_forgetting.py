"""What is older than a horizon of `privacy.retention` on topic `annotations`, in the queue's Redis: lines, notes, answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import redis.asyncio

from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.redis_errors import reachable
from tiebreak.labeling.redis_wire import Argument

_SCAN = 200
# A run holds up everybody. Each person has hundreds of lines, each task some answers.
_PEOPLE, _TASKS = 10, 40
Run = Callable[[str, Sequence[Argument]], Awaitable[list[Any]]]


async def forget_before(client: redis.asyncio.Redis, prefix: str, run: Run, before_ms: int, patience_ms: int) -> Erased:
    """Forget the answers given before then; what was found. One is on its way to the log for ``patience_ms`` at most."""
    lines, answers = 0, 0
    async with reachable():
        people: Sequence[Any] = await client.hkeys(f"{prefix}answered")
    for i in range(0, len(people), _PEOPLE):
        lines += (await run("forget_lines", (before_ms, *people[i : i + _PEOPLE])))[0]
    async for fields in _old_notes(client, f"{prefix}notes", before_ms):
        lines += (await run("forget_notes", (before_ms, *fields)))[0]
    async for ids in _begun(client, f"{prefix}task:"):
        for i in range(0, len(ids), _TASKS):
            answers += (await run("forget_answers", (before_ms, patience_ms, *ids[i : i + _TASKS])))[0]
    return Erased(answers=answers, lines=lines)


async def _old_notes(client: redis.asyncio.Redis, key: str, before_ms: int) -> AsyncIterator[Sequence[bytes]]:
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


async def _begun(client: redis.asyncio.Redis, head: str) -> AsyncIterator[Sequence[str]]:
    """The ids of tasks that somebody was ever given, with content or without, some at a time; one may come twice."""
    cursor = 0
    while True:
        async with reachable():
            reply: Any = await client.scan(cursor, match=f"{head}*", count=_SCAN)
        cursor, keys = reply
        if ids := [key.decode().removeprefix(head) for key in keys]:
            yield ids
        if not cursor:
            return

"""One life of a Redis server, from its start to its end, and what the queue's index has to do with it.

Unless every change is on disk before it is answered (``appendfsync always``), a server that was started again lacks the newest changes,
and a replica that took over may: an index is good for the life in which it was built (docs/adr/0027).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import redis.asyncio
from redis.exceptions import ResponseError

from tiebreak.labeling.redis_errors import reachable

# Every key of the scripts but for what no topic has (and whoever goes on without the newest of it is safe): `fence`, `forgiven`,
# `settled_tasks`; the tokens, which have a builder of their own; and `erased`, which only ever grows. Not all keys under the prefix but
# those: the log and the sampler have theirs there too.
_OF_INDEX = frozenset(
    {
        "bodies",
        "order",
        "open_tasks",
        "in_review",
        "leases",
        "kept",
        "lines",
        "purge",
        "forget",
        "expiry",
        "answered",
        "gold",
        "classes",
        "notes",
    }
)
_KINDS_OF_INDEX = frozenset({"task", "open", "again", "cursor", "held", "expiry", "done", "mine", "idem"})
_SCAN = 1000


async def life_of(client: redis.asyncio.Redis) -> str:
    """Which life the server is in; empty where it does not say."""
    async with reachable():
        return str((await client.info("server")).get("run_id", ""))


async def is_of_this_life(client: redis.asyncio.Redis, key: str) -> bool:
    """Whether ``key`` says, up to the first ``|``, the life that the server is in: as the scripts see it."""
    async with reachable(), client.pipeline(transaction=False) as pipe:
        pipe.get(key)
        pipe.info("server")
        said, info = await pipe.execute()
    return said is not None and said.decode().partition("|")[0] == str(info.get("run_id", ""))


async def keeps_all(client: redis.asyncio.Redis) -> bool:
    """Whether every change is on disk before it is answered. A server that does not say is taken for one that does not."""
    try:
        async with reachable():
            known: dict[Any, Any] = {**await client.config_get("appendonly"), **await client.config_get("appendfsync")}
    except ResponseError:
        return False
    return (known.get("appendonly"), known.get("appendfsync")) == ("yes", "always")


async def of_index(client: redis.asyncio.Redis, prefix: str) -> AsyncIterator[list[str]]:
    """What is to be removed before a rebuild, page by page, by name; the epoch last: cut short, the removal is begun again."""
    cursor = 0
    while True:
        async with reachable():
            found: Any = await client.scan(cursor, match=f"{prefix}*", count=_SCAN)
        cursor, keys = found
        names = [key.decode().removeprefix(prefix) for key in keys]
        if page := [name for name in names if is_of_index(name)]:
            yield page
        if not cursor:
            break
    yield ["epoch"]


def is_of_index(name: str) -> bool:
    """Whether the key of this name, the prefix left out, is cleared before a rebuild."""
    kind, colon, _ = name.partition(":")
    return kind in _KINDS_OF_INDEX if colon else name in _OF_INDEX

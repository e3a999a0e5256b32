"""The queue's Lua scripts: loaded from ``lua/``, run alone or, where people wait for them, many in one exchange with Redis."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.commands.core import AsyncScript
from redis.connection import HiredisRespSerializer
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tiebreak.labeling.redis_errors import reachable
from tiebreak.labeling.redis_wire import Argument
from tiebreak.runtime.together import Together

# One exchange blocks Redis for everybody else for as long as its scripts take: about 40 microseconds each.
_MOST = 128


def load_scripts(client: redis.asyncio.Redis, names: Sequence[str]) -> Mapping[str, AsyncScript]:
    """The scripts of ``lua/``, each with the shared part in front. They are sent to the server at their first use."""
    folder = files("tiebreak.labeling").joinpath("lua")
    common = folder.joinpath("common.lua").read_text("utf-8")
    texts = {name: folder.joinpath(f"{name}.lua").read_text("utf-8") for name in names}
    return {name: client.register_script(f"{common}\n{text}") for name, text in texts.items()}


@dataclass(frozen=True, slots=True)
class _Call:
    script: AsyncScript
    arguments: Sequence[Argument]


class ScriptPipeline:
    """Calls that wait at the same moment travel together: one write, one fsync, one read for all of them.

    Each script still runs by itself, in the order of the calls, and has its own answer or error. ``seen`` is the value that the
    key ``watched`` had before the newest exchange, so that whoever is answered knows it as of their own call.
    """

    def __init__(self, client: redis.asyncio.Redis, prefix: str, watched: str) -> None:
        self._client = client
        self._prefix = prefix
        self._watched = watched
        self._together = Together(self._exchange, _MOST)
        # In C: the connection itself packs argument by argument. (Its own types are wrong.)
        self._pack: Callable[..., list[bytes]] = HiredisRespSerializer().pack
        self.seen: bytes | None = None

    async def run(self, script: AsyncScript, arguments: Sequence[Argument]) -> list[Any]:
        """The script's reply. Raises what redis-py raises; an error of the connection leaves the outcome unknown."""
        return await self._together.ask(_Call(script, arguments))

    async def _exchange(self, calls: Sequence[_Call]) -> list[list[Any] | Exception]:
        replies = await self._send(calls)
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:  # the server's cache is empty: those did nothing
            for script in {calls[place].script for place in unknown}:
                await self._client.script_load(script.script)
            again = await self._send([calls[place] for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return replies

    async def _send(self, calls: Sequence[_Call]) -> list[list[Any] | Exception]:
        packed = self._pack("GET", self._watched)
        for call in calls:
            packed += self._pack("EVALSHA", call.script.sha, 1, self._prefix, *call.arguments)
        async with reachable():
            seen, *replies = await self._converse(b"".join(packed), 1 + len(calls))
        if isinstance(seen, ResponseError):
            raise seen
        self.seen = seen
        return replies

    async def _converse(self, packed: bytes, count: int) -> list[Any]:
        """Send commands in one write and read their ``count`` replies, again after an error of the connection as redis-py does.

        Its own pipeline packs argument by argument and sets a timer per reply: half of what a claim cost.
        """
        pool = self._client.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # a decorator of theirs hides its type

        async def once() -> list[Any]:
            await connection.send_packed_command(packed)
            async with asyncio.timeout(connection.socket_timeout):
                return [await _reply(connection) for _ in range(count)]

        async def failed(_: Exception) -> None:
            await connection.disconnect()

        try:
            replies: list[Any] = await connection.retry.call_with_retry(once, failed)
            return replies
        except TimeoutError as error:
            raise RedisTimeoutError("no reply in time") from error
        finally:
            await pool.release(connection)


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as error:
        return error

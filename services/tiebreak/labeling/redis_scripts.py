"""The queue's Lua scripts: loaded from ``lua/``, run alone or, where people wait for them, many in one run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import hiredis
import redis.asyncio
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tiebreak.labeling.redis_errors import reachable
from tiebreak.labeling.redis_wire import Argument
from tiebreak.runtime.together import Together

# One run blocks Redis for everybody else for as long as its calls take: some 20 microseconds each.
_MOST = 128
# An exchange costs as much for one call as for ten, most of all its fsync, and whoever is answered together publishes together.
_EVERY_S = 0.004
# Of the queue, each a run of its own.
QUEUE_SCRIPTS = (
    "add",
    "adopt",
    "apply",
    "classes",
    "clear",
    "erase",
    "finish",
    "forget",
    "forget_answers",
    "forget_lines",
    "forget_notes",
    "gold",
    "keep",
    "published",
    "regrant",
    "reopen",
    "rerank",
    "restore",
    "settle",
    "stats",
    "sweep",
    "withdraw",
)
# What people wait for: these share a run (`people.lua`).
_SHARED = ("claim", "confirm", "dispute", "hold", "prepare")


def load_scripts(client: redis.asyncio.Redis, names: Sequence[str]) -> Mapping[str, AsyncScript]:
    """The scripts of ``lua/``, each with the shared part in front. They are sent to the server at their first use."""
    return {name: client.register_script(f"{_text('common')}\n{_text(name)}") for name in names}


@cache
def _text(name: str) -> str:
    return files("tiebreak.labeling").joinpath("lua", f"{name}.lua").read_text("utf-8")


def _people_script(client: redis.asyncio.Redis) -> AsyncScript:
    """``people.lua`` with the scripts it runs as functions: what is ``ARGV`` to them is theirs alone."""
    calls = [f"function calls.{name}(ARGV)\n{_text(name)}\nend" for name in _SHARED]
    return client.register_script("\n".join([_text("common"), "local calls = {}", *calls, _text("people")]))


Call = tuple[str, Sequence[Argument]]
"""A script's name and its arguments."""


class Scripts:
    """Runs the scripts of one project under one builder's nonce ('' for everybody else)."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str, names: Sequence[str], nonce: str = "") -> None:
        self._client = client
        self._prefix = prefix
        self._scripts = load_scripts(client, names)
        self._people = _people_script(client)
        self._nonce = nonce
        # Taking a connection out of the pool and giving it back costs as much as the exchange itself.
        self._kept: Any = None
        self._together = Together(self._exchange, _MOST, _EVERY_S)
        self.rebuilt: Callable[[], Awaitable[None]] = _nothing
        """Awaited where the index was built again since the last run of :meth:`ask`, before anything is asked of it."""
        self._epoch = b""
        self.seen: bytes | None = None
        """The token epoch before the newest run of :meth:`ask`: whoever is answered knows it as of their own call."""

    async def run(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
        """One script's reply. Raises Unreachable; the outcome is unknown then."""
        return await self._run(self._scripts[name], arguments)

    async def ask(self, *calls: Call) -> Sequence[list[Any]]:
        """Their replies, in one run with whatever else people ask for at this moment: one write, one fsync, one read for all.

        Calls asked together run one after the other, with nothing in between.
        """
        return await self._together.ask(calls)

    def tell(self, *calls: Call) -> None:
        """Have them run before whatever is asked later; nobody waits for the replies, and an error is nobody's."""
        self._together.tell(calls)

    async def told(self) -> None:
        """Return once what was told before has been run, or has failed."""
        if self._together.busy:
            await self._together.ask(())

    async def _exchange(self, asked: Sequence[Sequence[Call]]) -> Sequence[Sequence[list[Any]] | Exception]:
        flat: list[Argument] = []
        for calls in asked:
            for name, arguments in calls:
                flat += (name, len(arguments), *arguments)
        self.seen, epoch, *replies = await self._run(self._people, [self._epoch, *flat])
        while epoch and self._epoch not in (b"", epoch):  # nothing was done
            await self.rebuilt()
            self._epoch = epoch
            self.seen, epoch, *replies = await self._run(self._people, [self._epoch, *flat])
        self._epoch = epoch or self._epoch
        answers, ends = [], 0
        for calls in asked:
            begin, ends = ends, ends + len(calls)
            answers.append(replies[begin:ends])
        return [await _meant(answer) for answer in answers] if any(map(_is_error, replies)) else answers

    async def _run(self, script: AsyncScript, arguments: Sequence[Argument]) -> list[Any]:
        # In C: redis-py packs argument by argument. (Its own types are wrong: it takes numbers too.)
        command: Any = ("EVALSHA", script.sha, 1, self._prefix, self._nonce, *arguments)
        packed = hiredis.pack_command(command)
        async with reachable():
            try:
                return await self._converse(packed)
            except NoScriptError:  # the server's cache is empty: nothing was done
                await self._client.script_load(script.script)
                return await self._converse(packed)

    async def _converse(self, packed: bytes) -> list[Any]:
        """Send one command and read its reply, again after an error of the connection as redis-py does."""
        connection = await self._connected()
        # One limit for both halves: theirs makes a task of every write (Python 3.11).
        limit_s, connection.socket_timeout = connection.socket_timeout, None
        well = False

        async def once() -> list[Any]:
            async with asyncio.timeout(limit_s):
                await connection.send_packed_command(packed)
                reply: list[Any] = await connection.read_response(timeout=math.inf)
                return reply

        async def failed(_: Exception) -> None:
            await connection.disconnect()

        try:
            replies: list[Any] = await connection.retry.call_with_retry(once, failed)
            well = True
            return replies
        except TimeoutError as error:
            raise RedisTimeoutError("no reply in time") from error
        finally:
            connection.socket_timeout = limit_s
            await self._put_back(connection, well=well)

    async def _connected(self) -> Any:
        """The connection that was kept, looked at as the pool would do it; or one of the pool's."""
        pool = self._client.connection_pool
        connection, self._kept = self._kept, None
        if connection is None:
            return await pool.get_connection()  # type: ignore[no-untyped-call]  # a decorator of theirs hides its type
        try:
            await pool.ensure_connection(connection)
        except BaseException:
            await pool.release(connection)
            raise
        return connection

    async def _put_back(self, connection: Any, *, well: bool) -> None:
        # A builder is soon gone, and what it kept would be lost to the pool.
        if well and self._kept is None and not self._nonce:
            self._kept = connection
        else:
            await self._client.connection_pool.release(connection)


async def _nothing() -> None:
    return


def _is_error(reply: object) -> bool:
    return isinstance(reply, Exception)


async def _meant(replies: Sequence[Any]) -> Sequence[list[Any]] | Exception:
    """The replies, or what the first error among them means to us."""
    error = next(filter(_is_error, replies), None)
    if error is None:
        return replies
    try:
        async with reachable():
            raise error
    except Exception as meant:  # noqa: BLE001 - it is handed to whoever asked
        return meant

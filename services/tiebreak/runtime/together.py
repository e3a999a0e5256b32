"""Group commit: items that wait at the same moment are handled by one call, and a lone one goes at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# So long what nobody waits for may wait for company.
_SOON_S = 0.01


class Together(Generic[Item, Result]):
    """``send`` gets the items in the order in which they came, at most ``most`` at a time and one call at a time.

    It answers one result or error per item, in order; what it raises is everybody's answer. Whoever is cancelled while waiting
    leaves the others alone: an item not yet sent is dropped, one under way is finished and its answer thrown away.

    At least ``every_s`` lie between the beginnings of two calls: where each costs the same however many items it has, a short
    wait under load makes room for many. After a pause an item goes at once.
    """

    def __init__(
        self, send: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]], most: int, every_s: float = 0.0
    ) -> None:
        self._send = send
        self._most = most
        self._every_s = every_s
        self._next = 0.0
        self._waiting: deque[tuple[Item, asyncio.Future[Result] | None]] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Result:
        """The result for ``item``."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._begin()
        return await answer

    def tell(self, item: Item) -> None:
        """Have ``item`` sent before whatever is asked later, in one call with it if that is soon. Nobody hears what became of it."""
        if not self._waiting and self._sender is None:
            asyncio.get_running_loop().call_later(_SOON_S, self._begin)
        self._waiting.append((item, None))

    @property
    def busy(self) -> bool:
        """Whether something waits to be sent, or is under way."""
        return self._sender is not None or bool(self._waiting)

    def _begin(self) -> None:
        if self._waiting and self._sender is None:
            self._sender = asyncio.create_task(self._run(), name="together")

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._turn()
                await self._exchange(self._take())
        finally:
            self._sender = None
            for _, answer in self._waiting:  # only a cancelled sender leaves any
                if answer is not None:
                    answer.cancel()
            self._waiting.clear()

    async def _turn(self) -> None:
        if not self._every_s:
            return
        loop = asyncio.get_running_loop()
        if self._next > loop.time():
            await asyncio.sleep(self._next - loop.time())
        self._next = loop.time() + self._every_s

    def _take(self) -> list[tuple[Item, asyncio.Future[Result] | None]]:
        taken: list[tuple[Item, asyncio.Future[Result] | None]] = []
        while self._waiting and len(taken) < self._most:
            item, answer = self._waiting.popleft()
            if answer is None or not answer.done():
                taken.append((item, answer))
        return taken

    async def _exchange(self, taken: Sequence[tuple[Item, asyncio.Future[Result] | None]]) -> None:
        if not taken:
            return  # everybody who waited has gone
        answers = [answer for _, answer in taken]
        try:
            results = await self._send([item for item, _ in taken])
        except Exception as error:  # noqa: BLE001 - it is handed to everybody who asked
            results = [error] * len(answers)
        except asyncio.CancelledError:
            for answer in answers:
                if answer is not None:
                    answer.cancel()
            raise
        for answer, result in zip(answers, results, strict=True):
            if answer is None or answer.done():
                continue  # nobody waits for it any more
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

"""Waiting for a fact instead of for a time: the one place in the tests that sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")

_PAUSE_S = 0.02
# What comes at all comes in a moment, on a machine that has nothing else to do. It costs time only where a test fails.
PATIENCE_S = 60.0


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]],
    deadline_s: float = ...,
    *,
    what: str = ...,
    retry_on: tuple[type[Exception], ...] = ...,
) -> T: ...
@overload
async def eventually(
    condition: Callable[[], T],
    deadline_s: float = ...,
    *,
    what: str = ...,
    retry_on: tuple[type[Exception], ...] = ...,
) -> T: ...
async def eventually(
    condition: Callable[[], T] | Callable[[], Awaitable[T]],
    deadline_s: float = PATIENCE_S,
    *,
    what: str = "",
    retry_on: tuple[type[Exception], ...] = (AssertionError,),
) -> T:
    """The first truthy answer of ``condition`` (a plain or an async callable), asked again until ``deadline_s`` seconds are over.

    ``retry_on`` errors count as "not yet", so a condition may be written with asserts; any other error passes through at
    once. Raises AssertionError that says what was waited for, for how long, and the last answer or error.
    """
    start = time.monotonic()
    while True:
        last: object
        try:
            answer = condition()
            # A condition that hangs must not outlive the deadline either.
            value = await asyncio.wait_for(_awaited(answer), deadline_s) if inspect.isawaitable(answer) else answer
            if value:
                return cast("T", value)
            last = value
        except TimeoutError:
            raise AssertionError(_story(condition, what, start, "the condition itself did not return")) from None
        except retry_on as error:
            last = error
        if time.monotonic() - start > deadline_s:
            raise AssertionError(_story(condition, what, start, last)) from _cause(last)
        await asyncio.sleep(_PAUSE_S)


def eventually_sync(
    condition: Callable[[], T],
    deadline_s: float = PATIENCE_S,
    *,
    what: str = "",
    retry_on: tuple[type[Exception], ...] = (AssertionError,),
) -> T:
    """:func:`eventually` for tests without an event loop (real processes)."""
    start = time.monotonic()
    while True:
        last: object
        try:
            value = condition()
            if value:
                return value
            last = value
        except retry_on as error:
            last = error
        if time.monotonic() - start > deadline_s:
            raise AssertionError(_story(condition, what, start, last)) from _cause(last)
        time.sleep(_PAUSE_S)


async def _awaited(answer: Awaitable[T]) -> T:
    return await answer


def _cause(last: object) -> BaseException | None:
    return last if isinstance(last, BaseException) else None


def _story(condition: Callable[[], object], what: str, start: float, last: object) -> str:
    waited = time.monotonic() - start
    name = what or getattr(condition, "__name__", repr(condition))
    return f"waited {waited:.1f} s for: {name}; last answer: {last!r}"

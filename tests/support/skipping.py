"""Time for tests of waiting that all happens in this process: it passes only while there is nothing else to do, and then at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for the next timer it moves the time to it."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)  # no timer: only another thread can go on
        found = super().select(0)
        if not found:
            self.now_s += max(0.0, timeout)
        return found


class _SkippingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clockwork = _Selector()
        super().__init__(self._clockwork)

    def time(self) -> float:
        return self._clockwork.now_s


def skipping(story: Coroutine[Any, Any, T]) -> T:
    """Run ``story`` in an event loop whose time does not depend on how fast the machine is: what takes no wait takes no time.

    For timers of the loop (``asyncio.sleep``, ``timeout``); what other threads, processes or servers do takes no time in it.
    """
    with asyncio.Runner(loop_factory=_SkippingLoop) as runner:
        return runner.run(story)

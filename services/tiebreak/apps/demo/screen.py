"""Draws the run while it goes on: a live screen on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from tiebreak.apps.demo.journal import Journal
from tiebreak.apps.demo.recording import Recording
from tiebreak.apps.demo.view import Scene, line_of, render
from tiebreak.contracts.clock import Clock
from tiebreak.runtime.tasks import pause

_FRAME_S = 0.25
_LINE_S = 5.0


class Screen:
    """Shows what ``recording`` and ``journal`` know. ``note`` is set by whoever runs the show."""

    def __init__(self, console: Console, clock: Clock, recording: Recording, journal: Journal, page: str) -> None:
        self.note = ""
        self._console, self._clock, self._page = console, clock, page
        self._recording, self._journal = recording, journal
        self._rates: deque[float] = deque(maxlen=40)
        self._last = (clock.monotonic(), 0)

    async def show(self, stop: asyncio.Event) -> None:
        """Until ``stop``."""
        if self._console.is_terminal:
            # No thread of rich's own: it would draw while the recording changes under it.
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                await self._every(_FRAME_S, stop, lambda: live.update(render(self._scene()), refresh=True))
        else:
            await self._every(
                _LINE_S, stop, lambda: self._console.print(line_of(self._scene()), highlight=False, soft_wrap=True)
            )

    async def _every(self, seconds: float, stop: asyncio.Event, draw: Callable[[], None]) -> None:
        while not stop.is_set():
            draw()
            await pause(stop, seconds)
        draw()

    def _scene(self) -> Scene:
        self._measure()
        r = self._recording
        waiting = max(0, len(r.asked) - len(r.settled))
        return Scene(r, self._journal, tuple(self._rates), waiting, self._page, self.note)

    def _measure(self) -> None:
        now, count = self._clock.monotonic(), self._recording.predicted
        before, counted = self._last
        if now - before >= 1.0:
            self._rates.append((count - counted) / (now - before))
            self._last = (now, count)

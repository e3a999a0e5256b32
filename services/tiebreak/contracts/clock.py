"""Time as an argument: deadlines use ``monotonic``, records use ``wall``."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Seconds. ``monotonic`` never goes back; ``wall`` is Unix time and may jump."""

    def monotonic(self) -> float: ...
    def wall(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...

"""Health of a process as a registry of checks. Pure of HTTP: ``ops_http.py`` answers with it.

*Live* asks "would a restart help?": a wedged loop, never a server that is away. *Ready* asks "may traffic come here?".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import TiebreakError

Check = Callable[[], Awaitable[str]]
"""Answers "" when all is well, else what is wrong in a few words. Raising a TiebreakError or OSError means its message."""


class State(StrEnum):
    """Where the process is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Report:
    """``checks`` maps each check's name to "ok" or to what is wrong."""

    ok: bool
    state: State
    checks: Mapping[str, str]


class Health:
    """Checks run together, each at most ``timeout_s``: a server that hangs must not hang the probe."""

    def __init__(self, timeout_s: float = 2.0) -> None:
        self.state = State.STARTING
        self._timeout_s = timeout_s
        self._ready: dict[str, Check] = {}
        self._live: dict[str, Check] = {}

    def ready_when(self, name: str, check: Check) -> None:
        """Traffic comes only while ``check`` is well."""
        self._ready[name] = check

    def live_while(self, name: str, check: Check) -> None:
        """A restart is asked for when ``check`` is not well."""
        self._live[name] = check

    async def live(self) -> Report:
        """Whether this process still does its work."""
        checks = await self._run(self._live)
        return Report(_all_ok(checks), self.state, checks)

    async def ready(self) -> Report:
        """Whether this process can take work now. Never while it starts or stops."""
        checks = await self._run({**self._live, **self._ready})
        return Report(_all_ok(checks) and self.state is State.RUNNING, self.state, checks)

    async def _run(self, checks: Mapping[str, Check]) -> dict[str, str]:
        answers = await asyncio.gather(*(self._ask(check) for check in checks.values()))
        return dict(zip(checks, answers, strict=True))

    async def _ask(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await check() or "ok"
        except TimeoutError:
            return f"no answer in {self._timeout_s:g} s"
        except (TiebreakError, OSError) as error:
            return str(error) or type(error).__name__


class Heartbeat:
    """A loop's sign of life: ``beat`` in each round; well while the last one is at most ``max_age_s`` old."""

    def __init__(self, clock: Clock, max_age_s: float) -> None:
        self._clock = clock
        self._max_age_s = max_age_s
        self._last = clock.monotonic()

    def beat(self) -> None:
        """The loop has just made a round."""
        self._last = self._clock.monotonic()

    async def check(self) -> str:
        """For :meth:`Health.live_while`."""
        age = self._clock.monotonic() - self._last
        return "" if age <= self._max_age_s else f"no progress for {age:.0f} s"


def _all_ok(checks: Mapping[str, str]) -> bool:
    return all(answer == "ok" for answer in checks.values())

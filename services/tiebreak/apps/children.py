"""Our processes as children of one supervisor: started, watched, started again, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx
import structlog

from tiebreak.apps.restarts import RestartPolicy, Restarts, after_death, worth_restarting
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import TiebreakError
from tiebreak.runtime.lifecycle import PARENT_PIPE, ExitCode
from tiebreak.runtime.tasks import pause

log = structlog.get_logger(__name__)

_PROBE_S = 0.2
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """One child: ``arguments`` of the command line, the address where its health can be asked, what ``environment`` adds.

    Its output is appended to ``log_file``; None: it goes where ours goes.
    """

    name: str
    arguments: tuple[str, ...]
    address: str
    environment: Mapping[str, str] = field(default_factory=dict)
    log_file: Path | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """The whole command, with this very Python."""
        return (sys.executable, "-m", "tiebreak.apps.cli", *self.arguments)


class ChildEnded(TiebreakError):
    """A child ended in a way that another start would repeat. It has said why on standard error; ``code`` is its exit code."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} ended with exit code {code}.", fix="Its last line above says why.")
        self.code = code


class Child:
    """Keeps one part running. ``stop_timeout_s`` is what a child gets between SIGTERM and SIGKILL."""

    def __init__(self, part: Part, clock: Clock, stop_timeout_s: float, policy: RestartPolicy | None = None) -> None:
        self.part = part
        self.deaths = 0
        self._clock = clock
        self._stop_timeout_s = stop_timeout_s
        self._policy = policy or RestartPolicy()
        self._process: asyncio.subprocess.Process | None = None
        self._ready = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process and running else None

    async def keep(self, stop: asyncio.Event) -> None:
        """Until ``stop``: run the part, and again after each death. Raises ChildEnded when that has no use."""
        restarts, first = Restarts(), self._clock.monotonic()
        while not stop.is_set():
            began = self._clock.monotonic()
            code = await self._run_once(stop)
            if stop.is_set():
                return
            if not worth_restarting(self._policy, code, self._ready, self._clock.monotonic() - first):
                raise ChildEnded(self.part.name, code)
            self.deaths += 1
            wait, restarts = after_death(self._policy, restarts, self._clock.monotonic() - began)
            if code == ExitCode.UNREACHABLE and not self._ready:
                left = max(0.0, self._policy.patience_s - (self._clock.monotonic() - first))
                log.warning("child_waits_for_a_server", child=self.part.name, again_in_s=wait, ends_in_s=round(left, 1))
            else:
                log.warning("child_died", child=self.part.name, exit_code=code, restart_in_s=wait)
            await pause(stop, wait)

    async def until_ready(self) -> None:
        """Return once the part answers that it is ready."""
        # Our own child on this machine: its certificate names the host that people use, not this one.
        async with httpx.AsyncClient(timeout=2.0, verify=False) as client:  # noqa: S501
            while not await self._answers(client):
                await self._clock.sleep(_PROBE_S)
        self._ready = True

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.part.address}/health/ready")).status_code == 200
        except httpx.HTTPError:
            return False

    async def _run_once(self, stop: asyncio.Event) -> int:
        with _output(self.part.log_file) as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.part.command,
                # The child watches this pipe: it ends with us, however we end.
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.part.environment, PARENT_PIPE: "1"},
                # Ctrl-C reaches us alone; we stop the children in order.
                start_new_session=True,
            )
        ended = asyncio.create_task(self._process.wait())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._end(self._process, ended)
            return await ended
        finally:
            stopping.cancel()
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        # The child has a deadline of its own; past it something hangs that only SIGKILL ends.
        await asyncio.wait({ended}, timeout=self._stop_timeout_s + _GRACE_S)
        if not ended.done():
            log.error("child_killed", child=self.part.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def _output(path: Path | None) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    return contextlib.nullcontext() if path is None else path.open("ab")


def options_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Options as arguments; those without a value are left out.

    >>> options_of({"--redis": "unix:///r", "--kafka": ""})
    ('--redis', 'unix:///r')
    """
    return tuple(part for name, value in environment.items() if value for part in (name, value))

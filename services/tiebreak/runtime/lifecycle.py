"""A process's life: what runs in it, and how it ends.

The order of stopping: **sources** (what lets new work in), then **work** (what is in flight is finished), then **sinks**
(what the work writes to). The other way round, a batch in flight would find its writer closed, and be lost until the
next start. One monotonic deadline is shared along the whole path: each step gets what is left of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum

import structlog

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import ConfigError, ModelRefused, TiebreakError, TooManyBadRecords, Unreachable
from tiebreak.runtime.health import Health, State

log = structlog.get_logger(__name__)

Run = Callable[[asyncio.Event], Awaitable[None]]
"""Works until the event is set, then finishes what is in flight and returns."""
Close = Callable[[float], Awaitable[None]]
"""Closes within the seconds it is given."""

# Set by the supervisor: standard input is a pipe that it holds, and its end means that the supervisor is gone.
PARENT_PIPE = "TIEBREAK_PARENT_PIPE"


class Phase(IntEnum):
    """In this order they stop."""

    SOURCES = 0
    WORK = 1
    SINKS = 2


class ExitCode(IntEnum):
    """What the shell sees. 2 is also what a wrong command line gives."""

    OK = 0
    FAILED = 1
    CONFIG = 2
    UNREACHABLE = 3
    BAD_RECORDS = 4
    MODEL = 5
    ABORTED = 130


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code of the error that ended a process."""
    table: tuple[tuple[type[BaseException], ExitCode], ...] = (
        (ConfigError, ExitCode.CONFIG),
        (Unreachable, ExitCode.UNREACHABLE),
        (TooManyBadRecords, ExitCode.BAD_RECORDS),
        (ModelRefused, ExitCode.MODEL),
    )
    return next((code for kind, code in table if isinstance(error, kind)), ExitCode.FAILED)


@dataclass(slots=True)
class _PhaseState:
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    closers: list[tuple[str, Close]] = field(default_factory=list)


class Lifecycle:
    """Owns the background tasks and the closing of one process. Made and used inside one event loop."""

    def __init__(self, clock: Clock, health: Health, stop_timeout_s: float = 25.0) -> None:
        self.stopping = asyncio.Event()
        self.error: BaseException | None = None
        self._aborted = asyncio.Event()
        self._clock = clock
        self._health = health
        self._stop_timeout_s = stop_timeout_s
        self._phases = {phase: _PhaseState() for phase in Phase}

    def run(self, phase: Phase, name: str, work: Run) -> None:
        """Start ``work`` in the background. If it ends or raises before it was asked to stop, the process stops."""
        state = self._phases[phase]
        state.tasks.append(asyncio.create_task(self._guard(name, work, state.stop), name=name))

    def on_stop(self, phase: Phase, name: str, close: Close) -> None:
        """Call ``close`` in ``phase``, after its tasks ended; the last one registered closes first."""
        self._phases[phase].closers.append((name, close))

    def request_stop(self, why: str) -> None:
        """Begin to stop. Asked a second time: abort."""
        if self.stopping.is_set():
            log.warning("aborting", why=why)
            self._aborted.set()
            return
        log.info("stopping", why=why)
        self._health.state = State.STOPPING
        self.stopping.set()

    async def until_stopped(self) -> ExitCode:
        """Wait for the reason to stop, stop in order, and say how it went. Call it once, when everything is started."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop, signal.Signals(number).name)
        self._health.state = State.RUNNING
        try:
            await self.stopping.wait()
            return await self.stop()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def stop(self) -> ExitCode:
        """Stop sources, work and sinks under one deadline; a second signal cuts it short."""
        self._health.state = State.STOPPING
        self.stopping.set()
        ordered = asyncio.create_task(self._stop_in_order(), name="stop")
        aborted = asyncio.create_task(self._aborted.wait(), name="abort")
        await asyncio.wait({ordered, aborted}, return_when=asyncio.FIRST_COMPLETED)
        aborted.cancel()
        if not ordered.done():
            ordered.cancel()
            await self._cancel_all()
            return ExitCode.ABORTED
        clean = ordered.result()
        if self.error is not None:
            return exit_code_of(self.error)
        return ExitCode.OK if clean else ExitCode.FAILED

    async def _stop_in_order(self) -> bool:
        deadline = self._clock.monotonic() + self._stop_timeout_s
        clean = True
        for phase, state in self._phases.items():
            state.stop.set()
            if state.tasks:
                _, late = await asyncio.wait(state.tasks, timeout=self._left(deadline))
                clean &= not late
                for task in late:
                    log.error("stop_deadline", phase=phase.name.lower(), task=task.get_name())
                await _cancel(late)
            for name, close in reversed(state.closers):
                clean &= await self._close(name, close, deadline)
        return clean

    async def _close(self, name: str, close: Close, deadline: float) -> bool:
        left = self._left(deadline)
        try:
            async with asyncio.timeout(left + 1.0):
                await close(left)
        except Exception as error:  # noqa: BLE001 - one closer that fails must not keep the others from closing
            log.error("close_failed", part=name, error=str(error) or type(error).__name__)
            return False
        return True

    def _left(self, deadline: float) -> float:
        # Even past the deadline every part gets a moment: a close that is never tried leaves a lease or a lock behind.
        return max(0.1, deadline - self._clock.monotonic())

    async def _guard(self, name: str, work: Run, stop: asyncio.Event) -> None:
        try:
            await work(stop)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - any error of a background task ends the process, in order
            self._fail(name, error)
        else:
            if not self.stopping.is_set():
                self._fail(name, TiebreakError(f"{name} ended by itself."))

    def _fail(self, name: str, error: Exception) -> None:
        expected = isinstance(error, TiebreakError)
        log.error(
            "task_failed", task=name, error=str(error) or type(error).__name__, exc_info=None if expected else error
        )
        if self.error is None:
            self.error = error
        if not self.stopping.is_set():
            self.request_stop(f"{name} failed")

    async def _cancel_all(self) -> None:
        for state in self._phases.values():
            await _cancel(state.tasks)


async def _cancel(tasks: list[asyncio.Task[None]] | set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    # A task may refuse to end; the process must not wait for it.
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)


def stop_with_parent(lifecycle: Lifecycle, pipe: int) -> None:
    """Stop when ``pipe``, which only the supervisor writes to, ends: it is gone, even if by SIGKILL. Needs a running loop."""
    loop = asyncio.get_running_loop()
    os.set_blocking(pipe, False)

    def readable() -> None:
        with contextlib.suppress(BlockingIOError):
            if os.read(pipe, 1024) == b"":
                loop.remove_reader(pipe)
                lifecycle.request_stop("the supervisor is gone")

    loop.add_reader(pipe, readable)

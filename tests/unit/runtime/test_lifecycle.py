"""A process stops in order, within its deadline, and says with its exit code how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.support.eventually import eventually
from tiebreak.contracts.errors import ConfigError, ModelRefused, TooManyBadRecords, Unreachable
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.health import Health, State
from tiebreak.runtime.lifecycle import ExitCode, Lifecycle, Phase, exit_code_of, stop_with_parent


def _life(stop_timeout_s: float = 5.0) -> Lifecycle:
    return Lifecycle(SystemClock(), Health(), stop_timeout_s)


def _worker(name: str, story: list[str]) -> Callable[[asyncio.Event], Awaitable[None]]:
    async def work(stop: asyncio.Event) -> None:
        await stop.wait()
        story.append(f"{name} ended")

    return work


def _closer(name: str, story: list[str]) -> Callable[[float], Awaitable[None]]:
    async def close(_timeout_s: float) -> None:
        story.append(f"{name} closed")

    return close


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_sources_then_work_then_sinks(number: signal.Signals) -> None:
    """After one signal each phase ends before the next is asked to, closers in reverse; the exit code is 0."""
    health, story = Health(), list[str]()
    life = Lifecycle(SystemClock(), health, 5.0)
    life.on_stop(Phase.SINKS, "redis", _closer("redis", story))
    life.on_stop(Phase.SINKS, "writer", _closer("writer", story))
    life.run(Phase.WORK, "loop", _worker("loop", story))
    life.on_stop(Phase.SOURCES, "http", _closer("http", story))
    ended = asyncio.create_task(life.until_stopped())
    await eventually(lambda: health.state is State.RUNNING)
    os.kill(os.getpid(), number)
    assert await ended is ExitCode.OK
    assert story == ["http closed", "loop ended", "writer closed", "redis closed"]
    assert health.state is State.STOPPING


async def test_an_unhandled_error_of_a_background_task_stops_the_process() -> None:
    """A dead loop behind a healthy looking port would be worse than no process."""
    story: list[str] = []
    life = _life()

    async def breaks(_stop: asyncio.Event) -> None:
        raise Unreachable("The broker is gone.")

    life.run(Phase.WORK, "loop", breaks)
    life.on_stop(Phase.SINKS, "writer", _closer("writer", story))
    assert await life.until_stopped() is ExitCode.UNREACHABLE
    assert story == ["writer closed"]
    assert str(life.error) == "The broker is gone."


async def test_a_task_that_ends_by_itself_is_a_failure() -> None:
    """A loop that returns without having been asked has silently stopped working."""
    life = _life()

    async def returns(_stop: asyncio.Event) -> None:
        return

    life.run(Phase.WORK, "loop", returns)
    assert await life.until_stopped() is ExitCode.FAILED
    assert str(life.error) == "loop ended by itself."


async def test_a_part_that_does_not_stop_is_cut_off_at_the_deadline() -> None:
    """What hangs is cancelled, what comes after it is still closed, and the exit code says it was not clean."""
    story: list[str] = []
    life = _life(stop_timeout_s=0.2)

    async def hangs(_stop: asyncio.Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            story.append("cut off")

    life.run(Phase.WORK, "loop", hangs)
    life.on_stop(Phase.SINKS, "writer", _closer("writer", story))
    ended = asyncio.create_task(life.until_stopped())
    life.request_stop("test")
    assert await ended is ExitCode.FAILED
    assert story == ["cut off", "writer closed"]


async def test_a_closer_that_fails_does_not_keep_the_others_from_closing() -> None:
    """One broken part must not leave a lock or a lease behind."""
    story: list[str] = []
    life = _life()

    async def fails(_timeout_s: float) -> None:
        raise OSError("disk gone")

    life.on_stop(Phase.SINKS, "redis", _closer("redis", story))
    life.on_stop(Phase.SINKS, "ledger", fails)
    life.request_stop("test")
    assert await life.until_stopped() is ExitCode.FAILED
    assert story == ["redis closed"]


async def test_a_second_signal_aborts() -> None:
    """Whoever presses Ctrl-C twice wants out now: the wait is over, the tasks are cancelled, the exit code is 130."""
    life = _life(stop_timeout_s=60)

    async def hangs(_stop: asyncio.Event) -> None:
        await asyncio.Event().wait()

    life.run(Phase.WORK, "loop", hangs)
    ended = asyncio.create_task(life.until_stopped())
    life.request_stop("one")
    life.request_stop("two")
    assert await ended is ExitCode.ABORTED


async def test_a_child_stops_when_its_supervisor_is_gone() -> None:
    """A supervisor killed by SIGKILL closes its end of the pipe: the child stops in order instead of living on."""
    ours, theirs = os.pipe()
    life = _life()
    stop_with_parent(life, ours)
    ended = asyncio.create_task(life.until_stopped())
    os.close(theirs)
    assert await ended is ExitCode.OK
    os.close(ours)


def test_each_kind_of_error_has_its_exit_code() -> None:
    """A script can tell a wrong file from a missing broker."""
    errors = [ConfigError(""), Unreachable(""), TooManyBadRecords(""), ModelRefused(""), ValueError("")]
    assert [exit_code_of(error) for error in errors] == [
        ExitCode.CONFIG,
        ExitCode.UNREACHABLE,
        ExitCode.BAD_RECORDS,
        ExitCode.MODEL,
        ExitCode.FAILED,
    ]

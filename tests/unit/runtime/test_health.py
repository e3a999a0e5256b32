"""Health answers from checks: bounded, honest while starting and stopping, the same over HTTP."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from tiebreak.contracts.errors import ConfigError, Unreachable
from tiebreak.runtime.clock import ManualClock
from tiebreak.runtime.health import Health, Heartbeat, Report, State
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.ops_http import HttpServer, bind, ops_app


async def _well() -> str:
    return ""


async def _away() -> str:
    raise Unreachable("Redis does not answer.")


async def _hangs() -> str:
    await asyncio.Event().wait()
    return ""


async def test_a_process_is_ready_only_while_it_runs_and_every_check_is_well() -> None:
    """Starting and stopping are not ready, whatever the checks say."""
    health = Health()
    health.ready_when("log", _well)
    answers = []
    for state in State:
        health.state = state
        answers.append(await health.ready())
    assert answers == [
        Report(False, State.STARTING, {"log": "ok"}),
        Report(True, State.RUNNING, {"log": "ok"}),
        Report(False, State.STOPPING, {"log": "ok"}),
    ]


async def test_a_server_that_is_away_makes_a_process_unready_but_not_dead() -> None:
    """A restart would not bring Redis back: live stays ok, ready names what is wrong, a hanging check is cut off."""
    health = Health(timeout_s=0.05)
    health.state = State.RUNNING
    health.ready_when("redis", _away)
    health.ready_when("log", _hangs)
    assert await health.live() == Report(True, State.RUNNING, {})
    assert await health.ready() == Report(
        False, State.RUNNING, {"redis": "Redis does not answer.", "log": "no answer in 0.05 s"}
    )


async def test_a_loop_without_progress_is_not_live() -> None:
    """After ``max_age_s`` without a round the process asks to be restarted; the next round takes that back."""
    clock = ManualClock()
    beat = Heartbeat(clock, max_age_s=10)
    clock.advance(11)
    assert await beat.check() == "no progress for 11 s"
    beat.beat()
    assert await beat.check() == ""


async def test_the_three_routes_answer_over_http() -> None:
    """A probe sees 503 with the reasons, then 200; the metrics carry the readiness."""
    health = Health()
    server = HttpServer(ops_app(health, Metrics("digits")), bind("127.0.0.1", 0))
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=server.address) as client:
            starting = await client.get("/health/ready")
            health.state = State.RUNNING
            ready, live, metrics = [await client.get(p) for p in ("/health/ready", "/health/live", "/metrics")]
    finally:
        await server.stop(5.0)
    assert (starting.status_code, starting.json()) == (503, {"status": "fail", "state": "starting", "checks": {}})
    assert (ready.status_code, live.status_code, metrics.status_code) == (200, 200, 200)
    assert 'tiebreak_runtime_ready_ratio{project="digits"} 1.0' in metrics.text


def test_a_taken_port_is_one_clear_line() -> None:
    """The address is taken before anything else starts, so nothing needs undoing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            bind("127.0.0.1", port)
    assert str(caught.value) == (
        f"Cannot listen on 127.0.0.1:{port}: Address already in use. Name another with --port, or 0 for any free one."
    )

"""The supervisor's word that everything is up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tiebreak.apps.children import Child, Part
from tiebreak.apps.up import Running, announced
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.health import Health, State
from tiebreak.runtime.lifecycle import Lifecycle
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.ops_http import HttpServer, bind, ops_app
from tiebreak.runtime.settings import Options, resolve


@pytest.fixture
def health() -> Health:
    """Of the one child, which is still starting."""
    return Health()


@pytest.fixture
async def up(health: Health, tmp_path: Path) -> AsyncIterator[Running]:
    server = HttpServer(ops_app(health, Metrics("p")), bind("127.0.0.1", 0))
    await server.start()
    child = Child(Part("stream", (), server.address), SystemClock(), 1.0)
    life = Lifecycle(SystemClock(), Health())
    yield Running(resolve(Options(data=str(tmp_path)), {}), {"stream": child}, life, None)
    await server.stop(5.0)


async def test_what_becomes_ready_late_is_announced_all_the_same(up: Running, health: Health) -> None:
    """Each time that is over without it, a warning; once it is ready, the word. A minute is not long on a slow machine."""
    told: list[Running] = []

    async def announce(running: Running) -> None:
        told.append(running)

    with capture_logs() as logs:
        telling = asyncio.create_task(announced(up, announce, every_s=0.05))
        await eventually(lambda: len(logs) > 1)
        assert (told, {entry["event"] for entry in logs}) == ([], {"not_ready"})
        health.state = State.RUNNING
        await eventually(telling.done)
    assert told == [up]


async def test_nothing_is_announced_of_what_stops(up: Running) -> None:
    """Told to stop before it was ready: it ends without a word."""
    up.life.request_stop("test")

    async def announce(_: Running) -> None:
        raise AssertionError("announced")

    await announced(up, announce)

"""Two scorers share the partitions; one is frozen until the group has given it up, wakes, and finds its work done by the other."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest

from scripts.kafka import free_port
from tests.support.auditor import audit
from tests.support.eventually import eventually
from tests.support.whole_loop import HEALED_S, Load, Site, evidence_of, kill, load_on, lost_nothing, pid_of, world_of
from tests.support.witness import Witness
from tiebreak.apps.children import Child, Part
from tiebreak.apps.up import Running, running, until_ready
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.clock import SystemClock

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

SEED = 20_264
_CONSUMED = re.compile(r'^tiebreak_events_consumed_total\{[^}]*stage="scoring"[^}]*\} ([0-9.e+]+)$', re.MULTILINE)


async def test_a_scorer_frozen_beyond_its_session_and_another_killed_lose_nothing(site: Site) -> None:
    """A member that slept while its partitions went to another, and then the other's death: I1 to I8 hold."""
    world = await asyncio.to_thread(world_of, 20_000, SEED)
    async with (
        running(site.project, site.project_file, site.settings, site.folder) as up,
        _second_scorer(site) as second,
    ):
        assert await until_ready(up, HEALED_S)
        async with load_on(site, up.children["label"].part.address, world, SEED) as load:
            await eventually(partial(_consumes, second), HEALED_S, what="the second scorer at work")
            await _freeze_until_replaced(up, load)
            await eventually(partial(_consumes, second), HEALED_S, what="the second scorer still at work")
            await _kill_second(second, load)
            await kill(up, "stream")
            await load.seen(Topic.PREDICTIONS, 200)
            await load.settled()
    evidence = await evidence_of(site)
    assert audit(evidence) == []
    print(lost_nothing(evidence))


async def _freeze_until_replaced(up: Running, load: Load) -> None:
    """Stop the first scorer where it stands until events sent since then are predicted in every partition; then let it go on."""
    pid = pid_of(up, "stream")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        sent = _newest(load.witness.answered | load.witness.unanswered)
        await eventually(partial(_passed, load.witness, sent), HEALED_S, what="the other scorer in every partition")
    finally:
        os.kill(pid, signal.SIGCONT)
    await load.seen(Topic.PREDICTIONS, 500)


async def _kill_second(second: Child, load: Load) -> None:
    pid = second.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await load.seen(Topic.PREDICTIONS, 200)


def _newest(places: set[tuple[int, int]]) -> dict[int, int]:
    """The largest offset seen in each partition."""
    newest: dict[int, int] = {}
    for part, offset in places:
        newest[part] = max(offset, newest.get(part, -1))
    return newest


def _passed(witness: Witness, offsets: dict[int, int]) -> bool:
    predicted = _newest(witness.answered)
    return all(predicted.get(part, -1) > offset for part, offset in offsets.items())


async def _consumes(child: Child) -> bool:
    async with httpx.AsyncClient(timeout=2.0) as client:
        try:
            text = (await client.get(f"{child.part.address}/metrics")).text
        except httpx.HTTPError:
            return False
    return any(float(count) > 0 for count in _CONSUMED.findall(text))


@asynccontextmanager
async def _second_scorer(site: Site) -> AsyncIterator[Child]:
    """A further `tiebreak stream` on the same project and data, kept running like the supervisor keeps the first."""
    port = free_port()
    options = ["--data", str(site.settings.data_dir), "--port", str(port)]
    if site.settings.kafka:
        options += ["--kafka", site.settings.kafka]
    part = Part(
        "stream-2",
        ("stream", str(site.project_file), *options),
        f"http://127.0.0.1:{port}",
        log_file=site.folder / "stream-2.log",
    )
    child = Child(part, SystemClock(), stop_timeout_s=20.0)
    stop = asyncio.Event()
    keeping = asyncio.create_task(child.keep(stop))
    try:
        yield child
    finally:
        stop.set()
        await asyncio.wait_for(keeping, 60)

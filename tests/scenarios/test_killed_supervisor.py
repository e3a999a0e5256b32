"""`kill -9` of `tiebreak up` itself under load: its processes end with it, the next one takes everything up again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from scripts.kafka import free_port
from tests.support.auditor import audit
from tests.support.eventually import eventually
from tests.support.whole_loop import HEALED_S, Site, evidence_of, load_on, lost_nothing, world_of
from tiebreak.contracts.topics import Topic

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

SEED = 20_262


@pytest.fixture
def up_site(site: Site) -> Site:
    """The people need the same address after the restart as before it."""
    return replace(site, settings=replace(site.settings, port=free_port()))


# The harder case of the two: the log is in a Redis that lives in the supervisor's care.
@pytest.mark.parametrize("site", ["redis-streams"], indirect=True)
async def test_a_supervisor_killed_under_load_loses_nothing_and_counts_nothing_twice(up_site: Site) -> None:
    """After `kill -9` of the supervisor and a new start on the same data, with people and events waiting, I1 to I8 hold."""
    site = up_site
    world = await asyncio.to_thread(world_of, 20_000, SEED)
    async with AsyncExitStack() as ups:
        first = await ups.enter_async_context(_up(site))
        async with load_on(site, f"http://127.0.0.1:{site.settings.port}", world, SEED) as load:
            await load.seen(Topic.MODELS, 1)
            stages = _stages_of(first.pid)
            first.kill()
            await asyncio.to_thread(first.wait, 30)
            await eventually(lambda: not any(stage.is_running() for stage in stages), HEALED_S, what="no orphans")
            await ups.enter_async_context(_up(site))
            await load.seen(Topic.ANNOTATIONS, 20)
            await load.settled()
    evidence = await evidence_of(site)
    assert audit(evidence) == []
    print(lost_nothing(evidence))


def _stages_of(pid: int) -> list[psutil.Process]:
    """The processes under the supervisor that are no Redis; a child that a model was checked in may be gone while we look."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "redis" not in process.name():
                found.append(process)
    return found


@asynccontextmanager
async def _up(site: Site) -> AsyncIterator[subprocess.Popen[bytes]]:
    """`tiebreak up` as a process of its own, once it says that everything is up; Ctrl-C at the end."""
    said = site.folder / "up.log"
    began = said.stat().st_size if said.exists() else 0
    process = _start(site, said)
    try:
        await eventually(
            lambda: b"Everything is up" in said.read_bytes()[began:] or process.poll() is not None, HEALED_S
        )
        assert process.poll() is None, said.read_text()
        yield process
        process.terminate()
        await asyncio.to_thread(process.wait, 60)
    finally:
        process.kill()


def _start(site: Site, said: Path) -> subprocess.Popen[bytes]:
    options = ["--data", str(site.settings.data_dir), "--port", str(site.settings.port)]
    if site.settings.kafka:
        options += ["--kafka", site.settings.kafka]
    command = [sys.executable, "-m", "tiebreak.apps.cli", "up", str(site.project_file), *options]
    with said.open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

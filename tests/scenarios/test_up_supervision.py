"""`tiebreak up` with real processes: a killed one comes back, a killed supervisor leaves nobody behind, Ctrl-C ends all in order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import redis.asyncio

from scripts.kafka import free_port
from tests.support.eventually import eventually
from tests.support.redis_fixture import missing
from tests.support.whole_loop import HEALED_S
from tiebreak.apps.children import Child
from tiebreak.apps.up import Running, running, until_ready
from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.redis_server import find_binary
from tiebreak.runtime.settings import Options, resolve

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

SMALL = "project: small\npartitions: 2\ninput: {tensors: [{name: x, shape: [2]}]}\nclasses: {names: [a, b]}\n"


@pytest.fixture(autouse=True)
def _needs_redis() -> None:
    try:
        find_binary()
    except ConfigError as error:
        missing(str(error))


@pytest.fixture
def project_file(tmp_path: Path) -> Path:
    path = tmp_path / "project.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
async def up(project_file: Path, tmp_path: Path) -> AsyncIterator[Running]:
    settings = resolve(Options(data=str(tmp_path / "data"), port=0), {})
    async with running(load_project(project_file), project_file, settings) as up:
        assert await until_ready(up, HEALED_S)
        yield up


async def _killed_and_back(child: Child) -> None:
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: child.pid not in {None, first}, HEALED_S)
    await asyncio.wait_for(child.until_ready(), HEALED_S)


async def test_a_child_killed_by_sigkill_is_started_again(up: Running) -> None:
    """After `kill -9` of each process in turn another takes its place, at the same address, ready; the others are left alone."""
    for name, child in up.children.items():
        others = {n: c.pid for n, c in up.children.items() if n != name}
        await _killed_and_back(child)
        assert {n: c.pid for n, c in up.children.items() if n != name} == others
    assert {name: child.deaths for name, child in up.children.items()} == {"stream": 1, "label": 1, "train": 1}
    assert not up.life.stopping.is_set()


async def test_a_killed_redis_is_started_again_with_what_it_had(up: Running) -> None:
    """After `kill -9` of the embedded Redis an acknowledged write is there again, and all processes become ready by themselves."""
    server = up.redis
    assert server is not None
    first = server.pid
    assert first is not None
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("kept", "yes")
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: server.pid not in {None, first} and server.ready(), HEALED_S)
        assert await client.get("kept") == b"yes"
    assert await until_ready(up, HEALED_S)
    assert {name: child.deaths for name, child in up.children.items()} == {"stream": 0, "label": 0, "train": 0}


def _start(project_file: Path, data: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tiebreak.apps.cli", "up", str(project_file), "--data", str(data), "--port", "0"]
    command += more
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


async def _announced(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(HEALED_S):
        while "Everything is up" not in (line := await asyncio.to_thread(process.stderr.readline)):
            assert line, "it ended before it was up"


def _family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # it has ended, and whoever inherited it has not looked yet
    except psutil.NoSuchProcess:
        return False


async def test_ctrl_c_ends_all_in_order_with_exit_code_0(project_file: Path, tmp_path: Path) -> None:
    """Every process has ended when the supervisor has, and nothing was cut off."""
    process = _start(project_file, tmp_path / "data")
    try:
        await _announced(process)
        family = _family(process)
        nurseries = [child for child in family if "tiebreak.runtime.sandbox_child" in child.cmdline()]
        process.send_signal(signal.SIGINT)
        _, rest = await asyncio.to_thread(process.communicate, timeout=HEALED_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert len(family) - len(nurseries) == 4  # three processes and Redis; models are checked in children of two of them
    assert [child for child in family if _runs(child)] == []
    assert "child_killed" not in rest
    assert "stop_deadline" not in rest


async def test_a_killed_supervisor_leaves_no_process_of_ours_and_can_start_again(
    project_file: Path, tmp_path: Path
) -> None:
    """After `kill -9` of the supervisor its processes end by themselves; the next one takes over the orphaned Redis."""
    first = _start(project_file, tmp_path / "data")
    try:
        await _announced(first)
        stages = [p for p in _family(first) if "redis" not in p.name()]
    finally:
        first.kill()
    await asyncio.to_thread(first.communicate, timeout=HEALED_S)
    await eventually(lambda: not any(stage.is_running() for stage in stages), HEALED_S)
    second = _start(project_file, tmp_path / "data")
    try:
        await _announced(second)
        second.send_signal(signal.SIGTERM)
        await asyncio.to_thread(second.communicate, timeout=HEALED_S)
    finally:
        second.kill()
    assert second.returncode == 0


def test_a_child_that_cannot_run_ends_all_with_its_exit_code(project_file: Path, tmp_path: Path) -> None:
    """A model file that is no model would be refused at each start: `up` ends with that code instead of trying for ever."""
    (tmp_path / "noise.onnx").write_bytes(b"not a model")
    project_file.write_text(SMALL + "model: {source: file, file: noise.onnx}\n")
    process = _start(project_file, tmp_path / "data")
    try:
        _, said = process.communicate(timeout=HEALED_S)
    finally:
        process.kill()
    assert process.returncode == 5
    assert [line for line in said.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in said


def test_a_server_that_is_not_there_is_one_clear_line_before_anything_starts(
    project_file: Path, tmp_path: Path
) -> None:
    """A wrong --redis: the supervisor asks first, so no child starts, waits and is started again."""
    process = _start(project_file, tmp_path / "data", "--redis", f"redis://127.0.0.1:{free_port()}")
    try:
        _, said = process.communicate(timeout=HEALED_S)
    finally:
        process.kill()
    assert process.returncode == 3
    assert "does not answer. Start it, or correct --redis." in said
    assert "child" not in said

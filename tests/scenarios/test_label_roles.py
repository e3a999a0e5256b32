"""`tiebreak label` in two halves: answers are taken while nobody settles, and settled once somebody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.kafka import free_port
from tests.support.eventually import eventually
from tests.support.labeling import a_task
from tiebreak.apps.admitting import admit
from tiebreak.apps.children import Child, Part
from tiebreak.apps.up import ensure_topics
from tiebreak.apps.wiring import open_log
from tiebreak.contracts.codec import PROTOBUF, decode_label, encode, headers_for
from tiebreak.contracts.log import Log, Message, Outputs
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.access import Role
from tiebreak.labeling.stage_reading import records_of
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, Settings, resolve

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

PROJECT = """
project: pets
input: {tensors: [{name: x, shape: [3]}]}
classes: {names: [cat, dog, bird]}
"""


async def test_an_answer_taken_while_nobody_settles_is_settled_later(redis_url: str, tmp_path: Path) -> None:
    """The settling half ends after it took a task in; the API gives the task out and takes the answer all the same (I1)."""
    file = tmp_path / "project.yaml"
    file.write_text(PROJECT)
    project, settings = load_project(file), resolve(Options(redis=redis_url, data=str(tmp_path)), {})
    await ensure_topics(project, settings)
    async with open_log(settings) as log, _half("api", file, settings) as api:
        async with httpx.AsyncClient(base_url=api) as probe:
            checks = (await probe.get("/health/ready")).json()["checks"]
        # Nobody settles and nothing is built: people are known to nobody, and nobody is served.
        assert (checks["people"], checks["clock"]) == ("ok", "ok")
        token, _ = await admit(project, settings, "ann", Role.ANNOTATOR, 1.0, SystemClock())
        async with httpx.AsyncClient(base_url=api, headers={"authorization": f"Bearer {token}"}) as ann:
            async with _half("settle", file, settings):
                await _publish_task(log)
                claimed = await _claimed(ann)
            answer = await ann.post(
                f"/v1/tasks/{claimed['task_id']}/annotations",
                json={"lease_token": claimed["lease"]["token"], "value": "dog"},
                headers={"idempotency-key": "one"},
            )
            assert (answer.status_code, await _labels(log)) == (201, [])
        async with _half("settle", file, settings):
            await eventually(lambda: _settled(log), 120.0, what="the label of the answer")
        assert await _labels(log) == [(claimed["task_id"], "dog", 1)]


async def _publish_task(log: Log) -> None:
    task = replace(a_task(1), created_ms=round(SystemClock().wall() * 1000))
    writer = log.writer()
    await writer.start()
    message = Message(Topic.TASKS.of("pets"), task.task_id.encode(), encode(task), headers_for(PROTOBUF))
    await writer.publish(Outputs(messages=[message]))
    await writer.close(5.0)


async def _claimed(ann: httpx.AsyncClient) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        answer = await ann.post("/v1/projects/pets/tasks:claim", json={})
        found.extend(answer.json().get("tasks", []))
        return bool(found)

    await eventually(there, 120.0, what="the task on the queue")
    return found[0]


async def _labels(log: Log) -> list[tuple[str, str, int]]:
    labels = [decode_label(record.value) async for record in records_of(log, Topic.LABELS.of("pets"))]
    return [(label.task_id, label.value, label.revision) for label in labels]


async def _settled(log: Log) -> bool:
    return bool(await _labels(log))


@asynccontextmanager
async def _half(role: str, file: Path, settings: Settings) -> AsyncIterator[str]:
    """The address of one half, which is ready; it has stopped on leaving."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    own = ("--redis", settings.redis, "--data", str(settings.data_dir), "--port", str(port))
    part = Part(role, ("label", str(file), "--role", role, *own), address, log_file=settings.data_dir / f"{role}.log")
    child, stop = Child(part, SystemClock(), stop_timeout_s=20.0), asyncio.Event()
    keeping = asyncio.create_task(child.keep(stop))
    try:
        await asyncio.wait_for(child.until_ready(), 120.0)
        yield address
    finally:
        stop.set()
        await asyncio.wait_for(keeping, 60.0)

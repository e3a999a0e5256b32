"""A machine whose clock Kafka does not believe: its API says so where traffic is steered, and is well again by itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.labeling import a_task
from tests.support.processes import process
from tiebreak.apps.admitting import admit
from tiebreak.apps.up import ensure_topics
from tiebreak.apps.wiring import open_log
from tiebreak.contracts.codec import decode_annotation, encode
from tiebreak.contracts.log import Log, Message, Outputs
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.access import Role
from tiebreak.labeling.stage_reading import records_of
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, resolve

pytestmark = [pytest.mark.scenario, pytest.mark.redis, pytest.mark.kafka]

# Read by every Python that starts with it on its path: its clock is ahead by what a file says.
SHIM = """
import os, time
real, ahead = time.time, os.environ["CLOCK_AHEAD"]
time.time = lambda: real() + float(open(ahead).read())
"""


async def test_an_api_whose_clock_kafka_refuses_is_not_ready_until_it_is_set(
    kafka_address: str, redis_url: str, project_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours ahead: a 503 for the answer, and `/health/ready` says what to do. The clock is set: ready, though nobody asks for

    anything; the answer, sent again with its key, is on the log as one.
    """
    ahead, file = tmp_path / "ahead", tmp_path / "project.yaml"
    ahead.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(SHIM)
    file.write_text(
        f"project: {project_name}\ninput: {{tensors: [{{name: x, shape: [3]}}]}}\nclasses: {{names: [cat, dog, bird]}}\n"
    )
    project, settings = load_project(file), resolve(Options(kafka_address, redis_url, str(tmp_path)), {})
    await ensure_topics(project, settings)
    monkeypatch.setenv("CLOCK_AHEAD", str(ahead))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("AIOKAFKA_NO_EXTENSIONS", "1")  # the compiled part asks the system and not Python
    async with open_log(settings) as log, process("label", file, settings) as label:
        await asked(log, project_name)
        token, _ = await admit(project, settings, "ann", Role.ANNOTATOR, 30.0, SystemClock())
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=label.part.address, headers=headers, timeout=30.0) as ann:
            task = await eventually(lambda: claimed(ann, project_name), 120.0)
            assert task is not None
            assert (await ready(ann)) == (200, "ok")
            ahead.write_text("7200")
            assert await answered(ann, task) == 503
            code, clock = await ready(ann)
            assert code == 503
            assert "this machine's clock and the broker's are further apart" in clock
            assert "Set the clock that is wrong." in clock
            assert (await ready(ann))[0] == 503
            ahead.write_text("0")
            await eventually(lambda: is_ready(ann), 30.0)
            assert await answered(ann, task) == 201
        said = [decode_annotation(r.value) async for r in records_of(log, Topic.ANNOTATIONS.of(project_name))]
        assert {(a.annotator, a.value, a.revision) for a in said} == {("ann", "dog", 1)}


async def asked(log: Log, project: str) -> None:
    task = replace(a_task(1, project), created_ms=round(SystemClock().wall() * 1000))
    writer = log.writer()
    await writer.start()
    await writer.publish(Outputs([Message(Topic.TASKS.of(project), task.task_id.encode(), encode(task))]))
    await writer.close(5.0)


async def claimed(ann: httpx.AsyncClient, project: str) -> Mapping[str, object] | None:
    tasks = (await ann.post(f"/v1/projects/{project}/tasks:claim", json={})).json().get("tasks", [])
    return tasks[0] if tasks else None


async def answered(ann: httpx.AsyncClient, task: Mapping[str, object]) -> int:
    lease = task["lease"]
    assert isinstance(lease, dict)
    body = {"lease_token": lease["token"], "value": "dog"}
    path = f"/v1/tasks/{task['task_id']}/annotations"
    return (await ann.post(path, json=body, headers={"idempotency-key": "one"})).status_code


async def ready(client: httpx.AsyncClient) -> tuple[int, str]:
    answer = await client.get("/health/ready")
    return answer.status_code, answer.json()["checks"]["clock"]


async def is_ready(client: httpx.AsyncClient) -> bool:
    return await ready(client) == (200, "ok")

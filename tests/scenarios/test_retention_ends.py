"""What is older than the project file says ends by itself: the processes that run order it, and each does it to what it keeps."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.labeling import a_task
from tests.support.labels import make_label
from tests.support.processes import process
from tiebreak.apps.up import ensure_topics
from tiebreak.apps.wiring import open_log, open_redis
from tiebreak.contracts.codec import decode_label, encode
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.redis import RedisQueue
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, resolve
from tiebreak.training.sqlite import Ledger

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

PROJECT = """
input: {tensors: [{name: x, shape: [3]}]}
classes: {names: [cat, dog, bird]}
labeling: {task_ttl_s: 31536000}
privacy: {retention: {tasks_days: 8, annotations_days: 8, labels_days: 16}}
"""
DAY_MS = 86_400_000
NOW_MS = round(time.time() * 1000)
WORD = "a-very-telling-word"


@pytest.mark.parametrize("log_on", ["redis", pytest.param("kafka", marks=pytest.mark.kafka)])
async def test_what_is_too_old_leaves_queue_and_ledger_of_running_processes(
    log_on: str, request: pytest.FixtureRequest, redis_url: str, project_name: str, tmp_path: Path
) -> None:
    """Tasks of 10 days leave a queue that keeps 8, labels of 20 a ledger that keeps 16, after Redis was lost too; the rest stays."""
    kafka = request.getfixturevalue("kafka_address") if log_on == "kafka" else ""
    file = tmp_path / "project.yaml"
    file.write_text(f"project: {project_name}\n{PROJECT}")
    project, settings = load_project(file), resolve(Options(kafka, redis_url, str(tmp_path)), {})
    await ensure_topics(project, settings)
    tasks = [a_task(i, project_name, created_ms=NOW_MS - days * DAY_MS) for i, days in enumerate((10, 10, 7, 1))]
    labels = [
        replace(
            make_label(f"e{i}", "cat", [i, 0, 1], project=project_name, settled_ms=NOW_MS - days * DAY_MS),
            predicted=WORD,
        )
        for i, days in enumerate((20, 15, 20))
    ]
    async with open_log(settings) as log, open_redis(settings) as client:
        queue = RedisQueue(client, project)
        asked, settled = Topic.TASKS.of(project_name), Topic.LABELS.of(project_name)
        said = [Message(asked, t.task_id.encode(), encode(t)) for t in tasks]
        said += [Message(settled, x.task_id.encode(), encode(x)) for x in labels]
        writer = log.writer()
        await writer.start()
        await writer.publish(Outputs(said))
        await writer.close(5.0)

        async def open_now() -> int:
            return (await queue.stats()).open_tasks

        async def only_new() -> bool:
            return await open_now() == 2 and await queue.look(tasks[0].task_id) is None

        async with process("label", file, settings, "--role", "settle"), process("train", file, settings):
            await eventually(only_new, 120.0, what="the old tasks to leave", retry_on=(SlowDown,))
            await eventually(lambda: _told(tmp_path, project_name) == (3, ["e1"]), 120.0, what="old labels to go")
            keys = [key async for key in client.scan_iter(match=f"tb:{{{project_name}}}:*", count=1000)]
            await client.delete(
                *[key for key in keys if b":log:" not in key and b":topic:" not in key and b":group:" not in key]
            )
            await eventually(only_new, 120.0, what="the queue again, without them", retry_on=(SlowDown,))
            assert (await queue.look(tasks[2].task_id), await queue.look(tasks[3].task_id)) == (tasks[2], tasks[3])


def _told(data: Path, project: str) -> tuple[int, list[str]]:
    """How many labels the ledger has, and the events of those of which it knows what was said."""
    with closing(Ledger(data / "ledger" / f"{project}.sqlite")) as ledger:
        found = [decode_label(entry.wire) for entry in ledger.labels()]
    return len(found), [label.event_id for label in found if label.predicted == WORD]

"""An erasure is on the audit trail and its command is gone: the processes that run do the rest, each for what it keeps."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.labeling import a_task
from tests.support.processes import process
from tiebreak.apps.up import ensure_topics
from tiebreak.apps.wiring import open_log, open_redis
from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import encode
from tiebreak.contracts.erasure import subject_digest
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.redis import RedisQueue
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, resolve
from tiebreak.training.sqlite import Ledger

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

PROJECT = """
project: pets
input: {tensors: [{name: x, shape: [3]}]}
classes: {names: [cat, dog, bird]}
labeling: {task_ttl_s: 31536000}
"""
ANN17 = subject_digest("pets", "ann-17")


async def test_running_processes_finish_what_a_dead_command_began(redis_url: str, tmp_path: Path) -> None:
    """`tiebreak label` takes the person's tasks off the queue, `tiebreak train` knows whom to leave out; others' tasks stay."""
    file = tmp_path / "project.yaml"
    file.write_text(PROJECT)
    project, settings = load_project(file), resolve(Options(redis=redis_url, data=str(tmp_path)), {})
    await ensure_topics(project, settings)
    async with open_log(settings) as log, open_redis(settings) as redis:
        queue, topic = RedisQueue(redis, project), Topic.TASKS.of("pets")
        tasks = [a_task(1, subject="ann-17"), a_task(2), a_task(3, subject="ann-17")]
        await log.writer().publish(Outputs([Message(topic, t.task_id.encode(), encode(t)) for t in tasks]))

        async def are_open(count: int) -> bool:
            return (await queue.stats()).open_tasks == count

        async with (
            process("label", file, settings, "--role", "settle") as label,
            process("train", file, settings) as train,
            httpx.AsyncClient() as client,
        ):
            await eventually(lambda: are_open(3), 120.0, what="three open tasks", retry_on=(SlowDown,))
            await AuditTrail(log, "pets", SystemClock()).append("eve", Action.SUBJECT_ERASED, ANN17, "on request")
            await eventually(lambda: are_open(1), 120.0, what="the erased person's tasks to leave")
            await eventually(lambda: _struck(tmp_path), 120.0, what="the ledger to know of the erasure")
            # Garbage stops none of that, and whoever is on call hears of it.
            await log.writer().publish(Outputs([Message(Topic.AUDIT.of("pets"), b"k", b"\xff", (), 0)]))
            for child in (label, train):
                await eventually(partial(_counts_a_fault, client, child.part.address))


async def _counts_a_fault(client: httpx.AsyncClient, address: str) -> bool:
    told = (await client.get(f"{address}/metrics")).text
    return 'tiebreak_runtime_audit_faults{kind="put_in",project="pets"} 1.0' in told


def _struck(data: Path) -> bool:
    with closing(Ledger(data / "ledger" / "pets.sqlite")) as ledger:
        return ANN17 in ledger.struck().subjects

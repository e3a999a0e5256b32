"""Who settles learns a past that takes longer than Kafka waits for a poll: nobody is put out of the group, and all is decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from tests.support.eventually import eventually
from tests.support.labeling import CALM, a_project, a_task, annotation
from tiebreak.contracts.codec import decode_label, encode
from tiebreak.contracts.log import Log, Outputs
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.events.kafka import KafkaLog
from tiebreak.events.kafka_client import KafkaOptions
from tiebreak.events.stage import ConsumeLoop, LoopSettings
from tiebreak.labeling.port import Receipt
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.stage import Settler, annotation_message
from tiebreak.labeling.stage_crowd import Panel
from tiebreak.labeling.stage_reading import records_of
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics

pytestmark = [pytest.mark.scenario, pytest.mark.redis, pytest.mark.kafka]

PAST, NEW = 30_000, 3
EAGER = KafkaOptions(max_poll_interval_s=2.0, session_timeout_s=6.0, rebalance_timeout_s=6.0)


def said(task: Task, person: str) -> Annotation:
    receipt = Receipt(1, AnnotationState.SUBMITTED, 7, task.created_ms + 1, task.created_ms + 2, True, False)
    return annotation(task, person, receipt)


async def publish(log: Log, answers: Sequence[Annotation]) -> None:
    writer = log.writer()
    await writer.start()
    for start in range(0, len(answers), 1000):
        await writer.publish(Outputs(messages=[annotation_message(a) for a in answers[start : start + 1000]]))
    await writer.close(5.0)


async def behind(log: Log, project: Project, tasks: Sequence[Task]) -> None:
    """The past is settled and committed; what people say of ``tasks`` is not."""
    past = [a_task(number, project.project) for number in range(100, 100 + PAST // 3)]
    answers = [said(task, f"p{(number + i) % 20}") for number, task in enumerate(past) for i in range(3)]
    await publish(log, answers)
    reader = log.reader([Topic.ANNOTATIONS.of(project.project)], f"tiebreak.{project.project}.settling")
    await reader.start()
    await eventually(lambda: bool(reader.assignment()), what="the partitions")
    await reader.commit(await reader.end_positions())
    await reader.close(5.0)
    await publish(log, [said(task, f"p{i}") for task in tasks for i in range(3)])


@asynccontextmanager
async def settling(
    log: Log, project: Project, queue: RedisQueue, metrics: Metrics
) -> AsyncIterator[asyncio.Task[None]]:
    settler = Settler(project, queue, metrics, panel=Panel(project, queue, log, patience_s=0.5))
    # What is new fills its batch: where there is room for more, polling goes on by itself.
    settings = LoopSettings(stage="settling", project=project.project, poll_s=0.1, max_records=3)
    reader = log.reader([Topic.ANNOTATIONS.of(project.project)], f"tiebreak.{project.project}.settling")
    stop = asyncio.Event()
    task = asyncio.create_task(ConsumeLoop(reader, log.writer(), settler, settings, metrics, SystemClock()).run(stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait({task})


async def test_who_learns_for_longer_than_kafka_waits_stays_in_the_group_and_so_does_who_comes_after_it(
    kafka_address: str, redis_client: Redis, project_name: str
) -> None:
    """A settler that ends while it reads has decided nothing; the next holds its batch, polls meanwhile, and decides all there is."""
    project = a_project(project_name)
    labeling = project.labeling.model_copy(update={"consensus": "dawid_skene"})
    project = project.model_copy(update={"labeling": labeling})
    queue, log = RedisQueue(redis_client, project, CALM), KafkaLog(kafka_address, options=EAGER)
    await log.ensure_topics(specs_for(project.project, 1))
    tasks = [a_task(number, project.project) for number in range(NEW)]
    builder = await queue.begin_build()
    assert builder is not None
    await builder.add(tasks)
    await builder.end_build([])
    await behind(log, project, tasks)

    expected = sorted(task.task_id for task in tasks)

    async def labels() -> list[Label]:
        return [decode_label(r.value) async for r in records_of(log, Topic.LABELS.of(project.project))]

    async def decided() -> bool:
        return len({label.task_id for label in await labels()}) >= NEW

    first, second = Metrics(project.project), Metrics(project.project)
    async with settling(log, project, queue, first) as task:
        await eventually(lambda: value(first, project, "paused") == 1.0, what="a held batch")
        task.cancel()
    assert await labels() == []
    async with settling(log, project, queue, second):
        await eventually(lambda: value(second, project, "paused") == 1.0, what="a held batch")
        await eventually(decided, what="the labels")
        seen = {name: value(second, project, name) for name in ("paused", "rebalances_total", "rewinds_total")}
    made = await labels()
    assert sorted({label.task_id for label in made}) == expected
    # One that is not committed yet when a further answer comes is sent again: the same revision, to the byte.
    assert len({(label.task_id, label.revision) for label in made}) == len({encode(label) for label in made})
    assert seen == {"paused": 0.0, "rebalances_total": 0.0, "rewinds_total": 0.0}
    await log.close()


def value(metrics: Metrics, project: Project, name: str) -> float:
    place = {"project": project.project, "stage": "settling"}
    return metrics.registry.get_sample_value(f"tiebreak_events_{name}", place) or 0.0

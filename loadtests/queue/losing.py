"""Redis loses a queue whose topics are long: tasks, an answer and a label for most of them."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from subprocess import Popen

from redis.asyncio import Redis

from loadtests.queue.http import process, processor_s, ready
from loadtests.queue.tasks import built, make_topics, project_of, task_of, write
from loadtests.speed.ground import Ground
from scripts.kafka import free_port
from tiebreak.contracts.codec import PROTOBUF, encode, headers_for
from tiebreak.contracts.ids import annotation_id, label_id
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, LabelMethod, Task, Vote
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.events.kafka import KafkaLog
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.stage import annotation_message

_AT_ONCE = 1_000
_PEOPLE = 50
_CLOSE_S = 10.0
_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How long it took, what of a processor the process that built it had, and how many tasks wait again of those that should.

    ``start_s``: how long an API that starts then takes until it knows what people answered, and is ready.
    """

    took_s: float
    spent_s: float
    waiting: int
    found: int
    start_s: float


async def rebuild(where: Ground, client: Redis, settled: int) -> Rebuilt:
    """With so many settled tasks, and a twentieth of them waiting."""
    project, waiting = project_of("rebuild"), settled // 20
    settling, api = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    await make_topics(where.kafka, project)
    await _fill(where.kafka, project, settled, waiting)
    command = ["-m", "tiebreak.apps.cli", "label", str(write(project, where.folder)), "--kafka", where.kafka]
    command += ["--redis", where.redis, "--data", str(where.folder)]

    def half(role: str, address: str) -> AbstractContextManager[Popen[bytes]]:
        own = ["--role", role, "--port", address.rpartition(":")[2]]
        return process([*command, *own], where.folder / f"rebuild-{role}.log", beside=False)

    queue = RedisQueue(client, project)
    with half("settle", settling) as settler:
        await ready(settling, "/health/ready", settler)
        await built(queue, _WITHIN_S)
        await client.flushall()
        began, before = time.monotonic(), processor_s(settler)
        await built(queue, _WITHIN_S)
        took_s, spent_s = time.monotonic() - began, processor_s(settler) - before
        began = time.monotonic()
        with half("api", api) as server:
            await ready(api, "/health/ready", server)
            start_s = time.monotonic() - began
    return Rebuilt(took_s, spent_s, waiting, (await queue.stats()).open_tasks, start_s)


async def _fill(kafka: str, project: Project, settled: int, waiting: int) -> None:
    """Put ``settled`` tasks of one vote each, and after them ``waiting`` that nobody has seen, on the project's topics."""
    log, now_ms = KafkaLog(kafka), round(time.time() * 1000) - 1_000_000
    writer = log.writer()
    await writer.start()
    try:
        for start in range(0, settled + waiting, _AT_ONCE):
            messages: list[Message] = []
            for number in range(start, min(start + _AT_ONCE, settled + waiting)):
                task = task_of(project.project, number, now_ms)
                messages.append(_message(Topic.TASKS, task, task.task_id))
                if number < settled:
                    answer = _answer(task, f"person-{number % _PEOPLE}")
                    messages += [annotation_message(answer), _message(Topic.LABELS, _label(task, answer), task.task_id)]
            await writer.publish(Outputs(messages=messages))
    finally:
        await writer.close(_CLOSE_S)
        await log.close()


def _message(topic: Topic, what: Task | Label, key: str) -> Message:
    return Message(topic.of(what.project), key.encode(), encode(what), headers_for(PROTOBUF))


def _answer(task: Task, annotator: str) -> Annotation:
    return Annotation(
        annotation_id=annotation_id(task.task_id, annotator),
        task_id=task.task_id,
        project=task.project,
        annotator=annotator,
        revision=1,
        state=AnnotationState.SUBMITTED,
        value=task.predicted,
        lease_token=1,
        lead_time_s=1.5,
        claimed_ms=task.created_ms + 1_000,
        submitted_ms=task.created_ms + 2_500,
        schema_version=1,
        comment="",
        flagged=False,
        idempotency_key=task.event_id,
        reviewer=False,
    )


def _label(task: Task, answer: Annotation) -> Label:
    return Label(
        label_id=label_id(task.task_id),
        task_id=task.task_id,
        event_id=task.event_id,
        project=task.project,
        revision=1,
        value=answer.value,
        distribution={answer.value: 1.0},
        confidence=1.0,
        method=LabelMethod.CONSENSUS,
        votes=(Vote(answer.annotation_id, answer.annotator, answer.value, 1, 1.0),),
        features=task.features,
        selection=task.selection,
        predicted=task.predicted,
        event_time_ms=task.event_time_ms,
        settled_ms=task.created_ms + 3_000,
        schema_version=1,
    )

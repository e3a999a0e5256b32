"""A project with small questions, as many of its tasks as wanted, and people with tokens."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

import redis.asyncio
import yaml

from tests.support.eventually import eventually
from tiebreak.contracts.ids import task_id
from tiebreak.contracts.messages import Payload, PayloadKind, Reason, Selection, Task
from tiebreak.contracts.project import Classes, Input, Labeling, Project, TensorSpec
from tiebreak.contracts.topics import specs_for
from tiebreak.events.kafka import KafkaLog
from tiebreak.labeling.access import Role
from tiebreak.labeling.port import QueueSettings
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.redis_tokens import RedisTokens
from tiebreak.labeling.tokens import RANDOM_BYTES, mint

_LANES = ("triage", "normal", "backfill")
CLASSES = ("cat", "dog", "bird", "fish")
CALM = QueueSettings(lease_ms=600_000, undo_ms=60_000, task_ttl_ms=7 * 86_400_000)
_BATCH = 2_000
_AT_ONCE = 64
_BUILD_S = 60.0
_TEXT = b"Which animal does this sentence of two hundred characters or so speak of? " * 3


def project_of(name: str, votes: int = 1) -> Project:
    """Four classes, one text of about 200 characters per task."""
    return Project(
        project=name,
        input=Input(tensors=(TensorSpec(name="x", shape=(16,)),)),
        classes=Classes(names=CLASSES),
        labeling=Labeling(votes=votes, max_votes=max(votes, 5)),
    )


def write(project: Project, folder: Path) -> Path:
    """The project file of ``project``, for a process of its own."""
    path = folder / f"{project.project}.yaml"
    body = {
        "project": project.project,
        "input": {"tensors": [{"name": "x", "shape": [16]}]},
        "classes": {"names": list(CLASSES)},
        # A person who answers as fast as a machine is what is measured here.
        "access": {"requests_per_s": 1e6, "request_burst": 1e6},
    }
    path.write_text(yaml.safe_dump(body), encoding="utf-8")
    return path


def task_of(project: str, number: int, now_ms: int, *, mixed: bool = False) -> Task:
    """Task ``number``, later than the one before; ``mixed``: of the three lanes in turn, each second one with a deadline of its own."""
    event = f"event-{number:08d}"
    return Task(
        task_id=task_id(project, event),
        project=project,
        event_id=event,
        payload=Payload(PayloadKind.TEXT, "text/plain", _TEXT),
        features=tuple(float(number % (place + 2)) for place in range(16)),
        predicted="cat",
        probabilities=(0.3, 0.3, 0.2, 0.2),
        classes=CLASSES,
        selection=Selection("margin", 0.25, 0.125, 0.5, Reason.UNCERTAIN, False, "v1", "digest"),
        priority=(number * 7919 % 1000) / 1000,
        lane=_LANES[number % 3] if mixed else "normal",
        votes_wanted=0,
        created_ms=now_ms + number,
        event_time_ms=now_ms + number,
        schema_version=1,
        deadline_ms=now_ms + 90_000_000 + number * 97 if mixed and number % 2 else 0,
    )


async def make_topics(kafka: str, project: Project) -> None:
    """The topics of ``project``."""
    log = KafkaLog(kafka)
    try:
        await log.ensure_topics(specs_for(project.project, project.partitions))
    finally:
        await log.close()


async def built(queue: RedisQueue, within_s: float = _BUILD_S) -> None:
    """Return once somebody has built the queue's index. Raises AssertionError where nobody does in time."""
    await eventually(queue.is_built, within_s, what="the queue's index")


async def fill(queue: RedisQueue, project: str, numbers: range, *, mixed: bool = False) -> None:
    """Put tasks number ``numbers`` on the queue, whose index is built if need be."""
    builder = await queue.begin_build()
    if builder is not None:
        await builder.end_build([])
    now_ms = round(time.time() * 1000) - 1_000_000
    for start in range(numbers.start, numbers.stop, _BATCH):
        end = min(start + _BATCH, numbers.stop)
        some = [task_of(project, number, now_ms, mixed=mixed) for number in range(start, end)]
        # At once, so that they share an fsync.
        await asyncio.gather(*(queue.add(some[i : i + _AT_ONCE]) for i in range(0, len(some), _AT_ONCE)))


async def tokens(client: redis.asyncio.Redis, project: str, people: int) -> list[str]:
    """One bearer token for each of ``people`` annotators."""
    store, found = RedisTokens(client, project), []

    async def built() -> bool:
        return await store.unbuilt() is None

    # What is put before the trail was read for the first time, and is not on it, is dropped then.
    await eventually(built, _BUILD_S, what="the index of tokens")
    for number in range(people):
        text, record = mint(
            secrets.token_bytes(RANDOM_BYTES), f"person-{number}", Role.ANNOTATOR, round(time.time() * 1000), 86_400_000
        )
        await store.put(record)
        found.append(text)
    return found

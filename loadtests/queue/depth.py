"""The queue without its API: what a claim costs as the queue grows, what a waiting task weighs, and who gets what in a crowd."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import redis.asyncio

from loadtests.queue.tasks import CALM, fill, project_of, task_of
from tiebreak.contracts.codec import encode
from tiebreak.contracts.ids import annotation_id
from tiebreak.contracts.messages import Annotation
from tiebreak.contracts.project import Project
from tiebreak.labeling.port import Act, Answer, Lease
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.stage import Settler
from tiebreak.runtime.metrics import Metrics

_PEOPLE = 50


@dataclass(frozen=True, slots=True)
class Crowd:
    """``claims``: leases given to people; ``beyond``: those that a task got above the votes it wanted."""

    claims: int
    beyond: int
    labels: int
    seconds: float


async def used(client: redis.asyncio.Redis) -> int:
    """Bytes that Redis has allocated."""
    return int((await client.info("memory"))["used_memory"])


async def weight(client: redis.asyncio.Redis, queue: RedisQueue, project: str, numbers: range) -> float:
    """Fill the queue with tasks of all lanes; the bytes per task that Redis needs beyond the encoded task itself."""
    before = await used(client)
    await fill(queue, project, numbers, mixed=True)
    after, now_ms = await used(client), round(time.time() * 1000)
    some = [task_of(project, number, now_ms, mixed=True) for number in numbers[:1000]]
    size = sum(len(encode(task)) for task in some) / len(some)
    return (after - before) / len(numbers) - size


async def claims(queues: Sequence[RedisQueue], rounds: int) -> list[list[float]]:
    """Seconds of each claim per queue. The queues take turns, so that a moment's noise falls on all of them alike."""
    found: list[list[float]] = [[] for _ in queues]
    for number in range(rounds):
        person = f"person-{number % _PEOPLE}"
        for queue, seconds in zip(queues, found, strict=True):
            began = time.perf_counter()
            (lease,) = (await queue.claim(person, 1)).leases
            seconds.append(time.perf_counter() - began)
            await queue.release(person, lease.task.task_id, lease.token)
    return found


async def crowd(client: redis.asyncio.Redis, people: int, tasks: int, votes: int) -> Crowd:
    """``people`` claim and answer at once until nothing is left; a settler beside them folds their answers."""
    project = project_of("crowd", votes)
    queue = RedisQueue(client, project, CALM)
    await fill(queue, project.project, range(tasks))
    given: Counter[str] = Counter()
    answers: asyncio.Queue[Annotation | None] = asyncio.Queue()
    keys, began = count(), time.perf_counter()

    async def one(person: str) -> None:
        while leases := (await queue.claim(person, 1)).leases:
            for lease in leases:
                given[lease.task.task_id] += 1
                await answers.put(await _answer(queue, project, lease, person, f"key-{next(keys)}"))

    settling = asyncio.create_task(_settle(Settler(project, queue, Metrics(project.project)), answers))
    # A task with one vote of two is on offer again only when its first answer is folded: people come back for it.
    while True:
        before = sum(given.values())
        await asyncio.gather(*(one(f"person-{number}") for number in range(people)))
        await answers.join()
        if sum(given.values()) == before:
            break
    await answers.put(None)
    labels = await settling
    beyond = sum(max(0, got - votes) for got in given.values())
    return Crowd(sum(given.values()), beyond, labels, time.perf_counter() - began)


async def _answer(queue: RedisQueue, project: Project, lease: Lease, person: str, key: str) -> Annotation:
    task = lease.task.task_id
    receipt = await queue.prepare(Answer(Act.VOTE, task, person, key, "body", lease.token))
    made = Annotation(
        annotation_id=annotation_id(task, person),
        task_id=task,
        project=project.project,
        annotator=person,
        revision=receipt.revision,
        state=receipt.state,
        value="cat",
        lease_token=receipt.token,
        lead_time_s=0.0,
        claimed_ms=receipt.claimed_ms,
        submitted_ms=receipt.accepted_ms,
        schema_version=1,
    )
    await queue.confirm(made, counted=receipt.counted)
    return made


async def _settle(settler: Settler, answers: asyncio.Queue[Annotation | None]) -> int:
    labels = 0
    while True:
        batch = [await answers.get()]
        while not answers.empty() and len(batch) < 500:
            batch.append(answers.get_nowait())
        labels += len((await settler.fold([a for a in batch if a is not None])).labels)
        for _ in batch:
            answers.task_done()
        if None in batch:
            return labels

"""People who hang up: whoever stays gets their own answer, never somebody else's."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import BlockingConnectionPool, Redis

from tests.support.delaying import delayed
from tests.support.labeling import CALM, Bench, a_project, a_task, request
from tiebreak.contracts.project import Project
from tiebreak.labeling.port import Claimed, Lease, Receipt
from tiebreak.labeling.redis import RedisQueue

# A storm worth its name is `make storm`: 100,000, some minutes.
REQUESTS = int(os.environ.get("TIEBREAK_STORM", "3000"))
PEOPLE = 100
LATE_S = 0.01
# A storm may last for minutes, and what each person answers is on its way to the log all the while.
ENDLESS = replace(CALM, lease_ms=3_600_000, pending_ms=3_600_000)

# What each person is answering, and what else they hold.
Held = dict[str, tuple[Lease, Lease]]


@pytest.mark.redis
async def test_a_storm_of_cancelled_requests_mixes_no_answers(redis_url: str) -> None:
    """Claims and answers over a slow line, half of them cancelled at any moment: each answer is about its asker's own task."""
    rng, project = random.Random(7), a_project("storm")
    socket = Path(urlsplit(redis_url).path)
    # A short name: a unix socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tb-slow-") as folder:
        answered = await _storm(socket, Path(folder) / "slow.sock", project, rng)
    assert answered > REQUESTS // 4


async def _storm(socket: Path, slow: Path, project: Project, rng: random.Random) -> int:
    answered = 0
    async with delayed(socket, slow, LATE_S) as address:
        pool = BlockingConnectionPool.from_url(address, max_connections=16, timeout=30.0)
        async with Redis(connection_pool=pool) as client:
            bench = Bench(project, client=client)
            await bench.forget()
            await bench.start()
            queue = RedisQueue(client, project, ENDLESS)
            await queue.add([a_task(number, project.project) for number in range(2 * PEOPLE)])
            held: Held = {}
            for person in (f"p{n}" for n in range(PEOPLE)):
                first, second = (await queue.claim(person, 2)).leases
                await queue.prepare(request(first, person, key="once"))
                held[person] = first, second
            for _ in range(REQUESTS // (5 * PEOPLE)):
                answered += await _gust(queue, held, rng)
        await pool.aclose()
    return answered


async def _gust(queue: RedisQueue, held: Held, rng: random.Random) -> int:
    """Five requests of each person at once, each second one cancelled within twice the delay; how many were answered."""
    loop = asyncio.get_running_loop()
    asked = [
        (person, asyncio.create_task(_one(queue, person, answering, claims=bool(turn % 2))))
        for turn in range(5)
        for person, (answering, _) in held.items()
    ]
    for _, task in asked:
        if rng.random() < 0.5:
            loop.call_later(rng.random() * 2 * LATE_S, task.cancel)
    answers = await asyncio.gather(*(task for _, task in asked), return_exceptions=True)
    answered = 0
    for (person, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, asyncio.CancelledError):
            continue
        answering, other = held[person]
        if isinstance(answer, Claimed):
            assert [(x.task.task_id, x.token) for x in answer.leases] == [(other.task.task_id, other.token)]
        else:
            assert isinstance(answer, Receipt), answer
            assert (answer.token, answer.claimed_ms) == (answering.token, answering.claimed_ms)
        answered += 1
    return answered


async def _one(queue: RedisQueue, person: str, lease: Lease, *, claims: bool) -> Claimed | Receipt:
    if claims:
        return await queue.claim(person, 1)
    # The same key each time: the same promise, however often it was asked for and given up.
    return await queue.prepare(request(lease, person, key="once"))

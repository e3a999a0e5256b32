"""What people ask of Redis at one moment is one run of a script: an error of one of them is nobody else's."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from tests.support.labeling import CALM, a_project, a_task
from tiebreak.labeling.port import Claimed
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.redis_wire import prefix_of
from tiebreak.runtime.redis_server import RedisServer

pytestmark = pytest.mark.redis


async def test_a_call_that_fails_leaves_those_asked_with_it_alone(redis_client: redis.asyncio.Redis) -> None:
    """A key of the wrong kind stops one person's claim; the others of the same run get tasks, each their own."""
    project = a_project("together")
    queue = RedisQueue(redis_client, project, CALM)
    builder = await queue.begin_build()
    if builder is not None:
        await builder.end_build([])
    await queue.add([a_task(number, project.project) for number in range(3)])
    await redis_client.set(f"{prefix_of(project.project)}held:bob", "no sorted set")
    people = ("ann", "bob", "cem", "dan")
    claims = await asyncio.gather(*(queue.claim(name, 1) for name in people), return_exceptions=True)
    assert isinstance(claims[1], ResponseError)
    assert "WRONGTYPE" in str(claims[1])
    held = [claimed.leases[0] for claimed in claims if isinstance(claimed, Claimed)]
    assert len({lease.task.task_id for lease in held}) == len({lease.token for lease in held}) == 3


async def test_a_server_that_forgot_its_scripts_is_told_them_again(redis_client: redis.asyncio.Redis) -> None:
    """After SCRIPT FLUSH the next call of each kind works, and nothing was done twice."""
    project = a_project("forgetful")
    queue = RedisQueue(redis_client, project, CALM)
    builder = await queue.begin_build()
    if builder is not None:
        await builder.end_build([])
    assert await queue.add([a_task(1, project.project)]) == 1
    (first,) = (await queue.claim("ann", 1)).leases
    await redis_client.script_flush()
    assert (await queue.claim("ann", 1)).leases[0].token == first.token
    assert await queue.add([a_task(1, project.project), a_task(2, project.project)]) == 1


async def test_the_connection_kept_for_the_next_run_is_replaced_when_redis_closed_it(
    redis_client: redis.asyncio.Redis, redis_server: RedisServer
) -> None:
    """Closed while nobody asked: the next claim is answered, without a second try, and no connection is lost to the pool."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        redis_server.url, max_connections=2, retry=Retry(NoBackoff(), 0)
    )
    project = a_project("kept")
    async with redis.asyncio.Redis(connection_pool=pool) as client:
        queue = RedisQueue(client, project, CALM)
        builder = await queue.begin_build()
        if builder is not None:
            await builder.end_build([])
        await queue.add([a_task(1, project.project)])
        (held,) = (await queue.claim("ann", 1)).leases
        for _ in range(3):
            await redis_client.client_kill_filter(_type="normal", skipme=True)
            await redis_client.ping()  # they are closed before it answers
            assert (await queue.claim("ann", 1)).leases[0].token == held.token
            assert await client.ping()
    await pool.aclose()

"""An office with three tasks waiting; an empty queue of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from tests.support.labeling import CALM, Queues, a_project, a_task
from tests.support.labeling_api import Office, open_office
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.redis import RedisQueue
from tiebreak.runtime.clock import SystemClock


@pytest.fixture
async def office() -> Office:
    """The labeling API over the in-memory queue and log."""
    office = await open_office(a_project())
    await office.queue.add([a_task(i) for i in range(3)])
    return office


@pytest.fixture(params=["memory", "redis"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Queues]:
    """In memory, and in a Redis that was just started: not built yet."""
    project = a_project(votes=3)
    if request.param == "memory":
        yield MemoryQueue(project, SystemClock(), CALM)
        return
    client = redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url"))
    yield RedisQueue(client, project, CALM)
    await client.aclose()

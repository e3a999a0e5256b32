"""The three logs behind one fixture, and the two queues behind another: what holds for one must hold for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from scripts.kafka import Broker
from tests.support.labeling import Bench, a_project
from tiebreak.contracts.log import Log
from tiebreak.events.kafka import KafkaLog
from tiebreak.events.kafka_client import KafkaOptions
from tiebreak.events.leases import Lease
from tiebreak.events.memory import MemoryLog
from tiebreak.events.redis_streams import RedisLog
from tiebreak.runtime.redis_server import RedisServer

LEASE = Lease(beat_s=0.1, settle_s=0.02)
OPTIONS = KafkaOptions(
    connect_timeout_s=5.0, request_timeout_s=5.0, session_timeout_s=6.0, heartbeat_s=0.2, delivery_timeout_s=10.0
)


@dataclass
class Server:
    """A running log server: ``stop`` and ``start`` take it away and bring it back with its data."""

    name: str
    open: Callable[[], Log]
    stop: Callable[[], None]
    start: Callable[[], None]


KINDS = ["memory", pytest.param("redis", marks=pytest.mark.redis), pytest.param("kafka", marks=pytest.mark.kafka)]


def _cannot_stop() -> None:
    pytest.skip("The broker that TIEBREAK_TEST_KAFKA names is not ours to stop.")


def _redis_log(url: str) -> RedisLog:
    # The client's own retries would hide an outage from the test for seconds.
    return RedisLog(redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 0)), lease=LEASE)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "memory":
        memory = MemoryLog(lease=LEASE)
        return Server("memory", lambda: memory, memory.stop, memory.resume)
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_url")
        process: RedisServer = request.getfixturevalue("redis_server")
        return Server("redis", lambda: _redis_log(url), process.stop, process.start)
    broker: Broker | None = request.getfixturevalue("kafka_broker")
    address: str = request.getfixturevalue("kafka_address")
    if broker is None:
        return Server("kafka", lambda: KafkaLog(address, options=OPTIONS), _cannot_stop, _cannot_stop)
    return Server("kafka", lambda: KafkaLog(address, options=OPTIONS), broker.stop, broker.start)


@pytest.fixture
async def log(server: Server) -> AsyncIterator[Log]:
    opened = server.open()
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """An empty queue."""
    client = None if request.param == "memory" else redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url"))
    bench = Bench(a_project(), client=client)
    await bench.start()
    yield bench
    if client is not None:
        await client.aclose()

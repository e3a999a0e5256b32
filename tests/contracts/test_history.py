"""The past of a topic, on every log: exactly the range asked for, whatever else is there, and what retention left of it."""

from __future__ import annotations

import pytest
import redis.asyncio

from tests.support.log_clients import fresh_topic, messages, publish, values
from tiebreak.contracts.log import Log, Partition
from tiebreak.contracts.topics import TopicSpec
from tiebreak.events.redis_streams import RedisLog
from tiebreak.events.stage_history import History
from tiebreak.runtime.clock import ManualClock


async def past(log: Log, topic: str, ranges: dict[int, tuple[int, int]]) -> dict[int, list[str]]:
    """What comes back, per partition."""
    found: dict[int, list[str]] = {}
    wanted = {Partition(topic, index): bounds for index, bounds in ranges.items()}
    async for batch in History(log, topic).before(wanted):
        for partition, records in batch.items():
            found.setdefault(partition.index, []).extend(values(records))
    return found


async def test_the_range_comes_back_and_nothing_else(log: Log) -> None:
    """Two of three partitions, each from its own offset to its own end, in order."""
    topic = await fresh_topic(log, 3)
    for partition in range(3):
        await publish(log, messages(topic, [f"{partition}-{n}" for n in range(50)], partition))
    found = await past(log, topic, {0: (0, 50), 2: (10, 13)})
    assert found == {0: [f"0-{n}" for n in range(50)], 2: ["2-10", "2-11", "2-12"]}


@pytest.mark.redis
async def test_what_retention_took_is_left_out(redis_client: redis.asyncio.Redis) -> None:
    """The oldest records of one partition are gone: what is left of it comes back, and the other partition's range as asked."""
    clock = ManualClock()
    log = RedisLog(redis_client, clock=clock)
    topic = "tiebreak.p.events"
    await log.ensure_topics([TopicSpec(topic, 2, retention_ms=1000)])
    await publish(log, messages(topic, ["a", "b"], 0))
    clock.advance(5.0)
    for partition in range(2):
        await publish(log, messages(topic, ["c", "d", "e"], partition))
    found = await past(log, topic, {0: (0, 4), 1: (1, 2)})
    assert {index: set(seen) for index, seen in found.items()} == {0: {"c", "d"}, 1: {"d"}}

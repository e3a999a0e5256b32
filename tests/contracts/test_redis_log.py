"""What only the log on Redis has: leases that run out, retention, scripts that Redis forgets."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from tests.support.eventually import eventually
from tests.support.log_clients import fresh_topic, messages, publish, reading, take, values
from tiebreak.contracts.errors import ConfigError, NotAssigned, PositionLost, PublishFailed
from tiebreak.contracts.log import Headers, Outputs, Partition
from tiebreak.contracts.topics import TopicSpec
from tiebreak.events.assignment import share_of
from tiebreak.events.leases import Lease
from tiebreak.events.memory import MemoryLog
from tiebreak.events.redis_store import RedisStore, pack_headers, unpack_headers
from tiebreak.events.redis_streams import RedisLog
from tiebreak.runtime.clock import ManualClock, SystemClock

pytestmark = pytest.mark.redis

LEASE = Lease(beat_s=0.05, settle_s=0.02)
SHORT = Lease(
    session_s=0.3, beat_s=0.05, settle_s=0.02
)  # only where a lease is to run out: a slow disk holds Redis up for longer


@pytest.fixture
def log(redis_client: redis.asyncio.Redis) -> RedisLog:
    return RedisLog(redis_client, lease=LEASE)


@pytest.fixture
def store(redis_client: redis.asyncio.Redis) -> RedisStore:
    return RedisStore(redis_client, SystemClock(), 10.0)


async def test_a_member_that_stops_beating_loses_its_partitions_and_cannot_commit(
    log: RedisLog, redis_client: redis.asyncio.Redis
) -> None:
    """A frozen reader: within its lease others wait, then they own its partitions, and its late commit is refused."""
    topic = await fresh_topic(log, 2)
    await publish(log, messages(topic, ["a", "b"], 0))
    frozen = RedisLog(redis_client, lease=SHORT).reader([topic], "g")
    await frozen.start()
    await take(frozen, 2)
    assert frozen._membership is not None
    frozen._membership.cancel()
    async with reading(log, topic, "g") as heir:
        await eventually(lambda: heir.assignment() == {Partition(topic, 0), Partition(topic, 1)})
        assert values(await take(heir, 2)) == ["a", "b"]
        await heir.commit({Partition(topic, 0): 2})
        with pytest.raises(NotAssigned):
            await frozen.commit({Partition(topic, 0): 1})
        assert await heir.committed() == {Partition(topic, 0): 2}
    await frozen.close(1.0)


async def test_a_reader_that_slept_through_its_lease_starts_over_at_the_committed_position(log: RedisLog) -> None:
    """Its heartbeat finds the lease gone: it gives everything up, joins under a new name and reads from the last commit."""
    topic = await fresh_topic(log)
    await publish(log, messages(topic, ["a", "b", "c"]))
    async with reading(log, topic, "g") as reader:
        await take(reader, 3)
        await reader.commit({Partition(topic, 0): 1})
        name = reader._member  # type: ignore[attr-defined]
        await log._store._client.delete("tb:{g}:group:g:members", "tb:{g}:group:g:owners")
        assert values(await take(reader, 2)) == ["b", "c"]
        assert reader._member != name  # type: ignore[attr-defined]


@pytest.mark.parametrize("members", [1, 2, 3, 5])
async def test_the_script_deals_as_the_pure_function_does(store: RedisStore, members: int) -> None:
    """Once all members have joined, each is due what ``share_of`` says."""
    partitions = [Partition("t", index) for index in range(7)]
    names = {f"m{i}" for i in range(members)}
    for name in names:
        await store.beat("g", name, partitions, joining=True)
    for name in names:
        beat = await store.beat("g", name, partitions, joining=False)
        assert beat is not None
        assert beat.due == share_of(name, names, partitions)


async def test_old_records_are_trimmed_and_offsets_never_repeat(redis_client: redis.asyncio.Redis) -> None:
    """Past the retention the oldest records go; what is appended next continues the count, even after all are gone."""
    clock = ManualClock(wall=1_000_000.0)
    log = RedisLog(redis_client, clock=clock, lease=LEASE)
    topic = "tiebreak.p.events"
    await log.ensure_topics([TopicSpec(topic, 1, retention_ms=60_000)])
    await publish(log, messages(topic, [str(i) for i in range(300)]))
    clock.advance(30.0)
    await publish(log, messages(topic, ["300"]))
    clock.advance(59.0)
    for i in range(301, 305):
        await publish(log, messages(topic, [str(i)]))
    async with reading(log, topic, None) as reader:
        assert [(r.offset, r.value) for r in await take(reader, 5)] == [(i, b"%d" % i) for i in range(300, 305)]
    clock.advance(3600.0)
    await publish(log, messages(topic, ["305"]))
    async with reading(log, topic, None) as reader:
        assert [r.offset for r in await take(reader, 1)] == [305]


async def test_a_retention_that_is_made_shorter_is_heeded_from_the_next_record_on(
    redis_client: redis.asyncio.Redis,
) -> None:
    """The topic was kept for ever; now what is older than an hour goes, and `ensure_topics` leaves it at that."""
    clock = ManualClock(wall=1_000_000.0)
    topic = "tiebreak.p.events"
    for log in (RedisLog(redis_client, clock=clock, lease=LEASE), MemoryLog(clock=clock, lease=LEASE)):
        await log.ensure_topics([TopicSpec(topic, 1, None)])
        await publish(log, messages(topic, ["old"]))
        clock.advance(7200.0)
        await log.retain([TopicSpec(topic, 9, 3_600_000)])
        await log.ensure_topics([TopicSpec(topic, 1, None)])
        await publish(log, messages(topic, ["new"]))
        async with reading(log, topic, None) as reader:
            assert [r.value for r in await take(reader, 1)] == [b"new"]
        assert await log.partitions(topic) == 1
        with pytest.raises(ConfigError, match="nowhere"):
            await log.retain([TopicSpec("tiebreak.nowhere.events", 1, 1000)])


async def test_records_that_were_trimmed_unread_are_an_error_not_a_jump(redis_client: redis.asyncio.Redis) -> None:
    """A group that comes back after the retention is told what it lost."""
    clock = ManualClock()
    log = RedisLog(redis_client, clock=clock, lease=LEASE)
    topic = "tiebreak.p.events"
    await log.ensure_topics([TopicSpec(topic, 1, retention_ms=1000)])
    await publish(log, messages(topic, ["a", "b"]))
    async with reading(log, topic, "g") as reader:
        await take(reader, 2)
        await reader.commit({Partition(topic, 0): 1})
    clock.advance(5.0)
    await publish(log, messages(topic, ["c"]))
    async with reading(log, topic, "g") as reader:
        with pytest.raises(
            PositionLost, match=r"Position 1 of tiebreak\.p\.events/0 is outside the log: it holds 2 to 3"
        ):
            await reader.poll(10, 1.0)


async def test_scripts_that_redis_forgets_are_sent_again(log: RedisLog, redis_client: redis.asyncio.Redis) -> None:
    """A SCRIPT FLUSH between two calls (a failover does the same) is not seen by anybody."""
    topic = await fresh_topic(log)
    writer = log.writer()
    await writer.start()
    async with reading(log, topic, "g") as reader:
        for value in ("a", "b"):
            await writer.publish(messages(topic, [value]))
            await redis_client.script_flush()
        assert values(await take(reader, 2)) == ["a", "b"]
        await reader.commit({Partition(topic, 0): 2})


async def test_a_full_redis_refuses_the_write_and_says_so(log: RedisLog, redis_client: redis.asyncio.Redis) -> None:
    """Out of memory: PublishFailed with Redis' word for it, and nothing of the block is written."""
    topic = await fresh_topic(log)
    await redis_client.config_set("maxmemory", "1")
    try:
        with pytest.raises(PublishFailed, match="maxmemory"):
            await publish(log, messages(topic, ["a"]))
    finally:
        await redis_client.config_set("maxmemory", "0")
    await publish(log, messages(topic, ["b"]))
    async with reading(log, topic, None) as reader:
        assert [(r.offset, r.value) for r in await take(reader, 1)] == [(0, b"b")]


async def test_overlapping_writers_never_share_an_offset(log: RedisLog) -> None:
    """Ten writers at once: offsets are gapless, and each block stays together."""
    topic = await fresh_topic(log)
    blocks = [[f"{writer}.{i}" for i in range(50)] for writer in range(10)]
    await asyncio.gather(*(publish(log, messages(topic, block)) for block in blocks))
    async with reading(log, topic, None) as reader:
        records = await take(reader, 500)
    assert [r.offset for r in records] == list(range(500))
    got = values(records)
    assert sorted(got[i : i + 50] for i in range(0, 500, 50)) == sorted(blocks)


@pytest.mark.parametrize(
    "headers", [(), (("a", b""),), (("traceparent", b"00-x"), ("content-type", b"\x00\xff"), ("ä", b"1"))]
)
def test_headers_survive_packing(headers: Headers) -> None:
    """Any bytes, any number, empty ones too."""
    assert tuple(unpack_headers(pack_headers(headers))) == headers


def test_a_client_that_decodes_is_refused() -> None:
    """Raw bytes in utf-8 would be an error for every event: said once, at the start."""
    with pytest.raises(ConfigError, match="decode_responses"):
        RedisLog(redis.asyncio.Redis(decode_responses=True))


async def test_nothing_to_publish_is_nothing_to_do(log: RedisLog) -> None:
    """Empty outputs are acknowledged at once."""
    await publish(log, Outputs())

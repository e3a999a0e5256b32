"""The log's contract, over memory, Redis Streams and Kafka alike: records, positions, pauses."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.eventually import PATIENCE_S, eventually
from tests.support.log_clients import Listener, fresh_topic, messages, publish, reading, take, values
from tiebreak.contracts.errors import ConfigError, PositionLost, PublishFailed
from tiebreak.contracts.log import Block, Log, Message, Outputs, Partition
from tiebreak.contracts.topics import TopicSpec
from tiebreak.events.partitioner import partition_of


async def test_records_come_out_as_they_went_in(log: Log) -> None:
    """A record keeps its bytes, key, headers and place; offsets count up from 0."""
    topic = await fresh_topic(log, 2)
    headers = (("content-type", b"application/octet-stream"), ("traceparent", b"\x00\xff"))
    await publish(
        log, Outputs([Message(topic, b"k\x00", b"\x00\xff\x80", headers, 1), Message(topic, b"k", b"", (), 1)])
    )
    async with reading(log, topic, None) as reader:
        records = await take(reader, 2)
    assert [(r.topic, r.partition, r.offset, r.key, r.value, tuple(r.headers)) for r in records] == [
        (topic, 1, 0, b"k\x00", b"\x00\xff\x80", headers),
        (topic, 1, 1, b"k", b"", ()),
    ]
    assert all(record.timestamp > 1_600_000_000_000 for record in records)


async def test_order_holds_within_a_partition(log: Log) -> None:
    """Messages, then blocks, of calls that overlap: each partition keeps the order of the calls."""
    topic = await fresh_topic(log, 2)
    writer = log.writer()
    await writer.start()

    def outputs(call: int) -> Outputs:
        singles = [Message(topic, b"k", f"{call}.{i}".encode(), (), i % 2) for i in range(6)]
        block = Block(Partition(topic, 1), [b"k"] * 3, [f"{call}.b{i}".encode() for i in range(3)])
        return Outputs(singles, [block])

    await asyncio.gather(*(writer.publish(outputs(call)) for call in range(5)))
    await writer.close(5.0)
    async with reading(log, topic, None) as reader:
        records = await take(reader, 45)
    by_partition = {p: values([r for r in records if r.partition == p]) for p in (0, 1)}
    assert by_partition == {
        0: [f"{call}.{i}" for call in range(5) for i in (0, 2, 4)],
        1: [f"{call}.{i}" for call in range(5) for i in (1, 3, 5, "b0", "b1", "b2")],
    }


async def test_large_blocks_arrive_whole(log: Log) -> None:
    """A block far above one batch of the client (and records near its limit) arrives whole and in order."""
    topic = await fresh_topic(log, 1)
    sizes = [100] * 9_000 + [700_000, 10, 600_000]
    block = Block(Partition(topic, 0), [b"%d" % i for i in range(len(sizes))], [b"x" * size for size in sizes])
    await publish(log, Outputs(blocks=[block]))
    async with reading(log, topic, None) as reader:
        records = await take(reader, len(sizes))
    assert [(r.offset, r.key, len(r.value or b"")) for r in records] == [
        (i, b"%d" % i, size) for i, size in enumerate(sizes)
    ]


async def test_each_record_of_a_block_may_have_headers_of_its_own(log: Log) -> None:
    """A traced stream has another trace in every record, and travels in blocks all the same."""
    topic = await fresh_topic(log, 1)
    headers = [(("traceparent", b"%d" % number),) for number in range(3)] + [()]
    await publish(log, Outputs(blocks=[Block(Partition(topic, 0), [b"k"] * 4, [b"v"] * 4, record_headers=headers)]))
    async with reading(log, topic, None) as reader:
        records = await take(reader, 4)
    assert [tuple(record.headers) for record in records] == headers


async def test_a_key_has_the_partition_that_javas_producer_gives_it(log: Log) -> None:
    """Records without a partition are placed by murmur2 of their key, on every log."""
    topic = await fresh_topic(log, 4)
    keys = [b"21", b"foobar", b"a-little-bit-long-string", b"a-little-bit-longer-string", b"abc", b""]
    await publish(log, Outputs([Message(topic, key, b"v") for key in keys]))
    async with reading(log, topic, None) as reader:
        records = await take(reader, len(keys))
    assert {r.key: r.partition for r in records} == {key: partition_of(key, 4) for key in keys}


async def test_a_new_group_starts_at_the_oldest_record_and_a_known_one_at_its_position(log: Log) -> None:
    """What is committed is the next offset: a restart goes on there, and replays what was handed out but not committed."""
    topic = await fresh_topic(log)
    await publish(log, messages(topic, ["a", "b", "c", "d"]))
    partition = Partition(topic, 0)
    async with reading(log, topic, "g") as reader:
        assert await reader.committed() == {}
        assert values(await take(reader, 4)) == ["a", "b", "c", "d"]
        await reader.commit({partition: 1})
        assert await reader.committed() == {partition: 1}
        assert await reader.end_positions() == {partition: 4}
        assert await reader.first_positions() == {partition: 0}
    async with reading(log, topic, "g") as reader:
        assert values(await take(reader, 3)) == ["b", "c", "d"]
    async with reading(log, topic, "other") as reader:
        assert values(await take(reader, 4)) == ["a", "b", "c", "d"]


async def test_a_reader_without_a_group_reads_all_and_stores_nothing(log: Log) -> None:
    """Two readers without a group each read every partition from the oldest record, and may go where they like."""
    topic = await fresh_topic(log, 2)
    await publish(log, Outputs([Message(topic, b"k", b"%d" % i, (), i % 2) for i in range(6)]))
    for _ in range(2):
        async with reading(log, topic, None) as reader:
            assert reader.assignment() == {Partition(topic, 0), Partition(topic, 1)}
            assert sorted(values(await take(reader, 6))) == ["0", "1", "2", "3", "4", "5"]
            await reader.commit({Partition(topic, 0): 3})
            assert await reader.committed() == {}
            reader.seek({Partition(topic, 0): 2, Partition(topic, 1): 1})
            assert sorted(values(await take(reader, 3))) == ["3", "4", "5"]


async def test_seek_replays_and_skips(log: Log) -> None:
    """After a seek the next records are those of the new position, also when others were fetched ahead; strangers are ignored."""
    topic = await fresh_topic(log)
    await publish(log, messages(topic, [str(i) for i in range(10)]))
    partition = Partition(topic, 0)
    async with reading(log, topic, "g") as reader:
        assert values(await take(reader, 10)) == [str(i) for i in range(10)]
        reader.seek({partition: 7, Partition(topic, 99): 5})
        assert values(await take(reader, 3)) == ["7", "8", "9"]
        reader.seek({partition: 0})
        assert values([r for rs in (await reader.poll(4, 5.0)).values() for r in rs]) == ["0", "1", "2", "3"]
        assert values(await take(reader, 6)) == ["4", "5", "6", "7", "8", "9"]


async def test_poll_hands_out_no_more_than_asked_for(log: Log) -> None:
    """``max_records`` is a limit over all partitions, and repeated polls lose nothing."""
    topic = await fresh_topic(log, 3)
    await publish(log, Outputs([Message(topic, b"k", b"%d" % i, (), i % 3) for i in range(30)]))
    async with reading(log, topic, "g") as reader:
        got: list[str] = []
        while len(got) < 30:
            batch = await reader.poll(7, 5.0)
            size = sum(map(len, batch.values()))
            assert 1 <= size <= 7
            got += [value for records in batch.values() for value in values(records)]
    assert sorted(got, key=int) == [str(i) for i in range(30)]


async def test_a_poll_waits_for_what_is_published_meanwhile_and_may_be_cancelled(log: Log) -> None:
    """A waiting poll wakes for a new record; a cancelled one loses none."""
    topic = await fresh_topic(log)
    async with reading(log, topic, "g") as reader:
        assert await reader.poll(10, 0.05) == {}
        waiting = asyncio.create_task(reader.poll(10, 30.0))
        await publish(log, messages(topic, ["a"]))
        batch = await asyncio.wait_for(waiting, PATIENCE_S)
        assert [values(records) for records in batch.values()] == [["a"]]
        for i in range(20):
            polling = asyncio.create_task(reader.poll(10, 30.0))
            await asyncio.sleep(0)
            polling.cancel()
            await asyncio.wait({polling})
            if i == 10:
                await publish(log, messages(topic, ["b", "c"]))
        assert values(await take(reader, 2)) == ["b", "c"]


async def test_a_paused_partition_gives_nothing_until_resumed(log: Log) -> None:
    """Others go on, polling goes on, and after the resume no record is missing, also not those fetched before the pause."""
    topic = await fresh_topic(log, 2)
    p0, p1 = Partition(topic, 0), Partition(topic, 1)
    async with reading(log, topic, "g") as reader:
        await publish(log, messages(topic, ["a"], 0))
        assert values(await take(reader, 1)) == ["a"]
        reader.pause(frozenset({p0}))
        await publish(log, Outputs([*messages(topic, ["b"], 0).messages, *messages(topic, ["x"], 1).messages]))
        assert values(await take(reader, 1)) == ["x"]
        assert await reader.poll(10, 0.3) == {}
        reader.resume(frozenset({p0}))
        assert values(await take(reader, 1)) == ["b"]
        assert reader.assignment() == {p0, p1}


async def test_a_pause_survives_a_rebalance(log: Log) -> None:
    """A second member takes one of two partitions: the paused one that stays gives nothing until it is resumed."""
    topic = await fresh_topic(log, 2)
    listener = Listener()
    async with reading(log, topic, "g", listener) as reader:
        reader.pause(reader.assignment())
        await publish(log, Outputs([*messages(topic, ["a"], 0).messages, *messages(topic, ["b"], 1).messages]))
        async with reading(log, topic, "g") as other:
            await eventually(lambda: _polled(reader, lambda: len(reader.assignment()) == 1))
            await eventually(lambda: len(other.assignment()) == 1)
            assert await reader.poll(10, 0.3) == {}
            (kept,) = reader.assignment()
            reader.resume(frozenset({kept}))
            assert values(await take(reader, 1)) == [{0: "a", 1: "b"}[kept.index]]
    assert listener.owned() == frozenset()


async def _polled(reader: object, condition: object) -> bool:
    """``condition`` after one more poll that gave nothing."""
    assert await reader.poll(10, 0.1) == {}  # type: ignore[attr-defined]
    return bool(condition())  # type: ignore[operator]


async def test_a_topic_that_does_not_exist_is_an_error_with_a_remedy(log: Log) -> None:
    """Nothing is made by accident: reading or writing an unknown topic fails and says how to create it."""
    with pytest.raises(ConfigError, match="tiebreak topics create"):
        await log.reader(["tiebreak.none.events"], "g").start()
    with pytest.raises(PublishFailed, match="tiebreak topics create"):
        await publish(log, messages("tiebreak.none.events", ["a"]))
    assert await log.partitions("tiebreak.none.events") == 0


async def test_an_existing_topic_is_left_as_it_is(log: Log) -> None:
    """A second ``ensure_topics`` neither fails nor changes the number of partitions."""
    topic = await fresh_topic(log, 3)
    await log.ensure_topics([TopicSpec(topic, 5, None)])
    assert await log.partitions(topic) == 3


async def test_a_position_outside_the_log_names_itself(log: Log) -> None:
    """No silent jump: a position beyond the end is an error that names partition and position, on every poll."""
    topic = await fresh_topic(log)
    await publish(log, messages(topic, ["a", "b"]))
    async with reading(log, topic, "g") as reader:
        await take(reader, 2)
        reader.seek({Partition(topic, 0): 500})
        with pytest.raises(PositionLost, match=f"Position 500 of {topic}/0"):
            await take(reader, 1)

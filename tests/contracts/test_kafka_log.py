"""What only the log on Kafka has: the client's own traps, each with the promise that it breaks no longer."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from scripts.kafka import Broker, free_port
from tests.contracts.conftest import OPTIONS
from tests.support.eventually import eventually
from tests.support.log_clients import Listener, fresh_topic, messages, publish, reading, take, values
from tiebreak.contracts.errors import ClockRefused, ConfigError, PositionLost, PublishFailed, Unreachable
from tiebreak.contracts.log import Message, Outputs, Partition
from tiebreak.contracts.topics import TopicSpec
from tiebreak.events.kafka import KafkaLog
from tiebreak.events.kafka_client import KafkaOptions, KafkaSecurity
from tiebreak.events.kafka_reader import KafkaReader
from tiebreak.labeling.stage_reading import records_of

pytestmark = pytest.mark.kafka


@pytest.fixture
async def log(kafka_address: str) -> AsyncIterator[KafkaLog]:
    opened = KafkaLog(kafka_address, options=OPTIONS)
    yield opened
    await opened.close()


async def test_records_that_retention_removed_unread_are_an_error_not_a_jump(log: KafkaLog, kafka_address: str) -> None:
    """The position of a known group is behind the oldest record: poll names it each time instead of going on elsewhere."""
    topic = await fresh_topic(log)
    await publish(log, messages(topic, ["a", "b", "c"]))
    async with reading(log, topic, "g") as reader:
        await take(reader, 3)
        await reader.commit({Partition(topic, 0): 1})
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_address)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=2)})
    await admin.close()
    async with reading(log, topic, "g") as reader:
        for _ in range(2):
            with pytest.raises(PositionLost, match=f"Position 1 of {topic}/0"):
                await take(reader, 1)
    async with reading(log, topic, "new group") as reader:
        assert values(await take(reader, 1)) == ["c"]
        assert await reader.first_positions() == {Partition(topic, 0): 2}


async def test_a_partition_that_retention_emptied_is_read_to_its_end_at_once(log: KafkaLog, kafka_address: str) -> None:
    """It ends where it begins: who builds a queue from it and waits for more gives up in the end, and the queue is never built."""
    topic = await fresh_topic(log, 2)
    await publish(log, messages(topic, ["a", "b"], 0))
    await publish(log, messages(topic, ["c"], 1))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_address)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=2)})
    await admin.close()
    assert [record.value async for record in records_of(log, topic)] == [b"c"]


async def test_a_reader_without_a_group_goes_on_where_it_stood_with_a_new_client(log: KafkaLog) -> None:
    """From the beginning, it would tell old labels and old decisions again as if they came now."""
    topic = await fresh_topic(log, 2)
    await publish(log, messages(topic, ["a", "b", "c"], 1))
    async with reading(log, topic, None) as reader:
        assert isinstance(reader, KafkaReader)
        assert values(next(iter((await reader.poll(2, 5.0)).values()))) == ["a", "b"]
        await reader._drop(1.0)
        assert reader.positions() == {Partition(topic, 0): 0, Partition(topic, 1): 2}
        assert await reader.end_positions() == {Partition(topic, 0): 0, Partition(topic, 1): 3}
        await publish(log, messages(topic, ["d"], 0))
        assert sorted(values(await take(reader, 2))) == ["c", "d"]


async def test_a_fresh_group_leaves_the_clients_idle_clock_running(log: KafkaLog) -> None:
    """aiokafka counts a poll that raised as going on for ever: a stuck stage would then keep its partitions for ever."""
    topic = await fresh_topic(log, 4)
    await publish(log, messages(topic, ["a"]))
    async with reading(log, topic, "g") as reader:
        await take(reader, 1)
        assert isinstance(reader, KafkaReader)
        consumer = reader._consumer
        assert consumer is not None
        await eventually(lambda: consumer._subscription._fetch_count == 0)


async def test_where_a_quiet_topic_ends_is_told_without_waiting_for_the_fetch(log: KafkaLog) -> None:
    """A broker answers a connection's requests in turn: behind a reader's own fetch every answer would come half a second late."""
    topic = await fresh_topic(log)
    await publish(log, messages(topic, ["a"]))
    async with reading(log, topic, None) as reader:
        await take(reader, 1)
        waits = []
        for _ in range(6):
            await reader.poll(1, 0.02)  # nothing comes: the client's next fetch is with the broker
            begun = time.monotonic()
            assert await reader.end_positions() == {Partition(topic, 0): 1}
            waits.append(time.monotonic() - begun)
    assert min(waits) < 0.2, waits


async def test_what_a_listener_raises_reaches_the_caller(log: KafkaLog) -> None:
    """aiokafka logs and swallows it; the next poll raises it."""

    class Failing(Listener):
        async def assigned(self, partitions: frozenset[Partition]) -> None:
            await super().assigned(partitions)
            raise ZeroDivisionError("in the listener")

    topic = await fresh_topic(log)
    async with reading(log, topic, "g", Failing()) as reader:
        with pytest.raises(ZeroDivisionError, match="in the listener"):
            await reader.poll(1, 1.0)


async def test_a_clock_that_the_broker_does_not_believe_is_named(log: KafkaLog, kafka_address: str) -> None:
    """Every write fails while this machine's clock is far from the broker's: the error says which clock, not a library's class."""
    topic = await fresh_topic(log)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_address)
    await admin.start()
    # Nothing may be older than now: what takes a moment to arrive is from a clock that is behind.
    await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic, {"message.timestamp.before.max.ms": "0"})]
    )
    await admin.close()
    writer = log.writer()
    await writer.start()

    async def refusal() -> str:
        try:
            await writer.publish(Outputs([Message(topic, b"k", b"x" * 1000, (), 0) for _ in range(2000)]))
        except ClockRefused as error:
            return str(error)
        return ""

    assert "this machine's clock and the broker's are further apart" in await eventually(refusal)
    await writer.close(5.0)


async def test_a_record_as_large_as_the_topic_takes_passes_and_a_larger_one_is_refused(kafka_address: str) -> None:
    """The limit is the topic's; above it the publisher is told, and the next publish works."""
    log = KafkaLog(kafka_address, options=KafkaOptions(max_record_bytes=2 * 2**20, request_timeout_s=5.0))
    topic = await fresh_topic(log)
    writer = log.writer()
    await writer.start()
    large = b"x" * (2 * 2**20 - 200)
    await writer.publish(Outputs([Message(topic, b"k", large, (), 0)]))
    with pytest.raises(PublishFailed, match="MessageSizeTooLarge"):
        await writer.publish(Outputs([Message(topic, b"k", large * 2, (), 0)]))
    await writer.publish(Outputs([Message(topic, b"k", b"small", (), 0)]))
    async with reading(log, topic, None) as reader:
        assert [len(r.value or b"") for r in await take(reader, 2)] == [len(large), 5]
    await writer.close(5.0)
    await log.close()


async def test_dead_letters_have_room_for_the_largest_record(log: KafkaLog) -> None:
    """`dead` takes twice what the other topics take; retention is as the spec says."""
    await log.ensure_topics([TopicSpec("tiebreak.roomy.dead", 1, 1000), TopicSpec("tiebreak.roomy.labels", 1, None)])
    writer = log.writer()
    await writer.publish(Outputs([Message("tiebreak.roomy.dead", b"k", b"x" * (OPTIONS.max_record_bytes + 1000))]))
    await writer.close(5.0)


async def test_a_retention_that_is_made_shorter_is_the_topics_and_nothing_else_is_touched(
    log: KafkaLog, kafka_address: str
) -> None:
    """Segments end in time for it to be kept; what the topic was made with, or an operator gave it, stays."""
    topic = await fresh_topic(log, 2)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_address)
    await admin.start()

    async def settings() -> dict[str, str]:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {name: value for name, value, _, source, *_ in answer.resources[0][4] if source == 1}

    before = await settings()
    await log.retain([TopicSpec(topic, 1, 86_400_000)])

    async def shorter() -> bool:
        # A broker hears of it from the controller a moment after that has answered.
        return await settings() == before | {"retention.ms": "86400000", "segment.ms": "10800000"}

    await eventually(shorter)
    assert before["max.message.bytes"] == str(OPTIONS.max_record_bytes)
    assert await log.partitions(topic) == 2
    with pytest.raises(ConfigError, match=r"refuses the retention of tiebreak\.nowhere"):
        await log.retain([TopicSpec("tiebreak.nowhere.events", 1, 1000)])
    await admin.close()


async def test_a_broker_that_stalls_leaves_no_traceback_of_the_client(log: KafkaLog, own_broker: Broker) -> None:
    """Batches that were sent, not answered, and wait to be sent again fail with the rest: nothing is raised where nobody hears it."""
    topic = await fresh_topic(log)
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    quick = KafkaLog(
        own_broker.address, options=KafkaOptions(delivery_timeout_s=3.0, connect_timeout_s=2.0, request_timeout_s=0.5)
    )
    writer = quick.writer()

    async def publishes() -> bool:
        await writer.publish(messages(topic, ["a"]))
        return True

    await eventually(publishes, retry_on=(PublishFailed,))
    os.kill(own_broker.pid, signal.SIGSTOP)
    try:
        with pytest.raises(PublishFailed):
            await publishes()
        await writer.close(1.0)
    finally:
        os.kill(own_broker.pid, signal.SIGCONT)
    await quick.close()
    assert heard == []


async def test_publishing_to_a_stopped_broker_fails_in_time_and_closing_does_not_hang(
    log: KafkaLog, own_broker: Broker
) -> None:
    """An idempotent producer waits for ever (aiokafka #1101): ours fails within its deadline and is replaced by a new one."""
    topic = await fresh_topic(log)
    await publish(log, messages(topic, ["a"]))
    quick = KafkaLog(own_broker.address, options=KafkaOptions(delivery_timeout_s=1.0, connect_timeout_s=2.0))
    writer = quick.writer()

    async def publishes(value: str) -> bool:
        await writer.publish(messages(topic, [value]))
        return True

    # A second is short for a broker that has just started, or shares its processor: it is asked again.
    await eventually(lambda: publishes("b"), retry_on=(PublishFailed,))
    own_broker.kill()
    try:
        with pytest.raises(PublishFailed):
            await publishes("lost")
        with pytest.raises(PublishFailed):
            await publishes("lost")
    finally:
        own_broker.start()
    await eventually(lambda: publishes("c"), retry_on=(PublishFailed,))
    await writer.close(2.0)
    async with reading(log, topic, None) as reader:
        (end,) = (await reader.end_positions()).values()
        got = values(await take(reader, end))
    # What was not acknowledged is unknown, not failed: only order and the acknowledged ones are promised.
    assert [value for value in dict.fromkeys(got) if value != "lost"] == ["a", "b", "c"]
    await quick.close()


async def test_an_address_where_nobody_listens_is_one_clear_line() -> None:
    """The address and the remedy, on each of the ways in."""
    log = KafkaLog(f"127.0.0.1:{free_port()}", options=KafkaOptions(connect_timeout_s=1.0))
    line = r"^Kafka at 127\.0\.0\.1:\d+ does not answer.*make kafka.*--kafka"
    with pytest.raises(Unreachable, match=line):
        await log.ping()
    with pytest.raises(Unreachable, match=line):
        await log.writer().start()
    with pytest.raises(Unreachable, match=line):
        await log.reader(["t"], "g").start()
    await log.close()


def test_security_is_passed_on_and_never_printed() -> None:
    """SASL and TLS become the client's arguments; the password is not in the repr; a missing file is a clear error."""
    security = KafkaSecurity("SASL_SSL", "PLAIN", "svc", "hunter2")
    arguments = security.client_arguments()
    assert arguments.pop("ssl_context") is not None
    assert arguments == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "svc",
        "sasl_plain_password": "hunter2",
    }
    assert "hunter2" not in repr(security)
    assert KafkaSecurity().client_arguments() == {"security_protocol": "PLAINTEXT"}
    with pytest.raises(ConfigError, match="TLS file"):
        KafkaSecurity("SSL", ca_file="/nowhere/ca.pem").client_arguments()

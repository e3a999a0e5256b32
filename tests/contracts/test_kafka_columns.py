"""What our Kafka reader hands out as columns is what a plain aiokafka consumer hands out, record for record, over a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from tests.contracts.conftest import OPTIONS
from tests.support.log_clients import fresh_topic, reading, take
from tiebreak.contracts.columns import RecordColumns
from tiebreak.contracts.log import Partition, Record
from tiebreak.events.kafka import KafkaLog

pytestmark = pytest.mark.kafka
_names = count()
Row = tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]


@pytest.fixture
async def log(kafka_address: str) -> AsyncIterator[KafkaLog]:
    opened = KafkaLog(kafka_address, options=OPTIONS)
    yield opened
    await opened.close()


def rows(records: list[Record] | list[ConsumerRecord]) -> list[Row]:
    return [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records]


async def truth(address: str, topic: str, end: int) -> list[Row]:
    """What a plain consumer reads from the beginning up to offset ``end``, transactions that were aborted left out."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        found: list[ConsumerRecord] = []
        while await consumer.position(partition) < end:
            found += (await consumer.getmany(timeout_ms=500)).get(partition, [])
        return rows(found)
    finally:
        await consumer.stop()


def shapes() -> Iterator[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
    """Alike, unlike, empty and null ones; enough of them that some batches are long."""
    for n in range(400):
        yield b"key-%04d" % n, bytes(64), [("content-type", b"a")]
    for n in range(200):
        yield b"k" * (n % 90), b"v" * (n * 37 % 9000), [("traceparent", b"%d" % n)] * (n % 3)
    yield from ((None, b"", []), (b"", None, []), (b"", None, [("h", b"")]))


async def fill(address: str, topic: str, compression: str | None) -> int:
    """Plain records, a committed and an aborted transaction, plain ones again. The end of the log."""
    plain = AIOKafkaProducer(
        bootstrap_servers=address, compression_type=compression, linger_ms=20, max_batch_size=60_000
    )
    within = AIOKafkaProducer(
        bootstrap_servers=address, compression_type=compression, transactional_id=f"columns-{next(_names)}"
    )
    await plain.start()
    await within.start()
    try:
        last = 0
        for aborts in (False, True):
            for key, value, headers in shapes():
                await plain.send(topic, value, key, partition=0, headers=headers)
            await plain.flush()
            await within.begin_transaction()
            for n in range(30):
                await within.send(topic, b"in a transaction %d" % n, partition=0)
            await (within.abort_transaction() if aborts else within.commit_transaction())
            last = (await plain.send_and_wait(topic, b"last", partition=0)).offset
        return last + 1
    finally:
        await within.stop()
        await plain.stop()


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_every_record_once_and_in_order_however_it_is_read(
    log: KafkaLog, kafka_address: str, compression: str | None
) -> None:
    """Whole, a few at a time, and from the middle of a batch; control batches and aborted transactions are never seen."""
    topic = await fresh_topic(log, 1)
    expected = await truth(kafka_address, topic, await fill(kafka_address, topic, compression))
    home = Partition(topic, 0)
    columnar = 0
    for most in (4096, 300, 7):
        async with reading(log, topic, None) as reader:
            found: list[Row] = []
            while len(found) < len(expected):
                batch = await reader.poll(most, 5.0)
                columnar += isinstance(batch[home], RecordColumns)
                assert 0 < len(batch[home]) <= most
                found += rows(list(batch[home]))
            assert found == expected
    assert columnar > 4
    middles = [expected[at] for at in (1, 123, 650, len(expected) - 2)]
    async with reading(log, topic, None) as reader:
        for offset, *_ in reversed(middles):
            reader.seek({home: offset})
            assert rows(await take(reader, 1))[0] == next(row for row in expected if row[0] == offset)

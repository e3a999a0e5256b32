"""What the pipeline is held against: loops that do one thing each, as fast as the same client can."""

from __future__ import annotations

import asyncio

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from loadtests.speed.clocked import Measured, Stopwatch


def assigned_consumer(kafka: str) -> AIOKafkaConsumer:
    """A groupless consumer with the fetch sizes of ours, so that the client's settings make no difference."""
    return AIOKafkaConsumer(
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 2**20,
    )


async def drain(kafka: str, topic: str, partitions: int, events: int, decode: bool = False) -> Measured:
    """A bare ``getmany`` loop. ``decode``: each value is read by orjson, the fastest JSON library for Python, and dropped."""
    consumer = assigned_consumer(kafka)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, index) for index in range(partitions)])
        watch = Stopwatch(events)
        while not watch.finished:
            async with asyncio.timeout(60.0):
                fetched = await consumer.getmany(timeout_ms=1000, max_records=4096)
            if decode:
                for records in fetched.values():
                    for record in records:
                        orjson.loads(record.value)
            if fetched:
                watch.add(sum(map(len, fetched.values())))
        return watch.measured()
    finally:
        await consumer.stop()

"""Latency from the moment an event is due to its prediction's arrival, on one clock: the probe sends and receives in one process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from loadtests.speed.clocked import Measured
from loadtests.speed.drains import assigned_consumer
from loadtests.speed.models import vectors
from tiebreak.events.kafka_client import Cluster, KafkaOptions, KafkaSecurity

TICK_S = 0.005
WINDOW = 20_000
WARM_S = 2.0
READY_S = 60.0
LATE_S = 10.0
HEADERS = [("content-type", b"application/octet-stream")]


class Probe:
    """Sends events at a rate, each named by the time it was due and its number, and takes the time when its answer is read.

    An open loop: an event that is sent late, because the probe or the broker was held up, has waited since it was due. Numbers
    begin at 0 with the measured part; what is sent before, to see whether the other side answers, has none.
    """

    def __init__(self, kafka: str, source: str, target: str, partitions: int) -> None:
        self._kafka, self._source, self._target, self._partitions = kafka, source, target, partitions
        self._value = vectors(1)[0].tobytes()
        self._sent = 0
        self._answered = asyncio.Event()
        self._back: set[int] = set()
        self._waits: deque[float] = deque()
        self._counting_from = float("inf")

    async def run(self, rate: float, seconds: float) -> Measured:
        """Wait until the other side answers, warm up, then measure for ``seconds``. Notes in milliseconds; ``lost`` in events.

        ``rate`` 0: as fast as the other side answers, with ``WINDOW`` events on their way; the rate of what this gives is the peak.
        """
        producer = AIOKafkaProducer(bootstrap_servers=self._kafka, acks="all", max_batch_size=2**19)
        consumer = assigned_consumer(self._kafka)
        await producer.start()
        await consumer.start()
        consumer.assign([TopicPartition(self._target, index) for index in range(self._partitions)])
        await consumer.seek_to_end()
        listening = asyncio.create_task(self._listen(consumer))
        try:
            await self._until_answered(producer)
            self._counting_from = time.perf_counter() + WARM_S
            began = time.perf_counter()
            await self._send_at(producer, rate, WARM_S + seconds)
            await self._until_all_back()
            if listening.done():
                listening.result()
            return self._measured(time.perf_counter() - began)
        finally:
            listening.cancel()
            await consumer.stop()
            await producer.stop()

    async def _until_answered(self, producer: AIOKafkaProducer) -> None:
        async with asyncio.timeout(READY_S):
            while not self._answered.is_set():
                await self._send(producer, [(time.perf_counter(), -1)] * self._partitions)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._answered.wait(), 0.2)

    async def _until_all_back(self) -> None:
        end = time.perf_counter() + LATE_S
        # Coarse, since an asyncio.Event set per record would disturb what is measured.
        while len(self._back) < self._sent and time.perf_counter() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _send_at(self, producer: AIOKafkaProducer, rate: float, seconds: float) -> None:
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            due = int(passed * rate) if rate else len(self._back) + WINDOW
            if due > self._sent:
                first, self._sent = self._sent, due
                pace = 1.0 / rate if rate else passed / due
                await self._send(producer, [(began + number * pace, number) for number in range(first, due)])
            await asyncio.sleep(TICK_S)

    async def _send(self, producer: AIOKafkaProducer, events: Sequence[tuple[float, int]]) -> None:
        for index in range(self._partitions):
            batch = producer.create_batch()
            for due, number in events[index :: self._partitions]:
                key = f"{due:.6f}/{number}".encode()
                if batch.append(key=key, value=self._value, timestamp=None, headers=HEADERS) is None:
                    # Full, as after a stall of this process: what it refuses would be counted as sent and never be.
                    batch.close()
                    await producer.send_batch(batch, self._source, partition=index)
                    batch = producer.create_batch()
                    batch.append(key=key, value=self._value, timestamp=None, headers=HEADERS)
            if batch.record_count():
                batch.close()
                await producer.send_batch(batch, self._source, partition=index)

    async def _listen(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            fetched = await consumer.getmany(timeout_ms=200)
            now = time.perf_counter()
            for records in fetched.values():
                for record in records:
                    moment, _, number = record.key.partition(b"/")
                    due = float(moment)
                    if number != b"-1":
                        self._back.add(int(number))
                    if due >= self._counting_from:
                        self._waits.append(now - due)
            if fetched:
                self._answered.set()

    def _measured(self, seconds: float) -> Measured:
        waits = np.array(self._waits) * 1000.0
        p50, p99 = np.percentile(waits, [50, 99]).tolist()
        notes = {"p50": p50, "p99": p99, "max": float(waits.max()), "lost": float(self._sent - len(self._back))}
        return Measured(self._sent, seconds, time.process_time(), notes)


async def probe(kafka: str, source: str, target: str, rate: float, seconds: float, partitions: int = 4) -> Measured:
    """One :class:`Probe` run."""
    return await Probe(kafka, source, target, partitions).run(rate, seconds)


async def echo(kafka: str, source: str, target: str, group: str, seconds: float) -> Measured:
    """The bare thing that latency is held against: consume, produce the same bytes, wait for the acknowledgements, commit."""
    # The pipeline's own client settings, so that both pay for the same promises; only the group starts at the newest record.
    cluster = Cluster(kafka, "echo", KafkaSecurity(), KafkaOptions())
    consumer = AIOKafkaConsumer(source, **{**cluster.consumer_arguments(group), "auto_offset_reset": "latest"})
    producer = AIOKafkaProducer(**cluster.producer_arguments())
    await consumer.start()
    await producer.start()
    events, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        fetched = await consumer.getmany(timeout_ms=500, max_records=4096)
        if not fetched:
            continue
        sent = []
        for partition, records in fetched.items():
            batch = producer.create_batch()
            for record in records:
                if batch.append(key=record.key, value=record.value, timestamp=None, headers=HEADERS) is None:
                    sent.append(await producer.send_batch(batch, target, partition=partition.partition))
                    batch = producer.create_batch()
                    batch.append(key=record.key, value=record.value, timestamp=None, headers=HEADERS)
            sent.append(await producer.send_batch(batch, target, partition=partition.partition))
            events += len(records)
        await asyncio.gather(*sent)
        await consumer.commit()
    await consumer.stop()
    await producer.stop()
    return Measured(events, seconds, time.process_time())

"""What one writes first: ``async for`` over aiokafka, the model per event, ``send``, a commit now and then."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from loadtests.speed.peers.common import Peer

COMMIT_EVERY = 1000
MOST_BYTES = 2**19


async def main() -> None:
    """Consume, score, produce; wait for the acknowledgements before each commit."""
    peer = Peer()
    consumer = AIOKafkaConsumer(
        peer.source,
        bootstrap_servers=peer.kafka,
        group_id=peer.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=peer.kafka, acks="all", linger_ms=5, max_batch_size=MOST_BYTES)
    await consumer.start()
    await producer.start()
    await (by_batch if peer.batched else by_event)(peer, consumer, producer)


async def by_event(peer: Peer, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    """As the client's documentation begins."""
    sent = []
    async for record in consumer:
        sent.append(await producer.send(peer.target, peer.answer(record.key, record.value), key=record.key))
        last = peer.seen + 1 >= peer.events
        if last or len(sent) >= COMMIT_EVERY:
            await asyncio.gather(*sent)
            await consumer.commit()
            sent.clear()
        if peer.count():
            peer.finish()


async def by_batch(peer: Peer, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    """What somebody writes who knows the client well: ``getmany``, one run of the model, ``send_batch``, one commit."""
    while True:
        fetched = await consumer.getmany(timeout_ms=500, max_records=4096)
        sent = []
        for partition, records in fetched.items():
            answers = peer.answers([r.key for r in records], [r.value for r in records])
            batch = producer.create_batch()
            for record, answer in zip(records, answers, strict=True):
                if batch.append(key=record.key, value=answer, timestamp=None) is None:
                    sent.append(await producer.send_batch(batch, peer.target, partition=partition.partition))
                    batch = producer.create_batch()
                    batch.append(key=record.key, value=answer, timestamp=None)
            sent.append(await producer.send_batch(batch, peer.target, partition=partition.partition))
        await asyncio.gather(*sent)
        if fetched:
            await consumer.commit()
        if peer.count(sum(map(len, fetched.values()))):
            peer.finish()


if __name__ == "__main__":
    asyncio.run(main())

"""What one writes first: ``async for`` over aiokafka, the model per event, ``send``, a commit now and then."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from loadtests.speed.peers.common import Peer

COMMIT_EVERY = 1000


async def main() -> None:
    """Consume, score, produce; wait for the acknowledgements before each commit."""
    peer = Peer()
    consumer = AIOKafkaConsumer(
        peer.source,
        bootstrap_servers=peer.kafka,
        group_id=f"loop-{peer.target}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=peer.kafka, acks="all", linger_ms=5)
    await consumer.start()
    await producer.start()
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


if __name__ == "__main__":
    asyncio.run(main())

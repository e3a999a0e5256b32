"""Faust (faust-streaming): an agent that scores each event of a stream and sends the answer to a topic."""

from __future__ import annotations

import sys
from tempfile import mkdtemp

import faust

from loadtests.speed.peers.common import Peer


def main() -> None:
    """As its documentation shows: ``async for`` over events, ``topic.send``."""
    peer = Peer()
    app = faust.App(
        peer.group,
        broker=f"kafka://{peer.kafka}",
        store="memory://",
        datadir=mkdtemp(prefix="faust-"),
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        producer_acks=-1,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(peer.source, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    target = app.topic(peer.target, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def score(stream: faust.StreamT[bytes]) -> None:
        async for event in stream.events():
            await target.send(key=event.key, value=peer.answer(event.key, event.value))
            if peer.count():
                peer.finish()

    async def score_many(stream: faust.StreamT[bytes]) -> None:
        async for events in stream.take_events(1000, within=0.5):
            answers = peer.answers([event.key for event in events], [event.value for event in events])
            for event, answer in zip(events, answers, strict=True):
                await target.send(key=event.key, value=answer)
            if peer.count(len(events)):
                peer.finish()

    app.agent(source)(score_many if peer.batched else score)
    sys.argv = [sys.argv[0], "worker", "--loglevel", "error", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()

"""Quix Streams: a streaming data frame that scores each message and writes it to a topic."""

from __future__ import annotations

from typing import Any

from quixstreams import Application

from loadtests.speed.peers.common import Peer


def main() -> None:
    """As its documentation shows: ``apply`` with the key, ``to_topic``, ``run``; the last messages are flushed by its commit."""
    peer = Peer()
    app = Application(
        broker_address=peer.kafka,
        consumer_group=peer.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="ERROR",
    )
    source = app.topic(peer.source, key_deserializer="bytes", value_deserializer="bytes")
    target = app.topic(peer.target, key_serializer="bytes", value_serializer="bytes")

    def score(value: bytes, key: bytes, _timestamp: int, _headers: Any) -> bytes:
        answer = peer.answer(key, value)
        peer.count()
        return answer

    app.dataframe(source).apply(score, metadata=True).to_topic(target)
    app.run(count=peer.events)
    peer.finish()


if __name__ == "__main__":
    main()

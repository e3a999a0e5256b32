"""Bytewax: a data flow from a Kafka source through a map (or a map of batches) to a Kafka sink."""

from __future__ import annotations

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main

from loadtests.speed.peers.common import Peer


def main() -> None:
    """As its documentation shows; ``tail=False`` ends the flow at the end of the topic, when its sink is flushed."""
    peer = Peer()

    def score(message: KafkaSourceMessage[bytes, bytes]) -> KafkaSinkMessage[bytes, bytes]:
        answer = peer.answer(message.key, message.value)
        peer.count()
        return KafkaSinkMessage(message.key, answer)

    def score_many(messages: list[KafkaSourceMessage[bytes, bytes]]) -> list[KafkaSinkMessage[bytes, bytes]]:
        answers = peer.answers([m.key for m in messages], [m.value for m in messages])
        peer.count(len(messages))
        return [KafkaSinkMessage(m.key, answer) for m, answer in zip(messages, answers, strict=True)]

    flow = Dataflow("bench")
    stream = kop.input("in", flow, brokers=[peer.kafka], topics=[peer.source], tail=False, batch_size=1000)
    events = stream.oks
    scored = op.flat_map_batch("score", events, score_many) if peer.batched else op.map("score", events, score)
    kop.output("out", scored, brokers=[peer.kafka], topic=peer.target)
    cluster_main(flow, [], 0)
    peer.finish()


if __name__ == "__main__":
    main()

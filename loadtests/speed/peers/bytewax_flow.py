"""Bytewax: a data flow from a Kafka source through a map to a Kafka sink."""

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

    flow = Dataflow("bench")
    stream = kop.input("in", flow, brokers=[peer.kafka], topics=[peer.source], tail=False, batch_size=1000)
    kop.output("out", op.map("score", stream.oks, score), brokers=[peer.kafka], topic=peer.target)
    cluster_main(flow, [], 0)
    peer.finish()


if __name__ == "__main__":
    main()

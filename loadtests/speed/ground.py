"""What the speed benchmark stands on: one Apache Kafka broker and one Redis on loopback, each on a core of its own, and full topics."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import orjson
from numpy.typing import NDArray

from loadtests.speed.models import field_names, vectors
from scripts.kafka import Broker
from tiebreak.contracts import codec
from tiebreak.contracts.log import Block, Headers, Outputs, Partition
from tiebreak.contracts.messages import Event
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import Tensor
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.events.kafka import KafkaLog
from tiebreak.runtime.redis_server import Persistence, RedisServer

CHUNK = 4096
# Speed counts here, start time does not: the JVM may compile fully, and keep what it reads in memory.
BROKER_LINES = ("num.network.threads=1", "num.io.threads=2")


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the servers are, and a folder for files."""

    kafka: str
    redis: str
    folder: Path


@cache
def cores() -> tuple[int, int]:
    """The core of the servers and the core of what is measured: the same one where there is only one.

    As of the first call: who has pinned itself to one core since would find no other.
    """
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def free_cores() -> list[int]:
    """The cores that the servers do not have."""
    return sorted(os.sched_getaffinity(0))[1:]


def pin(core: int) -> None:
    """Keep this process, and the children it starts from now on, on one core."""
    os.sched_setaffinity(0, {core})


@contextmanager
def ground() -> Iterator[Ground]:
    """Start both servers on the first core; they are gone at the end, data and all.

    Redis as it is run beside Kafka (docs/adr/0027); ``REDIS_PERSISTENCE=always`` has it write to disk before every answer.
    """
    everywhere = os.sched_getaffinity(0)
    with TemporaryDirectory(prefix="tiebreak-speed-") as folder:
        broker = Broker(Path(folder) / "kafka", extra=BROKER_LINES)
        redis = RedisServer(Path(folder), persistence=Persistence(os.environ.get("REDIS_PERSISTENCE", "snapshots")))
        pin(cores()[0])
        try:
            broker.start()
            redis.start()
            # The servers stay where they were started; what is measured gets another core.
            os.sched_setaffinity(0, everywhere)
            yield Ground(broker.address, redis.url, Path(folder))
        finally:
            redis.stop()
            broker.stop()
            os.sched_setaffinity(0, everywhere)


async def fill(where: Ground, project: Project, events: int, kind: str) -> None:
    """Make the project's topics and put ``events`` events into ``events``, equally on all partitions. ``kind``: raw, json, protobuf."""
    log = KafkaLog(where.kafka)
    try:
        await log.ensure_topics(specs_for(project.project, project.partitions))
        writer = log.writer()
        await writer.start()
        topic = Topic.EVENTS.of(project.project)
        for start in range(0, events, CHUNK):
            count = min(CHUNK, events - start)
            blocks = blocks_of(topic, project.partitions, range(start, start + count), kind)
            await writer.publish(Outputs(blocks=blocks))
        await writer.close(10.0)
    finally:
        await log.close()


def blocks_of(topic: str, partitions: int, numbers: range, kind: str) -> list[Block]:
    """Events number ``numbers``, dealt out to the partitions."""
    rows = vectors(len(numbers), seed=numbers.start)
    keys = [f"event-{number:09d}".encode() for number in numbers]
    values, headers = encoded(rows, kind)
    return [
        Block(Partition(topic, index), keys[index::partitions], values[index::partitions], headers)
        for index in range(partitions)
    ]


def encoded(rows: NDArray[np.float32], kind: str) -> tuple[list[bytes], Headers]:
    """The values of events of one kind, and the headers they share."""
    if kind == "json":
        names = field_names()
        return [orjson.dumps(dict(zip(names, row, strict=True))) for row in rows.tolist()], codec.headers_for(
            codec.JSON
        )
    raw = [row.tobytes() for row in rows]
    if kind == "raw":
        return raw, codec.headers_for(codec.OCTETS)
    shape = rows.shape[1:]
    return [codec.encode(Event("", (Tensor("x", "FP32", shape, row),))) for row in raw], codec.headers_for(
        codec.PROTOBUF
    )


def fill_now(where: Ground, project: Project, events: int, kind: str) -> None:
    """:func:`fill` for callers without an event loop."""
    asyncio.run(fill(where, project, events, kind))

"""What deciding a batch costs without Kafka: processor time of the stream's handler over batches as the reader gives them.

``python -m loadtests.speed.handler [sizes]``, say ``32,280,2048``. Per size the least tenth of some hundred batches (other work on the
machine only adds), their median and the longest.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from rich.console import Console
from rich.table import Table

from loadtests.speed.ground import blocks_of
from loadtests.speed.models import SMALL_LAYERS, perceptron, project
from tiebreak.apps.stream import StreamHandler, serve_file
from tiebreak.contracts.columns import RecordColumns
from tiebreak.contracts.log import Batch, Block
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.events.kafka_columns import KeptRecords
from tiebreak.events.record_batches import columns_of
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.garbage import collect_rarely
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.sandbox import Sandbox
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.stage import Sampler
from tiebreak.scoring.stage import Scorer, Scoring

SIZES = (1, 32, 280, 2048)
EVENTS = 200_000  # per size, in at most MOST batches
MOST = 500
WARM = 100  # batches: logs and windows are full then


def read(block: Block, offset: int) -> RecordColumns:
    """The records of ``block`` as a fetch brings them, from this offset on."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 2**30)
    for number, (key, value) in enumerate(zip(block.keys, block.values, strict=True)):
        builder.append(number, timestamp=number, key=key, value=value, headers=list(block.headers))
    data = builder.build()
    data[:8] = offset.to_bytes(8, "big")
    kept = KeptRecords(bytes(data))
    kept.give_chunks()
    return columns_of(block.partition, list(kept.next_batch()))


def batches(made: Project, size: int, start: int, count: int) -> Iterator[Batch]:
    """Events number ``start`` and on, ``size`` per batch, dealt out to the partitions; their numbers are their offsets."""
    topic = Topic.EVENTS.of(made.project)
    for first in range(start, start + size * count, size):
        blocks = blocks_of(topic, made.partitions, range(first, first + size), "raw")
        yield {block.partition: read(block, first) for block in blocks if block.keys}


async def cost(handler: StreamHandler, asked: Sequence[Batch]) -> list[float]:
    """Milliseconds of processor time that deciding each batch takes."""
    took = []
    for batch in asked:
        began = time.process_time()
        await handler.handle(batch)
        took.append(1000.0 * (time.process_time() - began))
        await handler.committed({partition: records[-1].offset + 1 for partition, records in batch.items()})
    return took


async def main(sizes: Sequence[int]) -> None:
    """Measure each size and print the table."""
    table = Table(
        "events", "least tenth, ms", "median, ms", "longest, ms", "us per event", title="A batch in the handler"
    )
    with TemporaryDirectory(prefix="tiebreak-handler-") as folder:
        file = Path(folder) / "small.onnx"
        file.write_bytes(perceptron(SMALL_LAYERS))
        made = project("speed-handler", str(file))
        clock, metrics, sandbox = SystemClock(), Metrics("speed-handler"), Sandbox()
        scorer = Scorer(made, metrics, sandbox)
        sampler = Sampler(made, MemoryBudget(made), MemorySnapshots(), metrics, clock)
        await serve_file(scorer, made, clock)
        handler, start = StreamHandler(made, Scoring(made, scorer, metrics), sampler, clock), 0
        collect_rarely()
        for size in sizes:
            count = WARM + max(30, min(MOST, EVENTS // size))
            took = (await cost(handler, list(batches(made, size, start, count))))[WARM:]
            start += size * count
            least, middle, longest = np.percentile(took, [10, 50, 100]).tolist()
            table.add_row(f"{size:,}", *(f"{ms:.2f}" for ms in (least, middle, longest)), f"{1000 * least / size:.2f}")
        scorer.close()
        await sandbox.close()
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main([int(text) for text in sys.argv[1].split(",")] if len(sys.argv) > 1 else SIZES))

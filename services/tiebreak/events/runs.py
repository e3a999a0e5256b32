"""Outputs as runs: what an adapter writes is always "these records, to this partition, in this order"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tiebreak.contracts.log import Headers, Message, Outputs, Partition
from tiebreak.events.partitioner import partition_of


@dataclass(frozen=True, slots=True)
class Run:
    """Records for one partition as columns of equal length."""

    partition: Partition
    keys: Sequence[bytes]
    values: Sequence[bytes]
    headers: Sequence[Headers]

    def __len__(self) -> int:
        return len(self.keys)


def runs_of(outputs: Outputs, partitions: Callable[[str], int]) -> list[Run]:
    """``outputs`` as runs. Within a partition the order is: messages as given, then blocks as given.

    ``partitions`` tells how many a topic has; whatever it raises for an unknown topic passes through.
    """
    by_partition: dict[Partition, list[Message]] = {}
    for message in outputs.messages:
        index = message.partition
        if index is None:
            index = partition_of(message.key, partitions(message.topic))
        by_partition.setdefault(Partition(message.topic, index), []).append(message)
    runs = [
        Run(partition, [m.key for m in ms], [m.value for m in ms], [m.headers for m in ms])
        for partition, ms in by_partition.items()
    ]
    runs.extend(
        Run(b.partition, b.keys, b.values, [b.headers] * len(b.keys) if b.record_headers is None else b.record_headers)
        for b in outputs.blocks
    )
    return runs


def chunks(run: Run, max_records: int, max_bytes: int) -> Iterator[Run]:
    """``run`` cut where a chunk would pass ``max_records``, or ``max_bytes`` of keys and values.

    A record above ``max_bytes`` gets a chunk of its own: whether it is too large is the server's word, not ours.
    """
    start = size = 0
    for i, (key, value) in enumerate(zip(run.keys, run.values, strict=True)):
        own = len(key) + len(value)
        if i > start and (i - start >= max_records or size + own > max_bytes):
            yield _cut(run, start, i)
            start, size = i, 0
        size += own
    if start < len(run):
        yield _cut(run, start, len(run))


def _cut(run: Run, start: int, stop: int) -> Run:
    if start == 0 and stop == len(run):
        return run
    return Run(run.partition, run.keys[start:stop], run.values[start:stop], run.headers[start:stop])

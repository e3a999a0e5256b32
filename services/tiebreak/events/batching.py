"""How many records to take at once: as many as are there, as long as handling them stays quick and small. Pure.

A lone record never waits for company: a poll returns with the first record that is there. This is the other end: what a flood is
cut into. Large batches spread the fixed cost of a batch; beyond ``target_s`` there is nothing left to spread, and a larger batch
only makes every record in it wait, a commit come later and a crash repeat more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tiebreak.contracts.columns import JoinedColumns, parts_of
from tiebreak.contracts.log import Batch, Partition, Record

LEAST = 16
FIRST = 512  # until one batch has shown what a record costs: with a slow model, thousands would take seconds
MEMORY = 0.25  # weight of the newest batch in what a record costs
LOOKED_AT = 16  # records per partition whose bytes stand for all


@dataclass(frozen=True, slots=True)
class BatchLimit:
    """The limit for the next batch: at most ``most`` records, about ``target_s`` of handling and ``max_bytes`` of keys and values.

    >>> BatchLimit(4096).limit
    512
    >>> slow = BatchLimit(4096, target_s=0.1).observed(100, 10_000, 0.1)
    >>> slow.limit
    100
    """

    most: int
    target_s: float = 0.1
    max_bytes: int = 64 * 2**20
    record_s: float = 0.0
    record_bytes: float = 0.0

    @property
    def limit(self) -> int:
        """Records to poll for; from ``LEAST`` (or ``most``, where that is lower) to ``most``."""
        by_time = self.target_s / self.record_s if self.record_s > 0.0 else float(FIRST)
        by_bytes = self.max_bytes / self.record_bytes if self.record_bytes > 0.0 else float(self.most)
        least = min(LEAST if by_bytes >= LEAST else max(1.0, by_bytes), self.most)
        return int(max(least, min(float(self.most), by_time, by_bytes)))

    def observed(self, records: int, size: int, seconds: float) -> BatchLimit:
        """After a batch of ``records`` records and ``size`` bytes took ``seconds``.

        A small batch shows its fixed cost, not a record's: it may raise the limit, never lower it.
        """
        if records <= 0:
            return self
        each, bytes_each = seconds / records, size / records
        if records < LEAST and 0.0 < self.record_s < each:
            each = self.record_s
        return replace(
            self, record_s=_follow(self.record_s, each), record_bytes=_follow(self.record_bytes, float(bytes_each))
        )


def _follow(before: float, now: float) -> float:
    return now if before == 0.0 else before + MEMORY * (now - before)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of several that were polled one after the other: each partition's records in order."""
    together: dict[Partition, list[Sequence[Record]]] = {}
    for batch in batches:
        for partition, records in batch.items():
            together.setdefault(partition, []).append(records)
    return {partition: _in_a_row(parts) for partition, parts in together.items()}


def _in_a_row(parts: Sequence[Sequence[Record]]) -> Sequence[Record]:
    if len(parts) == 1:
        return parts[0]
    columns = [parts_of(records) for records in parts]
    known = [each for each in columns if each is not None]
    if len(known) == len(columns):
        return JoinedColumns([part for each in known for part in each])
    return [record for records in parts for record in records]


def size_of(batch: Batch) -> int:
    """About how many bytes of keys and values a batch holds: counted where the columns say it, else from the first records."""
    return int(sum(_size(records) for records in batch.values() if records))


def _size(records: Sequence[Record]) -> float:
    parts = parts_of(records)
    if parts is not None:
        return sum(part.size for part in parts)
    some = records[:LOOKED_AT]
    return len(records) * sum(len(r.key or b"") + len(r.value or b"") for r in some) / len(some)

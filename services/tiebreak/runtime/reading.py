"""Reading a log up to an end: the one rule by which a reader is there."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tiebreak.contracts.errors import Unreachable
from tiebreak.contracts.log import Batch, Partition, Positions, Reader

_BATCH = 1000
_POLL_S = 0.5
_PATIENCE_S = 15.0


def short_of(reader: Reader, ends: Positions) -> dict[Partition, int]:
    """Those of ``ends`` that ``reader`` has still to come to.

    Where it stands decides, not which record came last: the mark of a transaction is no record and may be the last thing there is,
    and retention may have left nothing at all.
    """
    read = reader.positions()
    return {partition: end for partition, end in ends.items() if read.get(partition, 0) < end}


async def up_to(reader: Reader, ends: Positions) -> AsyncIterator[Batch]:
    """What ``reader`` has until it stands at ``ends``; the last batches may go beyond.

    Raises Unreachable once it has not moved for a while: half of what is there must not be taken for all of it.
    """
    idle = 0
    while left := short_of(reader, ends):
        before = reader.positions()
        yield await reader.poll(_BATCH, _POLL_S)
        idle = 0 if reader.positions() != before else idle + 1
        if idle * _POLL_S >= _PATIENCE_S:
            raise stuck(reader, left)


def stuck(reader: Reader, left: Positions) -> Unreachable:
    """The one line for a log that does not give what it says it has, up to ``left``."""
    partition, end = min(left.items())
    return Unreachable(
        f"{partition.topic}/{partition.index} ends at {end} and can be read to {reader.positions().get(partition, 0)} only.",
        fix="Somebody's open transaction holds the rest back until it ends (`kafka-transactions.sh` lists and aborts them),"
        " or the broker is not well.",
    )

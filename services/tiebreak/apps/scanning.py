"""Reading topics outside a stage: all that is there, or what comes from now on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import structlog

from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.log import Log, Record
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.reading import up_to

T = TypeVar("T")
_log = structlog.get_logger("tiebreak")

_MAX_RECORDS = 2000
_POLL_S = 0.5
_CLOSE_S = 2.0


async def scan(log: Log, project: str, topics: Sequence[Topic]) -> AsyncIterator[Record]:
    """Every record that is there now, in order within each partition.

    Raises ConfigError when a topic is missing, Unreachable when the log does not give all that it says it has.
    """
    reader = log.reader([topic.of(project) for topic in topics], None)
    await reader.start()
    try:
        async for batch in up_to(reader, await reader.end_positions()):
            for records in batch.values():
                for record in records:
                    yield record
    finally:
        await reader.close(_CLOSE_S)


async def tail(log: Log, project: str, topic: Topic) -> AsyncIterator[Record]:
    """Every record from now on, for ever."""
    reader = log.reader([topic.of(project)], None)
    await reader.start()
    try:
        reader.seek(await reader.end_positions())
        while True:
            for records in (await reader.poll(_MAX_RECORDS, _POLL_S)).values():
                for record in records:
                    yield record
    finally:
        await reader.close(_CLOSE_S)


def readable(decode: Callable[[bytes | None], T], record: Record) -> T | None:
    """The message in ``record``, or None where it cannot be read: a listing goes on without it, and the log says which it was."""
    try:
        return decode(record.value)
    except BadRecord as bad:
        where = f"{record.topic}/{record.partition}/{record.offset}"
        _log.warning("a record cannot be read", at=where, why=bad.detail)
        return None

"""Reads a run back from its topics while it goes on."""

from __future__ import annotations

import asyncio

from tiebreak.apps.demo.recording import Recording
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import Unreachable
from tiebreak.contracts.log import Log
from tiebreak.contracts.topics import Topic

TOPICS = (
    Topic.PREDICTIONS,
    Topic.TASKS,
    Topic.ANNOTATIONS,
    Topic.LABELS,
    Topic.MODELS,
    Topic.DRIFT,
    Topic.DEAD,
)
_MAX_RECORDS = 2000
_POLL_S = 0.25
_RETRY_S = 0.5
_CLOSE_S = 2.0


async def follow(log: Log, project: str, recording: Recording, clock: Clock, stop: asyncio.Event) -> None:
    """Take every record of the project's topics, oldest first, until ``stop``."""
    reader = log.reader([topic.of(project) for topic in TOPICS], None)
    await reader.start()
    try:
        while not stop.is_set():
            try:
                batch = await reader.poll(_MAX_RECORDS, _POLL_S)
            except Unreachable:
                await clock.sleep(_RETRY_S)
                continue
            for records in batch.values():
                for record in records:
                    recording.take(record)
    finally:
        await reader.close(_CLOSE_S)

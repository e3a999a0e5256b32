"""Follow topic ``labels`` from now on: what came back of the questions, for the sampler's detectors and its bandit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import decode_label
from tiebreak.contracts.errors import BadRecord, PositionLost, Unreachable
from tiebreak.contracts.log import Batch, Reader
from tiebreak.contracts.messages import Label

_MAX_RECORDS = 500
_POLL_S = 0.5
_RETRY_S = 1.0


class LabelFollower:
    """Tells ``heard`` of each label of the project that settles while this runs. ``reader`` has no group: every replica hears all.

    It begins at the end. What settled before is in the snapshot of whoever heard it: heard twice, old errors would look like new ones.
    """

    def __init__(self, project: str, reader: Reader, heard: Callable[[Label], None], clock: Clock) -> None:
        self._project, self._reader, self._heard, self._clock = project, reader, heard, clock
        # Set once the end is known: labels that settle from then on are heard.
        self.following = asyncio.Event()
        self._log = structlog.get_logger().bind(stage="sampling", project=project)

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set. A silent log is waited for; a record that is no label is the trainer's to set aside."""
        await self._reader.start()
        try:
            self._reader.seek(await self._reader.end_positions())
            self.following.set()
            while not stop.is_set():
                await self._turn()
        finally:
            await self._reader.close(_RETRY_S)

    async def _turn(self) -> None:
        try:
            self._tell(await self._reader.poll(_MAX_RECORDS, _POLL_S))
        except Unreachable as error:
            self._log.warning("labels_unreachable", error=str(error))
            await self._clock.sleep(_RETRY_S)
        except PositionLost:
            self._reader.seek(await self._reader.end_positions())

    def _tell(self, batch: Batch) -> None:
        for records in batch.values():
            for record in records:
                try:
                    label = decode_label(record.value)
                except BadRecord:
                    continue
                if label.project == self._project:
                    self._heard(label)

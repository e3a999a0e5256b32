"""Bring what this replica counts of a rollout to topic ``models``, where the deployer adds it up."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import PROTOBUF, encode, headers_for
from tiebreak.contracts.comparison import Comparison, comparison_to_json
from tiebreak.contracts.errors import PublishFailed, Unreachable
from tiebreak.contracts.log import Message, Outputs, Writer
from tiebreak.contracts.messages import ModelEvent, ModelRecord
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.scoring.stage import Scorer

_EVERY_S = 1.0
_CLOSE_S = 1.0
_log = structlog.get_logger(__name__)


class Comparing:
    """Publishes a scorer's counts about once a second while a rollout is under way. Counts lost in a crash cost time, nothing else."""

    def __init__(self, project: Project, scorer: Scorer, writer: Writer, clock: Clock) -> None:
        self._project, self._scorer, self._writer, self._clock = project, scorer, writer, clock

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set."""
        await self._writer.start()
        try:
            while not stop.is_set():
                await self.publish()
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _EVERY_S)
        finally:
            await self._writer.close(_CLOSE_S)

    async def publish(self) -> None:
        """One record, if anything was counted."""
        trial, found = self._scorer.trial, self._scorer.take_comparison()
        if trial is None or found == Comparison():
            return
        record = ModelRecord(
            project=self._project.project,
            version=trial.version,
            event=ModelEvent.COMPARED,
            sha256="",
            parent=self._scorer.version,
            dataset_version=0,
            reasons=(),
            report=comparison_to_json(found),
            decided_by="",
            time_ms=int(self._clock.wall() * 1000),
            share=trial.share,
        )
        topic, key = Topic.MODELS.of(self._project.project), self._project.project.encode()
        try:
            await self._writer.publish(Outputs([Message(topic, key, encode(record), headers_for(PROTOBUF))]))
        except (PublishFailed, Unreachable) as error:
            _log.warning("a comparison was not published", error=str(error))

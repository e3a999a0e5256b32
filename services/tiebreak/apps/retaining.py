"""The timers of `privacy.retention`: what is due goes on the audit trail, and every store heeds it from there.

`tiebreak label` and `tiebreak train` run them, any number at once: what one has put there the others leave.
"""

from __future__ import annotations

import asyncio

import structlog

from tiebreak.contracts.audit import Action
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import TiebreakError
from tiebreak.contracts.project import Project
from tiebreak.contracts.retention import order_of
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.tasks import pause

ACTOR = "retention"
_EVERY_S = 60.0
_log = structlog.get_logger(__name__)


class Timers:
    """Those of one project. Without any, they do nothing and need no log."""

    def __init__(self, project: Project, trail: AuditTrail, clock: Clock, metrics: Metrics) -> None:
        self._retention = project.privacy.retention
        self._trail = trail
        self._clock = clock
        self._metrics = metrics
        self._ordered: dict[Topic, int] = {}

    async def order(self) -> None:
        """Put on the trail what is due and not there yet. Raises Unreachable, PublishFailed or SlowDown: again then."""
        due = self._retention.horizons(self._clock.wall())
        for topic, before_ms in due.items():
            if before_ms <= self._ordered.get(topic, 0):
                continue
            await self._trail.ensure_topic()
            await self._trail.append_once(ACTOR, Action.RETENTION_ENDED, topic.value, order_of(before_ms))
            self._ordered[topic] = before_ms
            self._metrics.set("tiebreak_runtime_retention_horizon_seconds", before_ms / 1000, what=topic.value)

    async def run(self, stop: asyncio.Event) -> None:
        """Once a minute until ``stop``. A trail that cannot take it is asked again."""
        while not stop.is_set():
            try:
                await self.order()
            except TiebreakError as error:
                _log.warning("retention_postponed", error=str(error))
            await pause(stop, _EVERY_S)

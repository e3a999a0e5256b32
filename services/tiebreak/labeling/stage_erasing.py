"""The queue forgets whoever the audit trail says was erased, and whatever it says is too old: by itself, in every process.

The order is what makes it complete. The trail has the erasure first. Then nothing about the person is taken in any more, and only
then are their tasks looked for on ``tasks``: whatever had been taken in before is there by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing

import structlog

from tiebreak.contracts.codec import peek
from tiebreak.contracts.erasure import erased_in, is_erased
from tiebreak.contracts.errors import BadRecord, TiebreakError
from tiebreak.contracts.log import Log
from tiebreak.contracts.messages import Task
from tiebreak.contracts.retention import horizons_in
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.port import LabelingQueue
from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.refusals import building
from tiebreak.labeling.stage_reading import records_of
from tiebreak.labeling.stage_retention import Horizons, Retainer
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.tasks import pause

AFTER_S = 10.0
_AGAIN_S = 1.0
_log = structlog.get_logger("tiebreak.labeling")


class Eraser:
    """Erases people from the queue of one project. Any number may run, and all may be repeated.

    What comes on the trail is left for ``after_s`` to whoever put it there: they tell what was found, and may have died since.
    """

    def __init__(
        self,
        project: str,
        queue: LabelingQueue,
        log: Log,
        trail: AuditTrail,
        after_s: float = AFTER_S,
        metrics: Metrics | None = None,
    ) -> None:
        self._project = project
        self._queue = queue
        self._log = log
        self._trail = trail
        self._after_s = after_s
        self._retainer = Retainer(queue, metrics)
        self.horizons = Horizons()
        """What has been ended, as far as :meth:`run` has come."""

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the trail until ``stop``. A log or a queue that does not answer is asked again; nobody is passed over."""
        while not stop.is_set():
            try:
                async with aclosing(self._trail.follow(stop)) as news:
                    async for records in news:
                        await self._heed(erased_in(records), stop)
                        await self._end(horizons_in(records))
            except TiebreakError as error:
                _log.warning("erasure_postponed", error=str(error))
                await pause(stop, _AGAIN_S)

    async def erase(self, subjects: Collection[str]) -> Erased:
        """Erase these people (``contracts.erasure.subject_digest``), who are on the trail already; what was found and removed.

        Raises SlowDown while the queue is built, and Unreachable: repeat it then, or leave it to whoever follows the trail.
        """
        if not await self._queue.is_built():
            raise building()
        known = sorted(subjects)
        await self._queue.begin_erasure(known)
        found = await self._queue.erase(await self._tasks_about(frozenset(known)))
        await self._queue.end_erasure(known)
        return found

    async def _heed(self, subjects: AbstractSet[str], stop: asyncio.Event) -> None:
        if not subjects - await self._queue.erased():
            return
        await pause(stop, self._after_s)
        left = subjects - await self._queue.erased()
        if left and not stop.is_set():
            found = await self.erase(left)
            _log.info("people_erased", people=len(left), tasks=found.tasks, answers=found.answers, lines=found.lines)

    async def _end(self, horizons: Mapping[Topic, int]) -> None:
        self.horizons.heed(horizons)
        found = await self._retainer.reach(self.horizons.known)
        if found != Erased():
            _log.info("retention_ended", tasks=found.tasks, answers=found.answers, lines=found.lines)

    async def _tasks_about(self, subjects: AbstractSet[str]) -> list[str]:
        """Every task that was ever asked about them, gold and its copies included."""
        found: dict[str, None] = {}
        async for record in records_of(self._log, Topic.TASKS.of(self._project)):
            try:
                task_id, project, subject = peek(Task, record.value, "task_id", "project", "subject")
            except BadRecord:
                continue  # the intake has put it on `dead`
            if project == self._project and is_erased(project, subject, subjects):
                found[task_id] = None
        return list(found)

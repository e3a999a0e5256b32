"""The queue's part of `privacy.retention`: what is older than the horizons on the audit trail leaves it, whatever state it is in.

It is looked for in the queue itself, not on `tasks`: the log may have let go of a record whose task is here still.
"""

from __future__ import annotations

from collections.abc import Mapping

from tiebreak.contracts.messages import Task
from tiebreak.contracts.retention import later
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.port import LabelingQueue
from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.refusals import building
from tiebreak.runtime.metrics import Metrics

_PAGE = 500


def is_past(task: Task, before_ms: int) -> bool:
    """Whether its time is over. What has no time of its own (gold of the project file) is about nobody, and stays."""
    return 0 < task.created_ms < before_ms


class Horizons:
    """What the audit trail has ended, as far as this process has read it: who follows the trail tells, everybody else asks."""

    def __init__(self) -> None:
        self._known: Mapping[Topic, int] = {}

    @property
    def known(self) -> Mapping[Topic, int]:
        """The newest horizon of each topic."""
        return self._known

    def heed(self, new: Mapping[Topic, int]) -> None:
        """These came on the trail."""
        self._known = later(self._known, new)

    def ends(self, task: Task) -> bool:
        """:func:`is_past`, by the trail."""
        return is_past(task, self._known.get(Topic.TASKS, 0))


class Retainer:
    """Brings one queue to the horizons it is told. Any number may run: what is gone is gone."""

    def __init__(self, queue: LabelingQueue, metrics: Metrics | None = None) -> None:
        self._queue = queue
        self._metrics = metrics
        self._reached: dict[Topic, int] = {}

    async def reach(self, horizons: Mapping[Topic, int]) -> Erased:
        """Remove what is older, where a horizon has moved; what was found. Raises SlowDown while the queue is built: again then."""
        found = Erased()
        if not any(self._moved(topic, horizons) for topic in (Topic.TASKS, Topic.ANNOTATIONS)):
            return found
        if not await self._queue.is_built():
            raise building()
        if self._moved(Topic.TASKS, horizons):
            # In slices, so that nobody waits for it, whatever there is.
            old = await self._old(horizons[Topic.TASKS])
            for i in range(0, len(old), _PAGE):
                found += await self._queue.erase(old[i : i + _PAGE])
            self._reach(Topic.TASKS, horizons, found.tasks)
        if self._moved(Topic.ANNOTATIONS, horizons):
            said = await self._queue.forget_before(horizons[Topic.ANNOTATIONS])
            found += said
            self._reach(Topic.ANNOTATIONS, horizons, said.answers + said.lines)
        return found

    def _moved(self, topic: Topic, horizons: Mapping[Topic, int]) -> bool:
        return horizons.get(topic, 0) > self._reached.get(topic, 0)

    def _reach(self, topic: Topic, horizons: Mapping[Topic, int], removed: int) -> None:
        self._reached[topic] = horizons[topic]
        if self._metrics is not None:
            self._metrics.count("tiebreak_labeling_retention_removed_total", removed, what=topic.value)

    async def _old(self, before_ms: int) -> list[str]:
        old = {piece.task_id for piece in await self._queue.gold() or () if is_past(piece, before_ms)}
        cursor = -1
        while cursor:
            page = await self._queue.page(max(cursor, 0), _PAGE)
            old |= {task.task_id for task in page.tasks if is_past(task, before_ms)}
            cursor = page.cursor
        return sorted(old)

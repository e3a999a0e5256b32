"""What the log knows when the queue has forgotten it: people's answers, and settled tasks with all that was said about them.

Each question reads whole topics: seconds per million records. It is for deeds that are rare.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.log import Log, Record
from tiebreak.contracts.messages import Annotation, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.retention import horizons_in
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.settling import Remembered, remembered
from tiebreak.labeling.stage_reading import annotation_of, records_of, task_of
from tiebreak.labeling.stage_retention import is_past
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.together import Together

_MOST = 10_000


class Recall:
    """Reads the topics of one project from their beginning. Every method raises Unreachable when they stop coming.

    What ``trail`` has ended is not known any more, though the log may have it still.
    """

    def __init__(self, project: Project, log: Log, trail: AuditTrail) -> None:
        self._project = project
        self._log = log
        self._trail = trail
        self._remembering = Together(self._remember, _MOST)

    async def task(self, task_id: str) -> Remembered | None:
        """A task and its answers; None where `tasks` has no such task, or its time is over.

        What is asked for meanwhile shares the next reading.
        """
        return await self._remembering.ask(task_id)

    async def answer(self, annotation_id: str) -> Annotation | None:
        """The newest revision of an answer."""
        wanted = annotation_id.encode()
        found = [
            a async for a in self._annotations(lambda r: wanted in (r.value or b"")) if a.annotation_id == annotation_id
        ]
        return max(found, key=lambda a: a.revision, default=None)

    async def answers_of(self, person: str) -> Sequence[Annotation]:
        """All that a person said, every revision of it, oldest first."""
        wanted = person.encode()
        said = [a async for a in self._annotations(lambda r: wanted in (r.value or b"")) if a.annotator == person]
        return sorted(said, key=lambda a: (a.submitted_ms, a.annotation_id, a.revision))

    async def _remember(self, task_ids: Sequence[str]) -> Sequence[Remembered | None]:
        wanted = {task_id.encode() for task_id in task_ids}
        tasks: dict[str, Task] = {}
        horizons = horizons_in(await self._trail.sound())
        before_ms, said_before_ms = horizons.get(Topic.TASKS, 0), horizons.get(Topic.ANNOTATIONS, 0)
        async for record in records_of(self._log, Topic.TASKS.of(self._project.project)):
            task = self._task(record) if record.key in wanted else None
            if task is not None and not task.withdrawn_by and not is_past(task, before_ms):
                tasks.setdefault(task.task_id, task)  # the queue keeps the first, too
        answers: dict[str, list[Annotation]] = {}
        async for a in self._annotations(lambda r: r.key in wanted):
            if a.submitted_ms >= said_before_ms:
                answers.setdefault(a.task_id, []).append(a)
        return [remembered(tasks[i], answers.get(i, ())) if i in tasks else None for i in task_ids]

    async def _annotations(self, may_be: Callable[[Record], bool]) -> AsyncIterator[Annotation]:
        async for record in records_of(self._log, Topic.ANNOTATIONS.of(self._project.project)):
            if may_be(record):  # to decode all of them would take most of the time
                try:
                    yield annotation_of(record, self._project)
                except BadRecord:
                    continue  # on `dead` since the settler read it

    def _task(self, record: Record) -> Task | None:
        try:
            return task_of(record, self._project)
        except BadRecord:
            return None

"""After a promotion: waiting tasks scored anew, a page at a time, so that nobody is asked what the new model knows.

One process of a project does it: whoever owns the one partition of ``models`` in the group. Nothing is committed. Who takes over
begins again with the champion, which changes nothing that was done already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import PROTOBUF, decode_model, encode, headers_for
from tiebreak.contracts.errors import BadRecord, PublishFailed, SlowDown, Unreachable
from tiebreak.contracts.log import Batch, Log, Message, Outputs, Reader, Writer
from tiebreak.contracts.messages import ModelEvent, Reason, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.port import Queue

_DECIDES = frozenset({ModelEvent.PROMOTED, ModelEvent.ROLLED_BACK})
# Chosen since the model was unsure. An audit task stays whatever a model thinks of it, or the audit would flatter that model.
_UNSURE = frozenset({Reason.UNCERTAIN, Reason.BURST})
_RECORDS = 500
_POLL_S = 0.5
_AGAIN_S = 0.5
_CLOSE_S = 5.0
_PAGE = 128
_REST = 4.0  # at most a fifth of a core: people wait for the same process

_log = structlog.get_logger("tiebreak.labeling")

Opinion = Callable[[Sequence[Task]], Sequence[float | None]]
"""A model's utility of each task, of the kind that ``selection.uncertainty`` is; None where it cannot say. May take its time."""


class Opinions(Protocol):
    """Where a model's opinion is had."""

    async def of(self, version: str) -> Opinion | None:
        """None: this version has none about tasks, or is not there any more."""


@dataclass(slots=True)
class _Pass:
    """One way through the queue. ``began``: the champion at its first page; a later one takes over in its middle."""

    began: str
    version: str
    opinion: Opinion
    cursor: int = 0
    seen: int = 0
    withdrawn: int = 0


class Rescorer:
    """Follows topic ``models``. Raises nothing: a log, a queue or a store that does not answer is asked again."""

    def __init__(self, project: Project, queue: Queue, log: Log, opinions: Opinions, clock: Clock) -> None:
        self._project = project
        self._queue = queue
        self._log = log
        self._opinions = opinions
        self._clock = clock
        self._champion = ""
        self._done = ""
        self._pass: _Pass | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``."""
        name = self._project.project
        reader = self._log.reader([Topic.MODELS.of(name)], f"tiebreak.{name}.rescoring")
        writer = self._log.writer()
        await reader.start()
        await writer.start()
        try:
            while not stop.is_set():
                try:
                    await self._turn(reader, writer)
                except (Unreachable, SlowDown, PublishFailed) as error:
                    _log.info("rescoring_postponed", error=str(error))
                    await self._clock.sleep(_AGAIN_S)
        finally:
            await writer.close(_CLOSE_S)
            await reader.close(_CLOSE_S)

    async def _turn(self, reader: Reader, writer: Writer) -> None:
        batch = await reader.poll(_RECORDS, 0.0 if self._pass else _POLL_S)
        self._hear(batch)
        if batch:
            return  # the newest decision may be further on
        if self._champion != (self._pass.version if self._pass else self._done):
            await self._take_over(self._champion)
        if self._pass is not None:
            began = self._clock.monotonic()
            await self._page(self._pass, writer)
            await self._clock.sleep(_REST * (self._clock.monotonic() - began))

    def _hear(self, batch: Batch) -> None:
        for records in batch.values():
            for record in records:
                try:
                    said = decode_model(record.value)
                except BadRecord:
                    continue  # the scorers say so
                if said.project == self._project.project and said.event in _DECIDES:
                    self._champion = said.version

    async def _take_over(self, version: str) -> None:
        opinion = await self._opinions.of(version)
        if opinion is None:
            self._done, self._pass = version, None
        elif self._pass is None:
            self._pass = _Pass(version, version, opinion)
        else:
            # From the beginning, the end of a long queue would never be reached while models follow one another.
            self._pass.version, self._pass.opinion = version, opinion

    async def _page(self, going: _Pass, writer: Writer) -> None:
        page = await self._queue.page(going.cursor, _PAGE)
        tasks = [task for task in page.tasks if _is_open_to_it(task, going.version)]
        utilities = await asyncio.to_thread(going.opinion, tasks)
        known = [(task, float(utility)) for task, utility in zip(tasks, utilities, strict=True) if utility is not None]
        below = self._project.labeling.decided_below
        decided = [task for task, utility in known if utility < below * task.selection.threshold]
        topic = Topic.TASKS.of(self._project.project)
        if decided:
            # The intake takes them back, here and after a loss of the queue: what it reads is all that happened.
            gone = [replace(task, withdrawn_by=going.version) for task in decided]
            messages = [Message(topic, t.task_id.encode(), encode(t), headers_for(PROTOBUF)) for t in gone]
            await writer.publish(Outputs(messages=messages))
        left = {task.task_id for task in decided}
        await self._queue.rerank([replace(t, priority=u) for t, u in known if t.task_id not in left])
        going.cursor, going.seen, going.withdrawn = page.cursor, going.seen + len(known), going.withdrawn + len(decided)
        if not page.cursor:
            _log.info("waiting_tasks_rescored", version=going.version, tasks=going.seen, decided=going.withdrawn)
            self._done, self._pass = going.began, None


def _is_open_to_it(task: Task, version: str) -> bool:
    chosen = task.selection
    return (
        not (chosen.audit or task.gold or task.audience)
        and chosen.reason in _UNSURE
        and chosen.model_version != version
        and bool(task.features)
    )

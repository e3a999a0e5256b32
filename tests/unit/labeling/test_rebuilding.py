"""A rebuild of a long log: it goes through whatever the reading takes, says how far it is, and looks at everything that counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from tests.support.eventually import eventually
from tests.support.labeling import CALM, a_project, a_task, annotation
from tests.support.labeling_api import Office, open_office
from tiebreak.contracts.codec import encode
from tiebreak.contracts.ids import label_id
from tiebreak.contracts.log import Batch, Message, Outputs, RebalanceListener
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, LabelMethod, Task, Vote
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.events.memory import MemoryLog
from tiebreak.events.stage_reader import LeasedReader
from tiebreak.labeling.lifecycle import BUILDER_MS
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.port import Receipt, Stats
from tiebreak.labeling.stage import annotation_message
from tiebreak.labeling.stage_rebuild import Rebuilder
from tiebreak.runtime.clock import ManualClock, SystemClock

LEFT = "tiebreak_labeling_rebuild_left_records"


class _SlowReader(LeasedReader):
    """Each batch takes most of the time that a silent builder has."""

    clock: ManualClock

    async def poll(self, max_records: int, timeout_s: float) -> Batch:
        self.clock.advance(0.8 * BUILDER_MS / 1000)
        return await super().poll(max_records, timeout_s)


class _SlowLog(MemoryLog):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def reader(
        self, topics: Sequence[str], group: str | None, listener: RebalanceListener | None = None
    ) -> LeasedReader:
        assert listener is None
        reader = _SlowReader(self._store, topics, group, self._lease)
        reader.clock = self._clock
        return reader


def an_answer(task: Task, name: str, value: str = "cat", *, revision: int = 1, **changes: object) -> Annotation:
    """As the log has it."""
    state = AnnotationState.SUBMITTED if value else AnnotationState.WITHDRAWN
    receipt = Receipt(revision, state, 7, task.created_ms + 1, task.created_ms + 2, True, False)
    return replace(annotation(task, name, receipt, value), **changes)  # type: ignore[arg-type]  # fields of Annotation


def a_label(task: Task, *counted: Annotation) -> Label:
    """What these answers, all the same, settled."""
    return Label(
        label_id=label_id(task.task_id),
        task_id=task.task_id,
        event_id=task.event_id,
        project=task.project,
        revision=1,
        value=counted[0].value,
        distribution={counted[0].value: 1.0},
        confidence=1.0,
        method=LabelMethod.CONSENSUS,
        votes=tuple(Vote(a.annotation_id, a.annotator, a.value, a.revision, 1.0) for a in counted),
        features=task.features,
        selection=task.selection,
        predicted=task.predicted,
        event_time_ms=task.event_time_ms,
        settled_ms=task.created_ms + 3,
        schema_version=1,
    )


async def _publish(
    office: Office, tasks: Sequence[Task], answers: Sequence[Annotation], labels: Sequence[Label]
) -> None:
    await office.publish_tasks(*tasks)
    topic = Topic.LABELS.of(office.project.project)
    messages = [annotation_message(a) for a in answers]
    messages += [Message(topic, x.task_id.encode(), encode(x)) for x in labels]
    await office.log.writer().publish(Outputs(messages=messages))


class _Watched(MemoryQueue):
    """Somebody looks on, or does something, each time that its builder says they are still there: at each batch of a log."""

    looks = 0
    on_look: Callable[[int], Awaitable[None]] | None = None

    async def keep(self) -> None:
        self.looks += 1
        if self.on_look is not None:
            await self.on_look(self.looks)
        await super().keep()


async def _an_office(project: Project | None = None) -> Office:
    project = project or a_project()
    return await open_office(project, _Watched(project, SystemClock(), CALM))


async def _rebuilt(office: Office, on_look: Callable[[int], Awaitable[None]] | None = None) -> MemoryQueue:
    queue = office.queue
    assert isinstance(queue, _Watched)
    queue.on_look = on_look
    queue.lose()
    assert await office.rebuilder().ensure()
    return queue


async def test_a_rebuild_goes_through_however_long_its_topics_are() -> None:
    """Reading takes many times as long as a silent builder has, and nobody else becomes it; the metric falls to nothing."""
    project, clock = a_project(), ManualClock(wall=time.time())
    log, queue = _SlowLog(clock), MemoryQueue(project, clock, CALM)
    await log.ensure_topics(specs_for(project.project, 2))
    office = replace(await open_office(project, queue), log=log)
    tasks = [a_task(number) for number in range(1500)]
    answers = [an_answer(task, "ann") for task in tasks[:1200]]
    labels = [a_label(task, a) for task, a in zip(tasks, answers, strict=False)]
    await _publish(office, tasks, answers, labels)
    queue.lose()
    began = clock.wall()
    with structlog.testing.capture_logs() as lines:
        assert await Rebuilder(project, queue, log, office.metrics, office.trail()).ensure()
    assert clock.wall() - began > 4 * BUILDER_MS / 1000
    assert await queue.stats() == Stats(300, 300, 0, 0)
    assert {"event": "queue_rebuilt", "settled": 1200, "tasks": 300, "answers": 0}.items() <= lines[-1].items()
    assert office.metrics.registry.get_sample_value(LEFT, {"project": project.project}) == 0.0


async def test_what_is_left_to_read_is_told_before_each_batch() -> None:
    """Answers twice, labels and tasks once: the line in the log counts down."""
    office = await _an_office()
    tasks = [a_task(number) for number in range(20)]
    answers = [an_answer(task, "ann") for task in tasks]
    await _publish(office, tasks, answers, [a_label(task, a) for task, a in zip(tasks, answers, strict=True)])
    told: list[float] = []

    async def look(_: int) -> None:
        told.append(office.metrics.registry.get_sample_value(LEFT, {"project": "pets"}) or 0.0)

    await _rebuilt(office, look)
    assert told == sorted(told, reverse=True)
    assert told[0] >= 60.0


async def test_who_is_the_builder_no_more_has_nothing_left_to_read() -> None:
    """Redis forgets everything once more and somebody else begins: what the first one says of its own reading is over."""
    office = await _an_office()
    queue = office.queue
    assert isinstance(queue, _Watched)
    tasks = [a_task(number) for number in range(20)]
    await _publish(office, tasks, [an_answer(task, "ann") for task in tasks], [])
    told: list[float] = []

    def left() -> float:
        return office.metrics.registry.get_sample_value(LEFT, {"project": "pets"}) or 0.0

    async def lose(_: int) -> None:
        told.append(left())
        queue.lose()
        assert await queue.begin_build() is not None

    queue.on_look = lose
    queue.lose()
    stop = asyncio.Event()
    running = asyncio.create_task(office.rebuilder().run(stop))
    await eventually(lambda: bool(told) and left() == 0.0, 5.0)
    stop.set()
    await running
    assert told == [40.0]


async def test_only_answers_that_may_end_a_label_are_looked_at_again() -> None:
    """Of settled tasks: one taken back after its label opens the task, a reviewer's other word overturns it, the rest stays settled."""
    office = await _an_office()
    tasks = [a_task(number) for number in range(4)]
    first = [an_answer(task, "ann") for task in tasks]
    undone = an_answer(tasks[1], "ann", "", revision=2)
    word = an_answer(tasks[2], "rev", "dog", reviewer=True)
    another = an_answer(tasks[3], "bob", "dog")
    labels = [a_label(task, a) for task, a in zip(tasks, first, strict=True)]
    await _publish(office, tasks, [*first, undone, word, another], labels)
    queue = await _rebuilt(office)
    newest = {x.task_id: (x.revision, "" if x.withdrawn else x.value) for x in await office.labels()}
    assert [newest[task.task_id] for task in tasks] == [(1, "cat"), (2, ""), (2, "dog"), (1, "cat")]
    assert [lease.task.task_id for lease in (await queue.claim("cyd", 9)).leases] == [tasks[1].task_id]


async def test_classes_that_people_used_are_known_again_oldest_first() -> None:
    """Also of settled tasks, whose other answers nobody looks at again."""
    office = await _an_office(a_project(is_open=True))
    tasks = [a_task(number) for number in range(3)]
    said = ("newt", "cat", "eel")
    answers = [an_answer(task, "ann", value) for task, value in zip(tasks, said, strict=True)]
    answers[0] = replace(answers[0], submitted_ms=answers[2].submitted_ms + 1)
    await _publish(office, tasks, answers, [a_label(task, a) for task, a in zip(tasks, answers, strict=True)])
    queue = await _rebuilt(office)
    assert await queue.classes() == ("eel", "newt")
    assert (await queue.stats()).open_tasks == 0


async def test_what_is_taken_back_while_the_logs_are_read_is_not_settled() -> None:
    """The undo came when its topic had been read for the first time: the labels are read again, and the task is open."""
    office = await _an_office()
    task = a_task(1)
    voted = an_answer(task, "ann")
    await _publish(office, [task], [voted], [a_label(task, voted)])
    undone = an_answer(task, "ann", "", revision=2)

    async def take_back(look: int) -> None:
        if look == 2:
            await _publish(office, [], [undone], [])

    queue = await _rebuilt(office, take_back)
    assert [(x.revision, x.withdrawn) for x in await office.labels()][-1] == (2, True)
    assert (await queue.stats()).open_tasks == 1

"""What is older than `privacy.retention` allows leaves the queue by itself, and does not come back from the topics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.labeling import CALM, Queues, a_project, a_task, annotation
from tests.support.labeling_api import Office, claim, lose, open_office, open_tasks, running, submit, withdraw
from tiebreak.apps.retaining import Timers
from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import encode
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.log import Batch, Partition, StoredRecord
from tiebreak.contracts.messages import AnnotationState, Task
from tiebreak.contracts.project import Privacy, Project, Retention
from tiebreak.contracts.retention import order_of
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.port import Outcome, Receipt, Stats
from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.stage import Intake
from tiebreak.labeling.stage_erasing import Eraser
from tiebreak.labeling.stage_retention import Horizons, Retainer
from tiebreak.runtime.clock import ManualClock

DAY_MS = 86_400_000
NOW_MS = round(time.time() * 1000)


def keeping(**days: float) -> Project:
    """One-vote tasks that live for a year, kept as ``days`` says; classes are open, so that answers bring further ones."""
    project = a_project(is_open=True)
    labeling = project.labeling.model_copy(update={"task_ttl_s": 366 * 86_400.0})
    return project.model_copy(
        update={"labeling": labeling, "privacy": Privacy.model_validate({"retention": Retention(**days)})}
    )


def aged(number: int, days: float, **changes: object) -> Task:
    """A task that was made so many days ago."""
    return a_task(number, "pets", created_ms=NOW_MS - round(days * DAY_MS), **changes)


async def an_office(queue: Queues, **days: float) -> Office:
    """The project's office over this queue, whose tasks do not expire."""
    project, settings = keeping(**days), replace(CALM, task_ttl_ms=366 * DAY_MS)
    if isinstance(queue, MemoryQueue):
        return await open_office(project, queue.seen_through(settings))
    return await open_office(project, RedisQueue(queue._client, project, settings))


def records(*tasks: Task) -> Batch:
    """These as they come from topic `tasks`."""
    tasks_of = Partition(Topic.TASKS.of("pets"), 0)
    return {tasks_of: [StoredRecord(tasks_of.topic, 0, i, 0, None, encode(task)) for i, task in enumerate(tasks)]}


def timers(office: Office) -> Timers:
    return Timers(office.project, office.trail(), office.clock, office.metrics)


async def test_old_tasks_leave_in_whatever_state_they_are(queue: Queues) -> None:
    """Waiting, held, answered or disputed, and gold: gone, and whoever holds one is told so; what is newer stays, and so does

    gold that has no age, the project file's own.
    """
    office = await an_office(queue, tasks_days=10.0)
    async with running(office), await office.client("ann") as ann:
        await open_tasks(office, 0)
        old = [aged(i, 12.0) for i in range(3)]
        await office.publish_tasks(*old, aged(3, 9.0))
        await queue.keep_gold(
            [aged(8, 12.0, gold="cat"), aged(9, 0.0, gold="cat"), a_task(10, gold="dog", created_ms=0)]
        )
        await open_tasks(office, 4)
        held, _ = (await claim(ann, max=2))["tasks"]
        await timers(office).order()
        await open_tasks(office, 1)
        refused = (await submit(ann, held)).json()
        assert refused["type"] == "urn:tiebreak:problem:erased"
        assert await queue.stats() == Stats(open_tasks=1, waiting=1, leased=0, in_review=0)
        assert sorted(piece.event_id for piece in await queue.gold() or ()) == ["event-10", "event-9"]
        assert await office.annotations() == []
    removed = office.metrics.registry.get_sample_value(
        "tiebreak_labeling_retention_removed_total", {"project": "pets", "what": "tasks"}
    )
    assert removed == 4.0


async def test_a_queue_that_was_lost_is_built_without_them(queue: Queues) -> None:
    """They are on `tasks` still, with answers on `annotations`: neither they nor their answers come back, and new ones do."""
    office = await an_office(queue, tasks_days=10.0)
    async with running(office), await office.client("ann") as ann:
        await office.publish_tasks(aged(1, 12.0, votes_wanted=2), aged(2, 9.0, votes_wanted=2))
        await open_tasks(office, 2)
        for task in (await claim(ann, max=2))["tasks"]:
            assert (await submit(ann, task)).status_code == 201
        await timers(office).order()
        await open_tasks(office, 1)
        await lose(queue)
        await open_tasks(office, 1)
        assert await queue.look(aged(1, 12.0).task_id) is None
        assert [line.task_id for line in await queue.history("ann", 10)] == [aged(2, 9.0).task_id]


def emptied(office: Office, *topics: Topic) -> None:
    """Retention has taken every record of these topics."""
    names = {topic.of("pets") for topic in topics}
    for partition, stream in office.log._store._streams.items():
        if partition.topic in names:
            stream.trim(float("inf"))


async def test_a_queue_is_built_from_topics_that_retention_has_emptied(queue: Queues) -> None:
    """Partitions that once held records and hold none now end where they begin: nobody waits for what will not come."""
    office = await an_office(queue, tasks_days=2.0, annotations_days=2.0, labels_days=2.0)
    async with running(office), await office.client("ann") as ann:
        await office.publish_tasks(aged(1, 0.1))
        await open_tasks(office, 1)
        (task,) = (await claim(ann))["tasks"]
        assert (await submit(ann, task)).status_code == 201
        await eventually(office.labels)
        await open_tasks(office, 0)
        emptied(office, Topic.TASKS, Topic.ANNOTATIONS, Topic.LABELS)
        await lose(queue)
        await office.publish_tasks(aged(2, 0.0))
        await open_tasks(office, 1)


async def settled_and_lost(office: Office, client: httpx.AsyncClient, task: Task) -> str:
    """One answer settles it, then the queue is lost and built again; the annotation's id."""
    await office.publish_tasks(task)
    await open_tasks(office, 1)
    (leased,) = (await claim(client))["tasks"]
    made = await submit(client, leased)
    await eventually(office.labels)
    await open_tasks(office, 0)
    await lose(office.queue)
    await open_tasks(office, 0)
    return str(made.json()["annotation_id"])


async def test_an_answer_can_be_taken_back_until_the_trail_has_ended_its_task(queue: Queues) -> None:
    """The file allows fewer days by now, and no process has ordered it: nothing has gone anywhere yet, and so it is here."""
    office = await an_office(queue, tasks_days=1.0)
    async with running(office), await office.client("ann") as ann:
        made = await settled_and_lost(office, ann, aged(1, 1.2))
        assert (await withdraw(ann, made)).status_code == 200
        await open_tasks(office, 1)


async def test_a_task_that_comes_after_its_time_is_over_is_not_taken_in(queue: Queues) -> None:
    """A reader that lagged behind, or a producer of tasks that was slow: the trail has ended what comes. Nobody is asked, an answer

    that is on the log already waits for nothing, and what is newer is taken in.
    """
    office = await an_office(queue)
    eraser = Eraser("pets", queue, office.log, office.trail(), after_s=0.0)
    intake = Intake(office.project, queue, office.metrics, horizons=eraser.horizons)
    old = [aged(1, 12.0), aged(2, 12.0, gold="cat")]
    await Timers(keeping(tasks_days=10.0), office.trail(), office.clock, office.metrics).order()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(office.rebuilder().ensure())
        group.create_task(eraser.run(stop))
        await eventually(lambda: Topic.TASKS in eraser.horizons.known)
        stop.set()
    await intake.handle(records(*old, aged(3, 9.0)))
    assert (await queue.stats()).open_tasks == 1
    assert not await queue.gold()
    answer = annotation(old[0], "ann", Receipt(1, AnnotationState.SUBMITTED, 1, NOW_MS, NOW_MS))
    assert [a.outcome for a in await queue.apply([answer])] == [Outcome.DONE]
    added = office.metrics.registry.get_sample_value("tiebreak_labeling_tasks_added_total", {"project": "pets"})
    assert added == 1.0  # it was not on offer for a moment either


async def test_what_ends_while_it_is_taken_in_is_not_kept(queue: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    """The news comes between the question and the answer of the queue: whoever looked through the queue at it has missed the task."""
    office = await an_office(queue)
    await office.rebuilder().ensure()
    horizons, add = Horizons(), queue.add

    async def overtaken(tasks: Sequence[Task]) -> int:
        new = await add(tasks)
        horizons.heed({Topic.TASKS: NOW_MS})
        return new

    monkeypatch.setattr(queue, "add", overtaken)
    intake = Intake(office.project, queue, office.metrics, horizons=horizons)
    await intake.handle(records(aged(1, 12.0)))
    assert await queue.look(aged(1, 12.0).task_id) is None
    assert (await queue.stats()).open_tasks == 0


async def test_an_answer_to_a_task_whose_time_is_over_cannot_be_taken_back(queue: Queues) -> None:
    """Its content is on `tasks` a little longer than it is kept: once the trail has ended it, whatever the file says by now, it does

    not come back for that, and the words say so.
    """
    office = await an_office(queue)
    async with running(office), await office.client("ann") as ann:
        task = aged(1, 1.2)
        made = await settled_and_lost(office, ann, task)
        await Timers(keeping(tasks_days=1.0), office.trail(), office.clock, office.metrics).order()
        back = await withdraw(ann, made)
        assert (back.status_code, back.json()["type"]) == (409, "urn:tiebreak:problem:content_gone")
        assert await queue.look(task.task_id) is None


async def test_lines_of_histories_go_by_the_age_of_the_answer(queue: Queues) -> None:
    """What somebody said long ago is not in their history any more, also where its task settled and left meanwhile."""
    office = await an_office(queue, tasks_days=1.0)
    async with running(office), await office.client("ann") as ann:
        await office.publish_tasks(aged(1, 0.1), aged(2, 0.1))
        await open_tasks(office, 2)
        first, second = (await claim(ann, max=2))["tasks"]
        assert (await submit(ann, first)).status_code == 201
        now_ms = round(time.time() * 1000)
        await eventually(lambda: round(time.time() * 1000) > now_ms + 2)
        assert (await submit(ann, second)).status_code == 201
        await open_tasks(office, 0)
        retainer = Retainer(queue)
        newest = (await queue.history("ann", 10))[0]
        assert (await retainer.reach({Topic.ANNOTATIONS: newest.at_ms})).lines == 1
        assert await queue.history("ann", 10) == [newest]
        assert (await retainer.reach({Topic.ANNOTATIONS: newest.at_ms})).lines == 0
        assert await queue.answered("ann") == 2


async def test_answers_to_an_open_task_end_where_the_trail_says_so(queue: Queues) -> None:
    """It wants two and has one, which is too old by now: whoever gave that may be asked again, and a queue built from the topics, which

    have the answer still, knows as little of it.
    """
    office = await an_office(queue)
    async with running(office), await office.client("ann") as ann:
        await office.publish_tasks(aged(1, 0.1, votes_wanted=2))
        await open_tasks(office, 1)
        assert (await submit(ann, (await claim(ann))["tasks"][0])).status_code == 201
        assert (await claim(ann))["tasks"] == []
        (said,) = await office.annotations()
        await office.trail().append_once(
            "retention", Action.RETENTION_ENDED, "annotations", order_of(said.submitted_ms + 1)
        )

        async def given_again() -> list[str]:
            return [task["task_id"] for task in (await claim(ann))["tasks"]]

        assert await eventually(given_again) == [said.task_id]
        assert await forgotten(queue)
        await lose(queue)
        await open_tasks(office, 1)
        assert await forgotten(queue)
        (applied,) = await queue.apply([annotation(aged(1, 0.1), "bob", a_receipt(office))])
        assert applied.record is not None
        assert [ballot.annotator for ballot in applied.record.ballots] == ["bob"]
        labels = {"project": "pets", "what": "annotations"}
        removed = ("tiebreak_labeling_retention_removed_total", labels)
        # The answer and its line.
        await eventually(lambda: office.metrics.registry.get_sample_value(*removed) == 2.0)


async def forgotten(queue: Queues) -> bool:
    """Whether nothing is known of what Ann said."""
    return not await queue.history("ann", 10)


def a_receipt(office: Office) -> Receipt:
    """One of now."""
    now_ms = round(office.clock.wall() * 1000)
    return Receipt(1, AnnotationState.SUBMITTED, 1, now_ms, now_ms)


async def test_a_queue_that_is_being_built_is_brought_there_later(queue: Queues) -> None:
    """What is not there cannot be removed, and must not be taken for removed. Where nothing is due, nothing waits for it."""
    office = await an_office(queue, tasks_days=1.0)
    await lose(queue)
    retainer = Retainer(queue)
    assert await retainer.reach({}) == Erased()
    with pytest.raises(SlowDown):
        await retainer.reach({Topic.TASKS: NOW_MS})
    await office.rebuilder().ensure()
    await queue.add([aged(1, 1.0)])
    assert (await retainer.reach({Topic.TASKS: NOW_MS})).tasks == 1


async def test_what_is_due_is_ordered_once_by_however_many_processes() -> None:
    """Each horizon is on the trail once, as it comes; one that an edited file would move back stays where it was."""
    clock = ManualClock(wall=1_000 * 86_400.0)
    office = await open_office(keeping(tasks_days=8.0, annotations_days=16.0, labels_days=800.0))
    both = [Timers(office.project, office.trail(), clock, office.metrics) for _ in range(2)]

    async def said() -> list[tuple[str, str, str]]:
        return [(r.action, r.target, r.detail) for r in await office.trail().sound()]

    for each in (*both, *both):
        await each.order()
    assert await said() == [
        (Action.RETENTION_ENDED, "tasks", "before 1972-09-19T00:00:00.000+00:00"),
        (Action.RETENTION_ENDED, "annotations", "before 1972-09-11T00:00:00.000+00:00"),
        (Action.RETENTION_ENDED, "labels", "before 1970-07-20T00:00:00.000+00:00"),
    ]
    clock.advance(86_400.0 - 1)
    await both[0].order()
    assert len(await said()) == 3
    clock.advance(1)
    for each in both:
        await each.order()
    assert (await said())[3:] == [(Action.RETENTION_ENDED, "tasks", "before 1972-09-20T00:00:00.000+00:00")]


async def test_without_timers_nothing_is_ordered_and_no_log_is_needed() -> None:
    """A project that keeps everything for ever, which is the usual one."""
    office = await open_office(a_project())
    office.log.stop()
    await timers(office).order()

"""Intake, settling, sweeping and rebuilding, over a real log in memory and both queues."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from tests.support.eventually import eventually
from tests.support.labeling import Queues, a_project, a_task
from tests.support.labeling_api import Office, claim, lose, open_office, open_tasks, running, submit
from tiebreak.contracts.codec import encode
from tiebreak.contracts.ids import annotation_id
from tiebreak.contracts.log import Outputs, Partition, StoredRecord
from tiebreak.contracts.messages import Annotation, AnnotationState, Label
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.access import Role
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.port import QueueSettings, Stats
from tiebreak.labeling.stage import Intake, Settler, annotation_message
from tiebreak.runtime.clock import SystemClock

THREE = a_project(votes=3)


async def settled(office: Office, count: int) -> list[Label]:
    async def enough() -> list[Label]:
        found = await office.labels()
        return found if len(found) >= count else []

    return await eventually(enough)


async def vote(office: Office, name: str, value: str, role: Role = Role.ANNOTATOR) -> None:
    """Wait for a task, however long the queue is being built, and answer it."""
    async with await office.client(name, role) as client:

        async def leased() -> list[Any]:
            return list((await claim(client, wait_ms=1000))["tasks"])

        (task,) = await eventually(leased)
        response = await submit(client, task, value)
        assert response.status_code == 201, response.text


async def test_three_people_settle_a_task_and_the_third_ends_it(queue: Queues) -> None:
    """From the topic through three claims to one label with all three votes; then there is nothing left to do."""
    office = await open_office(THREE, queue)
    async with running(office):
        await office.publish_tasks(a_task(1))
        for name, value in (("ann", "cat"), ("bob", "dog"), ("cyd", "cat")):
            await vote(office, name, value)
        (label,) = await settled(office, 1)
        assert (label.value, round(label.confidence, 3), len(label.votes)) == ("cat", 0.667, 3)
        await open_tasks(office, 0)


async def test_a_dispute_goes_to_a_reviewer_whose_word_is_final(queue: Queues) -> None:
    """Five people who do not agree, then one reviewer: adjudicated."""
    office = await open_office(THREE, queue)
    async with running(office):
        await office.publish_tasks(a_task(1))
        for name, value in zip("abcde", ("cat", "dog", "bird", "cat", "dog"), strict=True):
            await vote(office, name, value)
        await vote(office, "rev", "bird", Role.REVIEWER)
        (label,) = await settled(office, 1)
        assert (label.value, label.method, [v.annotator for v in label.votes]) == ("bird", "adjudicated", ["rev"])


async def test_replaying_the_whole_log_changes_nothing(queue: Queues) -> None:
    """Every annotation folded again, by a settler with no memory: no new label, or the same bytes."""
    office = await open_office(THREE, queue)
    async with running(office):
        await office.publish_tasks(a_task(1), a_task(2))
        for name in ("ann", "bob", "cyd"):
            await vote(office, name, "cat")
            await vote(office, name, "cat")
        before = await settled(office, 2)
    fresh = Settler(THREE, queue, office.metrics)
    again = await fresh.fold(await office.annotations())
    assert {encode(x) for x in again.labels} <= {encode(x) for x in before}
    assert (await queue.stats()).open_tasks == 0


async def test_a_crash_between_deciding_and_publishing_publishes_the_same_later(queue: Queues) -> None:
    """The settler dies with its label decided but not sent: the next one sends exactly that."""
    await _build(queue)
    office = await open_office(a_project(), queue)
    await queue.add([a_task(1)])
    await vote(office, "ann", "dog")
    lost = await Settler(a_project(), queue, office.metrics).fold(await office.annotations())
    sent = await Settler(a_project(), queue, office.metrics).fold(await office.annotations())
    assert [encode(x) for x in sent.labels] == [encode(x) for x in lost.labels]
    assert len(sent.labels) == 1


async def test_a_vote_and_its_withdrawal_in_one_batch(queue: Queues) -> None:
    """Vote, undo, vote in a single batch: the last label of the three revisions has the last vote."""
    await _build(queue)
    office = await open_office(a_project(), queue)
    await queue.add([a_task(1)])
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    made = (await submit(ann, task, "dog")).json()
    undone = await ann.post(f"/v1/annotations/{made['annotation_id']}:undo", headers={"Idempotency-Key": "u"})
    await submit(ann, undone.json()["task"], "cat")
    folded = await Settler(a_project(), queue, office.metrics).fold(await office.annotations())
    assert [(x.revision, x.value, x.withdrawn) for x in folded.labels] == [
        (1, "dog", False),
        (2, "", True),
        (3, "cat", False),
    ]
    assert (await queue.stats()).open_tasks == 0


async def test_labels_are_marked_as_published_only_after_the_commit(queue: Queues) -> None:
    """Before `committed` a replay hands the label out again; after it, no more."""
    await _build(queue)
    office = await open_office(a_project(), queue)
    await queue.add([a_task(1)])
    await vote(office, "ann", "dog")
    topic = Partition(Topic.ANNOTATIONS.of("pets"), 0)
    (a,) = await office.annotations()
    batch = {topic: [StoredRecord(topic.topic, 0, 7, 0, None, encode(a))]}
    settler = Settler(a_project(), queue, office.metrics)
    counts = []
    for positions in ({topic: 7}, {topic: 8}, {topic: 8}):
        counts.append(len((await settler.handle(batch)).outputs.messages))
        await settler.committed(positions)
    assert counts == [1, 1, 0]


async def test_records_that_are_not_ours_are_set_aside_and_the_rest_goes_on(queue: Queues) -> None:
    """Garbage, another project's, a forged id, an unknown class, an unknown task: each with its reason."""
    await _build(queue)
    office = await open_office(THREE, queue)
    await queue.add([a_task(1)])
    await vote(office, "ann", "dog")
    (good,) = await office.annotations()
    bad = [
        b"",
        b"\xff\xff",
        encode(replace(good, project="other")),
        encode(replace(good, annotation_id="0" * 32)),
        encode(replace(good, value="fish")),
        encode(_of_task(good, a_task(9).task_id)),
    ]
    topic = Partition(Topic.ANNOTATIONS.of("pets"), 0)
    values = [*bad, encode(good)]
    records = [StoredRecord(topic.topic, 0, i, 0, None, value) for i, value in enumerate(values)]
    handled = await Settler(THREE, queue, office.metrics).handle({topic: records})
    reasons = {record.offset: str(error.reason) for record, error in handled.dead}
    assert reasons == {
        0: "empty",
        1: "undecodable",
        2: "unknown_project",
        3: "undecodable",
        4: "unknown_class",
        5: "unknown_task",
    }
    tasks = Partition(Topic.TASKS.of("pets"), 0)
    foreign = [b"\xff", encode(a_task(1, "other")), encode(a_task(2))]
    records = [StoredRecord(tasks.topic, 0, i, 0, None, value) for i, value in enumerate(foreign)]
    taken = await Intake(THREE, queue, office.metrics).handle({tasks: records})
    assert [record.offset for record, _ in taken.dead] == [0, 1]
    assert (await queue.stats()).open_tasks == 2


def _of_task(a: Annotation, task: str) -> Annotation:
    from_other = replace(a, task_id=task)
    return replace(from_other, annotation_id=annotation_id(task, a.annotator))


async def test_a_walk_off_gives_the_task_to_the_next_person() -> None:
    """Nobody renews: the sweeper returns the task, and the next claim that waits gets it."""
    project = a_project()
    hasty = QueueSettings(lease_ms=100, undo_ms=60_000, task_ttl_ms=86_400_000)
    office = await open_office(project, MemoryQueue(project, SystemClock(), hasty))
    async with running(office):
        await office.publish_tasks(a_task(1))
        gone, bob = await office.client("gone"), await office.client("bob")
        (task,) = (await claim(gone, wait_ms=20_000))["tasks"]
        (same,) = (await claim(bob, wait_ms=20_000))["tasks"]
        assert same["task_id"] == task["task_id"]
        assert same["lease"]["token"] > task["lease"]["token"]


async def test_the_queue_is_rebuilt_from_the_topics_after_the_store_forgot_everything(queue: Queues) -> None:
    """Half way through, the store is flushed: settled tasks stay settled, given votes count, the rest is offered again."""
    office = await open_office(THREE, queue)
    async with running(office):
        await office.publish_tasks(*(a_task(i) for i in range(3)))
        await open_tasks(office, 3)
        for name in ("ann", "bob"):
            for _ in range(3):
                await vote(office, name, "cat")
        await vote(office, "cyd", "cat")
        (first,) = await settled(office, 1)
        await lose(queue)
        await open_tasks(office, 2)
        for _ in range(2):
            await vote(office, "cyd", "dog")
        await open_tasks(office, 0)
        labels = {x.task_id: x for x in await settled(office, 3)}
        assert labels.pop(first.task_id) == first
        assert [(x.value, round(x.confidence, 3), x.revision) for x in labels.values()] == [("cat", 0.667, 1)] * 2
        async with await office.client("ann") as ann:
            assert (await claim(ann))["reason"] == "no_tasks"
        assert await queue.stats() == Stats(0, 0, 0, 0)


async def test_an_undo_that_nobody_had_folded_when_the_store_was_lost_opens_its_task(queue: Queues) -> None:
    """The label is out, its vote taken back on the log, and the store gone in between: the rebuilt queue withdraws the label."""
    office = await open_office(a_project(votes=1), queue)
    async with running(office):
        await office.publish_tasks(a_task(1))
        await vote(office, "ann", "dog")
        (label,) = await settled(office, 1)
    (voted,) = await office.annotations()
    undone = replace(voted, revision=2, state=AnnotationState.WITHDRAWN, value="")
    await office.log.writer().publish(Outputs(messages=[annotation_message(undone)]))
    await lose(queue)
    assert await office.rebuilder().ensure()
    assert [(x.revision, x.withdrawn) for x in await office.labels()][-1] == (2, True)
    assert [lease.task.task_id for lease in (await queue.claim("bob", 1)).leases] == [label.task_id]


async def _build(queue: Queues) -> None:
    builder = await queue.begin_build()
    if builder is not None:
        await builder.end_build([])


async def test_an_answer_marked_late_still_counts(queue: Queues) -> None:
    """The annotation on the log says late, and the label has it."""
    await _build(queue)
    office = await open_office(a_project(), queue)
    await queue.add([a_task(1)])
    await vote(office, "ann", "dog")
    (a,) = await office.annotations()
    late = replace(a, state=AnnotationState.LATE)
    folded = await Settler(a_project(), queue, office.metrics).fold([late])
    assert [x.value for x in folded.labels] == ["dog"]


async def test_stopping_wakes_a_long_poll() -> None:
    """A process that stops does not wait for the end of every poll."""
    office = await open_office(a_project())
    ann = await office.client("ann")
    waiting = asyncio.create_task(claim(ann, wait_ms=30_000))
    await asyncio.sleep(0)
    office.doorbell.close()
    assert (await waiting)["tasks"] == []

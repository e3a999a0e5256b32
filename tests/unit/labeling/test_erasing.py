"""An erasure on the audit trail reaches the queue by itself, and what it took does not come back from the topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.eventually import eventually
from tests.support.labeling import Queues, a_project, a_task, request
from tests.support.labeling_api import Office, claim, lose, open_office, open_tasks, running, submit
from tiebreak.contracts.audit import Action
from tiebreak.contracts.erasure import digests_of, subject_digest
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.ids import pseudonym
from tiebreak.contracts.log import Partition, Record
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.port import Act, Lease, Refusal, Refused, Stats
from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.stage import Intake
from tiebreak.labeling.stage_erasing import Eraser
from tiebreak.labeling.stage_reading import records_of

ANN17 = subject_digest("pets", "ann-17")


async def on_record(office: Office, subject: str) -> None:
    """What `tiebreak erase` puts on the trail."""
    trail = office.trail()
    await trail.ensure_topic()
    for digest in digests_of("pets", subject):
        await trail.append("eve", Action.SUBJECT_ERASED, digest, "on request")


@asynccontextmanager
async def at_work(queue: Queues) -> AsyncIterator[Office]:
    """An office of one-vote tasks, all its loops running."""
    office = await open_office(a_project(), queue)
    async with running(office):
        yield office


async def replayed(office: Office) -> None:
    """All of `tasks` once more, by an intake with no memory."""
    records: dict[Partition, list[Record]] = {}
    async for record in records_of(office.log, Topic.TASKS.of("pets")):
        records.setdefault(Partition(record.topic, record.partition), []).append(record)
    await Intake(office.project, office.queue, office.metrics).handle(records)


async def test_an_erasure_on_the_trail_reaches_the_queue_by_itself(queue: Queues) -> None:
    """Their tasks leave, also under the pseudonym and out of a person's hands, who is told why their answer is refused."""
    async with at_work(queue) as office, await office.client("ann") as ann:
        await office.publish_tasks(a_task(1, subject="ann-17"))
        await open_tasks(office, 1)
        (task,) = (await claim(ann))["tasks"]
        await office.publish_tasks(
            a_task(2, subject=pseudonym("pets", "ann-17")), a_task(3, subject="bob-3"), a_task(4)
        )
        await open_tasks(office, 4)
        await on_record(office, "ann-17")
        await open_tasks(office, 2)
        refused = (await submit(ann, task)).json()
        assert refused["type"] == "urn:tiebreak:problem:erased"
        assert "erased" in refused["detail"]
        assert await queue.stats() == Stats(open_tasks=2, waiting=2, leased=0, in_review=0)
        assert await office.annotations() == []


async def test_an_erased_persons_tasks_do_not_come_back(queue: Queues) -> None:
    """Not with the topic replayed, not from a producer that goes on about them, not when the store is lost and built again."""
    async with at_work(queue) as office, await office.client("ann") as ann:
        await office.publish_tasks(a_task(1, subject="ann-17"))
        await open_tasks(office, 1)
        (task,) = (await claim(ann))["tasks"]
        assert (await submit(ann, task)).status_code == 201
        await eventually(office.labels)
        await office.publish_tasks(a_task(2, subject="ann-17"), a_task(3, gold="cat", subject="ann-17"))
        await open_tasks(office, 1)
        await on_record(office, "ann-17")
        await open_tasks(office, 0)
        await replayed(office)
        await office.publish_tasks(a_task(4, subject="ann-17"), a_task(5))
        await open_tasks(office, 1)
        await lose(queue)
        await open_tasks(office, 1)
        await replayed(office)
        assert [lease.task.task_id for lease in (await queue.claim("bob", 9)).leases] == [a_task(5).task_id]
        assert not await queue.gold(99)
        assert await queue.erased() == frozenset(digests_of("pets", "ann-17"))
        # Its label stands on the log; the task is none the less erased, not settled: nothing brings its content back.
        for number in (1, 2, 4):
            with pytest.raises(Refused) as refused:
                await queue.prepare(request(Lease(a_task(number), 1, 0, 0), "ann", act=Act.WITHDRAW))
            assert refused.value.refusal is Refusal.ERASED


async def test_an_erasure_that_was_cut_short_is_finished_by_the_next_process(queue: Queues) -> None:
    """Somebody died between closing the door and looking for the tasks: whoever follows the trail next does it all."""
    office = await open_office(a_project(), queue)
    await office.rebuilder().ensure()
    await office.publish_tasks(a_task(1, subject="ann-17"), a_task(2))
    await replayed(office)
    await on_record(office, "ann-17")
    await queue.begin_erasure([ANN17])
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(Eraser("pets", queue, office.log, office.trail(), after_s=0.0).run(stop))
        await open_tasks(office, 1)
        await eventually(queue.erased)
        stop.set()


async def test_an_erasure_waits_for_a_queue_that_is_being_built(queue: Queues) -> None:
    """What is not there cannot be erased, and must not be taken for erased: try again when it is whole."""
    office = await open_office(a_project(), queue)
    await lose(queue)
    eraser = Eraser("pets", queue, office.log, office.trail())
    with pytest.raises(SlowDown):
        await eraser.erase([ANN17])
    await office.rebuilder().ensure()
    await office.publish_tasks(a_task(1, subject="ann-17"))
    await replayed(office)
    assert await eraser.erase([ANN17]) == Erased(tasks=1)
    assert await eraser.erase([ANN17]) == Erased()

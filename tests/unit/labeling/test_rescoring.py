"""Waiting tasks after a promotion: what the new model decides is taken back, the rest moves, over a real log and both queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from tests.support.eventually import eventually
from tests.support.labeling import Queues, a_project, a_task
from tests.support.labeling_api import Office, claim, lose, open_office, open_tasks, running, submit
from tiebreak.contracts.codec import encode
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import ModelEvent, ModelRecord, Reason, Task
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.stage_rescoring import Opinion, Rescorer
from tiebreak.runtime.clock import ManualClock


@dataclass
class Oracle:
    """Opinions by event: what each version says, None for a version without any. ``asked`` are the versions it was asked for."""

    says: Mapping[str, Mapping[str, float] | None]
    asked: list[str] = field(default_factory=list)

    async def of(self, version: str) -> Opinion | None:
        self.asked.append(version)
        utilities = self.says[version]
        if utilities is None:
            return None

        def opinion(tasks: Sequence[Task]) -> Sequence[float | None]:
            return [utilities.get(task.event_id) for task in tasks]

        return opinion


@asynccontextmanager
async def rescoring(office: Office, oracle: Oracle) -> AsyncIterator[None]:
    """All loops of the office, and the one under test."""
    stop = asyncio.Event()
    rescorer = Rescorer(office.project, office.queue, office.log, oracle, ManualClock())
    async with running(office), asyncio.TaskGroup() as group:
        group.create_task(rescorer.run(stop))
        try:
            yield
        finally:
            stop.set()


async def decide(office: Office, version: str, event: ModelEvent = ModelEvent.PROMOTED) -> None:
    """A decision on topic ``models``."""
    name = office.project.project
    record = ModelRecord(name, version, event, "", "", 0, (), "", "test", 1)
    await office.log.writer().publish(Outputs(messages=[Message(Topic.MODELS.of(name), b"", encode(record))]))


def chosen(number: int, reason: Reason = Reason.UNCERTAIN, *, audit: bool = False) -> Task:
    """A task that had to reach a threshold of 0.8."""
    task = a_task(number, priority=0.9)
    return replace(task, selection=replace(task.selection, threshold=0.8, reason=reason, audit=audit))


async def test_what_the_new_model_decides_is_taken_back_and_the_rest_moves(queue: Queues) -> None:
    """Below a quarter of its threshold a task leaves; what stays is served by its new utility; what it cannot judge stays too."""
    office = await open_office(a_project(votes=3), queue)
    oracle = Oracle({"v2": {"event-1": 0.19, "event-2": 0.3, "event-3": 0.95}})
    async with rescoring(office, oracle):
        await office.publish_tasks(*(chosen(n) for n in (1, 2, 3, 4)))
        await open_tasks(office, 4)
        await decide(office, "v2")
        await open_tasks(office, 3)

        async def order() -> bool:
            ann = await office.client("ann")
            held = (await claim(ann, max=5))["tasks"]
            for task in held:
                lease = f"{task['task_id']}.{task['lease']['token']}"
                await ann.post(f"/v1/leases/{lease}:release")
            return [task["payload"]["text"][8] for task in held] == ["3", "4", "2"]

        await eventually(order)
    assert b'tiebreak_labeling_tasks_withdrawn_total{project="pets"} 1.0' in office.metrics.exposition()


async def test_an_audit_task_and_one_that_was_not_chosen_for_doubt_stay(queue: Queues) -> None:
    """Taking back audit tasks a model is sure of would hide its confident mistakes; novelty is not about being unsure."""
    office = await open_office(a_project(votes=3), queue)
    kept = [
        chosen(1, Reason.AUDIT, audit=True),
        chosen(2, Reason.NOVEL),
        chosen(3, Reason.RARE),
        chosen(4, Reason.RANDOM),
    ]
    oracle = Oracle({"v2": {f"event-{n}": 0.0 for n in range(1, 6)}})
    async with rescoring(office, oracle):
        await office.publish_tasks(*kept, chosen(5))
        await open_tasks(office, 5)
        await decide(office, "v2")
        await open_tasks(office, 4)
    assert {task.event_id for task in (await queue.page(0, 100)).tasks} == {task.event_id for task in kept}


async def test_a_withdrawal_outlives_the_loss_of_the_queue(queue: Queues) -> None:
    """The queue built again from the topics does not offer it, yet an answer that somebody had begun before it still counts."""
    office = await open_office(a_project(), queue)
    begun, gone = chosen(1), chosen(2)
    async with rescoring(office, Oracle({"v2": {"event-1": 0.0, "event-2": 0.0}})):
        await office.publish_tasks(begun)
        await open_tasks(office, 1)
        ann = await office.client("ann")
        (held,) = (await claim(ann))["tasks"]
        await office.publish_tasks(gone)
        await open_tasks(office, 2)
        await decide(office, "v2")
        await open_tasks(office, 1)
        assert (await submit(ann, held)).status_code == 201
        await open_tasks(office, 0)
        await lose(queue)
        await open_tasks(office, 0)
        assert (await claim(ann))["reason"] == "no_tasks"
    # Whoever lost the store before the label was out sends it once more: by its id it is the same.
    assert {label.task_id for label in await office.labels()} == {begun.task_id}


async def test_a_later_champion_takes_over_and_one_without_opinions_changes_nothing(queue: Queues) -> None:
    """The last word is the newest model's, after a rollback too; a version whose file is gone leaves every task where it is."""
    office = await open_office(a_project(votes=3), queue)
    oracle = Oracle({"gone": None, "v2": {"event-1": 0.0}, "v3": {"event-2": 0.0}})
    async with rescoring(office, oracle):
        await office.publish_tasks(*(chosen(n) for n in (1, 2, 3)))
        await open_tasks(office, 3)
        await decide(office, "gone")
        await eventually(lambda: oracle.asked == ["gone"])
        await decide(office, "v2")
        await open_tasks(office, 2)
        await decide(office, "v3", ModelEvent.ROLLED_BACK)
        await open_tasks(office, 1)
    assert [task.event_id for task in (await queue.page(0, 100)).tasks] == ["event-3"]

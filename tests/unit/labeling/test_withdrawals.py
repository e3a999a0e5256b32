"""Answers taken back long after they were given, over a real log in memory and both queues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx

from tests.support.eventually import eventually
from tests.support.labeling import HASTY, Queues, a_project, a_task
from tests.support.labeling_api import Office, lose, open_office, open_tasks, running, submit, withdraw
from tiebreak.contracts.codec import encode
from tiebreak.contracts.messages import Label
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.port import QueueSettings
from tiebreak.labeling.redis import RedisQueue

# Content goes at once, and so does what the queue remembers of it.
FORGETFUL = replace(HASTY, lease_ms=60_000, keep_ms=0)


def seen_through(queue: Queues, settings: QueueSettings) -> Queues:
    """The same queue under other settings."""
    if isinstance(queue, MemoryQueue):
        return queue.seen_through(settings)
    return RedisQueue(queue._client, a_project(), settings)


async def given(client: httpx.AsyncClient) -> Any:
    """The one task, however long the queue is being built."""

    async def leased() -> list[Any]:
        response = await client.post("/v1/projects/pets/tasks:claim", json={"wait_ms": 1000})
        return list(response.json().get("tasks", ()))

    (task,) = await eventually(leased)
    return task


async def answered(office: Office, client: httpx.AsyncClient, value: str = "dog") -> str:
    """Claim the one task, answer it, and see its content go; the annotation's id."""
    task = await given(client)
    made = await submit(client, task, value)
    assert made.status_code == 201

    async def gone() -> bool:
        await office.queue.sweep(10)
        return await office.queue.look(task["task_id"]) is None

    await eventually(gone)
    return str(made.json()["annotation_id"])


async def newest(office: Office, revision: int) -> Label:
    async def there() -> list[Label]:
        return [x for x in await office.labels() if x.revision == revision]

    return (await eventually(there))[0]


async def test_an_old_answer_is_taken_back_its_label_too_and_somebody_else_is_asked(queue: Queues) -> None:
    """The content was dropped long ago: it comes back from `tasks`. The same key changes nothing more; a rebuilt queue agrees."""
    project = a_project()
    office = await open_office(project, seen_through(queue, FORGETFUL))
    async with running(office):
        await office.publish_tasks(a_task(1))
        ann, bob = await office.client("ann"), await office.client("bob")
        annotation = await answered(office, ann)
        first = await withdraw(ann, annotation)
        assert (first.status_code, first.json()["state"], first.json()["task"]) == (200, "withdrawn", None)
        again = await withdraw(ann, annotation)
        assert again.json() == first.json()
        label = await newest(office, 2)
        assert (label.withdrawn, label.votes) == (True, ())
        await open_tasks(office, 1)
        await lose(office.queue)
        await open_tasks(office, 1)
        task = await given(bob)
        assert task["task_id"] == a_task(1).task_id
        assert (await submit(bob, task, "cat")).status_code == 201
        final = await newest(office, 3)
    assert (final.value, [v.annotator for v in final.votes]) == ("cat", ["bob"])
    # What the rebuild sent again is the same to the byte.
    assert sorted(x.revision for x in {encode(x): x for x in await office.labels()}.values()) == [1, 2, 3]


async def test_nobody_takes_back_what_is_not_theirs_or_not_there(queue: Queues) -> None:
    """Somebody else's, an unknown one and one taken back already are 404 in the same words."""
    office = await open_office(a_project(), seen_through(queue, FORGETFUL))
    async with running(office):
        await office.publish_tasks(a_task(1))
        ann, bob = await office.client("ann"), await office.client("bob")
        annotation = await answered(office, ann)
        refused = [await withdraw(bob, annotation), await withdraw(ann, "f" * 32)]
        assert (await withdraw(ann, annotation)).status_code == 200
        refused.append(await withdraw(ann, annotation, "another-key"))
    assert [answer.status_code for answer in refused] == [404, 404, 404]
    assert len({answer.content for answer in refused}) == 1

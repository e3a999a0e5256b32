"""Each vote names the form of the schema that its annotator saw, which grows while the stream runs."""

from __future__ import annotations

import pytest

from tests.support.labeling import Queues, a_project, a_task
from tests.support.labeling_api import Office, claim, lose, open_office, open_tasks, running, submit
from tiebreak.contracts.audit import Action
from tiebreak.contracts.errors import Invalid
from tiebreak.labeling.schema_versions import SchemaVersion, version_of


@pytest.mark.parametrize("text", ["0", "1.", "1.x", "01", "1.2.3", "-1", "1.99999", " 1", "1\n", ""])
def test_what_is_no_version_is_refused(text: str) -> None:
    """One number, or two with a point between."""
    with pytest.raises(Invalid, match="not a version such as"):
        version_of(text)


def test_versions_are_ordered_by_number() -> None:
    """Ten added classes come after nine, and a raised file after any of them."""
    texts = ["1", "1.1", "1.9", "1.10", "2", "10.1"]
    assert [str(version_of(text)) for text in texts] == texts
    assert sorted(map(version_of, reversed(texts))) == [version_of(text) for text in texts]
    assert version_of("2.0") == SchemaVersion(2)


async def an_office(queue: Queues, *, version: int = 1, is_open: bool = True) -> Office:
    project = a_project(is_open=is_open)
    labeling = project.labeling.model_copy(update={"schema_version": version})
    return await open_office(project.model_copy(update={"labeling": labeling}), await _built(queue))


async def _built(queue: Queues) -> Queues:
    builder = await queue.begin_build()
    if builder is not None:
        await builder.end_build([])
    return queue


async def seen(office: Office) -> set[tuple[str, int, int]]:
    return {(a.value, a.schema_version, a.schema_added) for a in await office.annotations()}


async def test_a_class_added_by_one_person_raises_the_version_that_another_sees(queue: Queues) -> None:
    """The task names it, the answer names the one that was seen; without one it is the newest. A newer one is nobody's."""
    office = await an_office(queue)
    await queue.add([a_task(i) for i in range(3)])
    ann, bob = await office.client("ann"), await office.client("bob")
    first, second, third = (await claim(ann, max=3))["tasks"]
    assert first["answer_schema_version"] == "1"
    assert (await bob.post("/v1/projects/pets/classes", json={"name": "otter"})).status_code == 201
    assert {task["answer_schema_version"] for task in (await claim(ann, max=3))["tasks"]} == {"1.1"}
    info = (await bob.get("/v1/projects/pets")).json()
    assert (info["answer_schema_version"], info["answer_schema"]["$id"]) == ("1.1", "urn:tiebreak:pets:answer:1.1")
    newer = [await submit(ann, first, "cat", answer_schema_version=text) for text in ("1.2", "2", "7.1")]
    assert [(answer.status_code, answer.json()["detail"]) for answer in newer] == [
        (422, f"answer_schema_version: {text} is newer than the schema of this project (1.1). Fetch the project again.")
        for text in ("1.2", "2", "7.1")
    ]
    assert (await submit(ann, first, "cat", answer_schema_version="no")).status_code == 422
    assert await office.annotations() == []
    for task, value, more in (
        (first, "cat", {"answer_schema_version": "1"}),
        (second, "otter", {}),
        (third, "dog", {}),
    ):
        assert (await submit(ann, task, value, **more)).status_code == 201
    assert await seen(office) == {("cat", 1, 0), ("otter", 1, 1), ("dog", 1, 1)}


async def test_an_answer_by_an_older_schema_counts_while_its_class_is_known(queue: Queues) -> None:
    """The project file was raised while somebody looked at a task: their answer says so; a class that is gone is refused as such."""
    office = await an_office(queue, version=3, is_open=False)
    await queue.add([a_task(1)])
    async with await office.client("ann") as ann:
        (task,) = (await claim(ann))["tasks"]
        assert task["answer_schema_version"] == "3"
        gone = await submit(ann, task, "ferret", answer_schema_version="2")
        assert (gone.status_code, gone.json()["detail"][:46]) == (422, "value: is not one of the project's classes. Ch")
        assert (await submit(ann, task, "cat", answer_schema_version="2.4")).status_code == 201
    assert await seen(office) == {("cat", 2, 4)}


async def test_another_process_knows_of_a_class_before_it_is_told_off(queue: Queues) -> None:
    """Its own idea of the version is a moment old: it asks before it calls one newer."""
    here = await an_office(queue)
    there = await open_office(here.project, queue)
    await queue.add([a_task(1)])
    async with await here.client("ann") as ann, await there.client("bob") as bob:
        (task,) = (await claim(ann))["tasks"]
        assert (await bob.post("/v1/projects/pets/classes", json={"name": "otter"})).status_code == 201
        assert (await submit(ann, task, "otter", answer_schema_version="1.1")).status_code == 201


async def test_a_queue_that_was_lost_knows_the_added_classes_of_settled_tasks(queue: Queues) -> None:
    """They are on the log: the version does not fall behind what people saw, and their names are offered as before."""
    office = await open_office(a_project(is_open=True), queue)
    async with running(office), await office.client("ann") as ann:
        await office.publish_tasks(a_task(1))
        await open_tasks(office, 1)
        (task,) = (await claim(ann, wait_ms=20_000))["tasks"]
        assert (await ann.post("/v1/projects/pets/classes", json={"name": "otter"})).status_code == 201
        assert (await submit(ann, task, "otter")).status_code == 201
        await open_tasks(office, 0)
        await lose(queue)
        await open_tasks(office, 0)
        assert list(await queue.classes()) == ["otter"]


async def test_a_class_that_nobody_used_yet_outlives_a_lost_queue(queue: Queues) -> None:
    """It was only on the queue: the version fell back, and the answers of whoever had seen it were refused as of a newer schema."""
    office = await open_office(a_project(is_open=True), queue)
    office.keep_record()
    async with running(office), await office.client("ann") as ann:
        await open_tasks(office, 0)
        for name in ("otter", "newt", "Otter "):
            assert (await ann.post("/v1/projects/pets/classes", json={"name": name})).status_code == 201
        before = (await ann.get("/v1/projects/pets")).json()
        assert before["classes"] == ["cat", "dog", "bird", "otter", "newt"]
        assert before["answer_schema_version"] == "1.2"
        await lose(queue)
        await open_tasks(office, 0)
        there = await open_office(office.project, queue)  # a process that never knew of them
        async with await there.client("bob") as bob:
            after = (await bob.get("/v1/projects/pets")).json()
        assert [after[key] for key in ("classes", "answer_schema_version", "answer_schema")] == [
            before[key] for key in ("classes", "answer_schema_version", "answer_schema")
        ]
    said, _ = await office.trail().read()
    assert [(r.actor, r.action, r.target) for r in said] == [
        ("ann", Action.CLASS_ADDED, "otter"),
        ("ann", Action.CLASS_ADDED, "newt"),
    ]


async def test_while_a_lost_queue_is_built_no_class_is_taken_for_unknown(queue: Queues) -> None:
    """Its classes are not there yet: an answer by them has to be sent again, not refused for good."""
    office = await an_office(queue)
    await queue.add([a_task(1)])
    async with await office.client("ann") as ann:
        assert (await ann.post("/v1/projects/pets/classes", json={"name": "otter"})).status_code == 201
        (task,) = (await claim(ann))["tasks"]
        await lose(queue)
        there = await open_office(office.project, queue)
        async with await there.client("ann") as ann_there:
            answered = await submit(ann_there, task, "otter", answer_schema_version="1.1")
            assert (answered.status_code, answered.json()["type"]) == (503, "urn:tiebreak:problem:service_unavailable")
            assert (await ann_there.post("/v1/projects/pets/classes", json={"name": "newt"})).status_code == 503


async def test_hot_and_plain_ways_say_the_same_version(office: Office) -> None:
    """A claim at the door and one that the framework answers (it asks for nothing to wait) name one version."""
    ann = await office.client("ann")
    hot = await claim(ann)
    plain = await ann.post(
        "/v1/projects/pets/tasks:claim", content=b"{}", headers={"content-type": "application/json; charset=utf-8"}
    )
    assert plain.json()["tasks"][0]["answer_schema_version"] == hot["tasks"][0]["answer_schema_version"] == "1"

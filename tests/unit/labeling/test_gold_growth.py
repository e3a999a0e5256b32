"""Gold grows from tasks of which the people are sure, after a reviewer's yes, and who answered these never meets it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from httpx import AsyncClient

from tests.support.eventually import PATIENCE_S, eventually
from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import Office, claim, open_office, running, submit
from tiebreak.contracts.codec import decode_task
from tiebreak.contracts.ids import task_id
from tiebreak.contracts.messages import AuditRecord, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.access import Role
from tiebreak.labeling.gold import Bank, copy_of
from tiebreak.labeling.gold_growth import Proposal, Proposals, grown_event
from tiebreak.labeling.stage_people import Around, People
from tiebreak.labeling.stage_reading import records_of
from tiebreak.runtime.audit_trail import AuditTrail


def two_votes(_: str) -> Mapping[str, str]:
    return {"ann": "cat", "bob": "cat"}


def test_only_what_is_sure_and_stands_and_several_people_said_is_proposed() -> None:
    """Newest first; not what is unsure, reviewed, withdrawn, changed, declined, of one person, or disputed."""
    found = Proposals(0.99)
    for name, confidence, method in (("a", 0.995, "consensus"), ("b", 0.98, "consensus"), ("c", 1.0, "adjudicated")):
        found.settled(name, 1, "cat", confidence, method)
    found.settled("d", 1, "cat", 1.0, "consensus")
    found.settled("d", 2, "", 0.0, "consensus")
    found.settled("d", 1, "cat", 1.0, "consensus")
    found.settled("e", 1, "cat", 1.0, "consensus")
    assert list(found.newest(two_votes, ())) == [Proposal("e", "cat", 1.0, 2), Proposal("a", "cat", 0.995, 2)]
    assert [p.task_id for p in found.newest(two_votes, {"e"})] == ["a"]
    assert list(found.newest(lambda _: {"ann": "cat"}, ())) == []
    assert list(found.newest(lambda _: {"ann": "cat", "bob": "cat", "cem": "dog"}, ())) == []


def test_what_is_proposed_is_bounded() -> None:
    """A project that runs for a year proposes the newest ones."""
    found = Proposals(0.99)
    for number in range(2000):
        found.settled(str(number), 1, "cat", 1.0, "consensus")
    assert [p.task_id for p in found.newest(two_votes, ())] == [str(n) for n in range(1999, 1499, -1)]
    for number in range(2000, 4000):
        found.settled(str(number), 1, "cat", 1.0, "consensus")
        found.settled(str(number), 2, "", 0.0, "consensus")
    assert (list(found.newest(two_votes, ())), len(found)) == ([], 500)


def test_who_answered_a_task_or_made_gold_of_it_never_gets_that_piece() -> None:
    """They would know it again; everybody else gets a copy that looks like the task did."""
    source = a_task(1)
    event = grown_event("f00d", source.task_id, "rev@example.org")
    piece = replace(source, task_id=task_id("pets", event), event_id=event, gold="cat")
    bank = Bank([piece])
    assert bank.next_for("ann", (), 5, [source.task_id]) is None
    assert bank.next_for("rev@example.org", (), 5) is None
    assert bank.next_for("cem", (), 5) == copy_of(piece, "cem", 5)
    assert (bank.made_of(source.task_id), bank.made_of("other"), bank.sources) == (
        piece,
        None,
        frozenset({source.task_id}),
    )


async def crowd_office(project: Project) -> tuple[Office, People]:
    office = await open_office(project)
    trail = AuditTrail(office.log, project.project, office.clock)
    people = People(
        project,
        office.queue,
        Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.999, trail),
    )
    office.context = replace(office.context, audit=trail)
    office.watch(people)
    return office, people


async def settle(office: Office, *names: str, value: str = "cat") -> None:
    """Everybody answers what they are given, all the same."""
    for name in names:
        client = await office.client(name)
        for task in (await claim(client, wait_ms=20_000))["tasks"]:
            assert (await submit(client, task, value)).status_code == 201


async def proposals(client: AsyncClient) -> list[dict[str, object]]:
    answer = await client.get("/v1/projects/pets/gold/proposals")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["proposals"]
    return found


async def test_a_reviewers_yes_makes_gold_of_a_sure_task_also_when_the_queue_has_dropped_it() -> None:
    """Listed with what people saw; accepted once however often it is said; its voters never get it, others do, and are scored."""
    project = a_project(votes=2)
    quick = project.model_copy(update={"labeling": project.labeling.model_copy(update={"undo_s": 0.0})})
    office, people = await crowd_office(quick)
    async with running(office):
        await office.publish_tasks(a_task(1))
        rev = await office.client("rev", Role.REVIEWER)
        await settle(office, "ann", "bob")

        async def dropped() -> list[dict[str, object]]:
            return await proposals(rev) if await office.queue.look(a_task(1).task_id) is None else []

        (found,) = await eventually(dropped)
        payload = found.pop("payload")
        assert found == {"task_id": a_task(1).task_id, "answer": "cat", "confidence": 1.0, "votes": 2}
        assert isinstance(payload, dict)
        assert payload["text"] == "what is 1?"
        yes = {"task_id": a_task(1).task_id, "answer": "cat"}
        said = [await rev.post("/v1/projects/pets/gold", json=yes) for _ in range(2)]
        assert [answer.status_code for answer in said] == [201, 201]
        assert said[0].json() == said[1].json()
        assert await proposals(rev) == []
        asked = dict[str, int]()

        async def cem_was_asked() -> bool:
            for name in ("ann", "bob", "rev", "cem"):
                tasks = (await claim(await office.client(name)))["tasks"]
                asked[name] = asked.get(name, 0) + len(tasks)
                for task in tasks:
                    assert task["payload"] == payload
                    assert (await submit(await office.client(name), task, "dog")).status_code == 201
            return people.figures.standing("cem").asked == 1

        await eventually(cem_was_asked)
    assert asked == {"ann": 0, "bob": 0, "rev": 0, "cem": 1}
    assert (people.figures.standing("cem").right, len(await office.labels())) == (0, 1)
    again = People(project, office.queue, people._around)  # another process, later
    async with running(office):
        await eventually(lambda: _gold_of(again))
    assert again._next_gold("ann") is None
    assert again._next_gold("dan") is not None


async def _gold_of(people: People) -> int:
    await people.tend()
    reader = people._around.log.reader(["tiebreak.pets.annotations"], None)
    await reader.start()
    await people.learn(await reader.poll(100, 0.1))
    await reader.close(1.0)
    return len(people)


async def test_a_declined_proposal_does_not_come_back() -> None:
    """It is on the audit trail, for every process and after any restart; only what is proposed can be declined."""
    office, _ = await crowd_office(a_project(votes=2))
    async with running(office):
        await office.publish_tasks(a_task(1))
        rev = await office.client("rev", Role.REVIEWER)
        await settle(office, "ann", "bob")
        (found,) = await eventually(lambda: proposals(rev))
        path = f"/v1/projects/pets/gold/proposals/{found['task_id']}:decline"
        assert (await rev.post(path.replace(str(found["task_id"]), "0" * 32))).status_code == 404
        too_long = await rev.post(path, json={"reason": "x" * 501})
        said = [await rev.post(path, json=body) for body in ({"reason": " two would do "}, None)]
        assert [answer.status_code for answer in (too_long, *said)] == [422, 204, 204]
        assert await proposals(rev) == []
    assert office.context.audit is not None
    records, _ = await office.context.audit.read()
    assert [(r.actor, r.action, r.target, r.detail) for r in records] == [
        ("rev", "gold.declined", found["task_id"], "two would do")
    ]


GOLD = "/v1/projects/pets/gold"


class Counting(AuditTrail):
    """Knows how often it was read from its beginning."""

    readings = 0

    async def sound(self) -> Sequence[AuditRecord]:
        self.readings += 1
        return await super().sound()


async def test_the_trail_is_read_once_however_many_proposals_there_are() -> None:
    """Of tasks, too, that the queue has dropped: each reading takes a reader of its own from the start of the topic."""
    project = a_project(votes=2)
    quick = project.model_copy(update={"labeling": project.labeling.model_copy(update={"undo_s": 0.0})})
    office, people = await crowd_office(quick)
    trail = Counting(office.log, "pets", office.clock)
    office.context = replace(office.context, audit=trail)
    office.watch(people)
    tasks = [a_task(number) for number in range(3)]
    async with running(office):
        await office.publish_tasks(*tasks)
        rev, people_there = await office.client("rev", Role.REVIEWER), [await office.client(n) for n in ("ann", "bob")]
        for client in people_there:
            for _ in tasks:
                (task,) = (await claim(client, wait_ms=20_000))["tasks"]
                assert (await submit(client, task, "cat")).status_code == 201

        async def dropped() -> bool:
            return [await office.queue.look(task.task_id) for task in tasks] == [None] * 3

        await eventually(dropped)
        await eventually(lambda: len(list(people.proposed())) == 3)
        trail.readings = 0
        assert len(await proposals(rev)) == 3
    assert trail.readings == 1


async def replica_of(office: Office) -> Office:
    """Another process over the same log and queue."""
    around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.999, office.trail())
    other = replace(office, context=replace(office.context, audit=office.trail()))
    other.watch(People(office.project, office.queue, around))
    return other


async def test_gold_of_one_task_does_not_wait_for_gold_of_another() -> None:
    """A task that the queue has dropped is looked for in the log, for seconds: whoever makes gold of another one is answered."""
    office, people = await crowd_office(a_project(votes=2))
    await office.queue.add([a_task(1), a_task(2)])
    rev, ria = await office.client("rev", Role.REVIEWER), await office.client("ria", Role.REVIEWER)
    bodies = [{"task_id": a_task(number).task_id, "answer": "cat"} for number in (1, 2)]
    async with asyncio.timeout(PATIENCE_S), people.making(a_task(1).task_id):
        waiting = asyncio.create_task(rev.post(GOLD, json=bodies[0]))
        assert (await ria.post(GOLD, json=bodies[1])).status_code == 201
        assert not waiting.done()
    assert (await waiting).status_code == 201


async def gold_on_the_log(office: Office) -> list[Task]:
    tasks = [decode_task(r.value) async for r in records_of(office.log, Topic.TASKS.of("pets"))]
    return [task for task in tasks if task.gold]


@pytest.mark.parametrize("replicas", [1, 2])
async def test_two_answers_at_once_make_one_piece_of_gold(replicas: int) -> None:
    """In one process and in two: one answer is gold, whoever sent the other is told which, and it stays so."""
    office, people = await crowd_office(a_project(votes=2))
    if replicas == 1:  # also without a trail to decide it
        office.context = replace(office.context, audit=None)
        office.watch(people)
    await office.queue.add([a_task(1)])
    other = await replica_of(office) if replicas == 2 else office
    rev, ria = await office.client("rev", Role.REVIEWER), await other.client("ria", Role.REVIEWER)
    bodies = [{"task_id": a_task(1).task_id, "answer": answer} for answer in ("cat", "dog")]
    said = await asyncio.gather(rev.post(GOLD, json=bodies[0]), ria.post(GOLD, json=bodies[1]))
    assert sorted(answer.status_code for answer in said) == [201, 409]
    made, refused = sorted(said, key=lambda answer: answer.status_code)
    (piece,) = await gold_on_the_log(office)
    assert made.json()["gold_id"] == piece.task_id
    assert refused.json()["detail"].startswith(f"This task is gold already, with the answer '{piece.gold}'.")
    yes, no = sorted(bodies, key=lambda body: body["answer"] != piece.gold)
    for client in (rev, ria):
        again = await client.post(GOLD, json=yes)
        assert (again.status_code, again.json()) == (201, made.json())
        assert (await client.post(GOLD, json=no)).status_code == 409
    assert {task.task_id for task in await gold_on_the_log(office)} == {piece.task_id}


async def test_gold_that_was_erased_is_not_remembered() -> None:
    """What was made is known by the queue's gold as soon as it has it, and gone with it."""
    office, people = await crowd_office(a_project(votes=2))
    source = a_task(1)
    async with running(office):
        await office.publish_tasks(source)
        rev = await office.client("rev", Role.REVIEWER)
        await eventually(lambda: office.queue.look(source.task_id))
        yes = {"task_id": source.task_id, "answer": "cat"}
        made = (await rev.post(GOLD, json=yes)).json()["gold_id"]
        await eventually(lambda: source.task_id in people.bank.sources)
        await office.queue.erase([made, source.task_id])
        await eventually(lambda: not people.bank.sources)
        assert people.made_of(source.task_id) is None
        assert (await rev.post(GOLD, json=yes)).status_code == 404

"""Gold: how much of it, for whom, what follows, and that nobody can tell it from the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from httpx import AsyncClient

from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import Office, claim, open_office, running, submit
from tiebreak.contracts.messages import Task
from tiebreak.contracts.project import Gold, Project
from tiebreak.labeling.access import Role
from tiebreak.labeling.gold import Bank, Standing, copy_of, paused, rate
from tiebreak.labeling.stage_people import Around, People
from tiebreak.runtime.audit_trail import AuditTrail

RULE = Gold(most=0.2, least=0.03, accuracy=0.6, after=8)


def pieces(count: int) -> list[Task]:
    return [replace(a_task(100 + i), gold="cat") for i in range(count)]


def test_nobody_is_asked_the_same_twice_and_each_in_an_order_of_their_own() -> None:
    """Every piece once, then none; two people do not meet them in the same order, and their copies have other ids."""
    bank, orders = Bank(pieces(12)), {}
    for name in ("ann", "bob"):
        had: dict[str, str] = {}
        while (copy := bank.next_for(name, had, 0)) is not None:
            had[copy.task_id] = copy.event_id
            assert bank.truth(copy.task_id, name) == "cat"
            assert bank.truth(copy.task_id, "somebody else") is None
        orders[name] = had
    assert [len(set(orders[name].values())) for name in orders] == [12, 12]
    assert list(orders["ann"].values()) != list(orders["bob"].values())
    assert not set(orders["ann"]) & set(orders["bob"])


def test_proven_people_get_little_gold_and_doubtful_ones_much() -> None:
    """All at first, least when sure; close to the bound it stays up, since the next answer matters."""
    rates = [rate(s, RULE) for s in (Standing(), Standing(10, 10), Standing(200, 200), Standing(60, 100))]
    assert rates[0] == RULE.most > rates[1] > rates[2] == RULE.least
    assert rates[3] == pytest.approx(RULE.most / 2)


@pytest.mark.parametrize(
    ("right", "asked", "expected"), [(0, 7, False), (1, 8, True), (4, 8, False), (40, 100, True), (55, 100, False)]
)
def test_only_who_is_surely_below_the_bound_is_paused(right: int, asked: int, *, expected: bool) -> None:
    """The whole interval lies below, after enough gold: bad luck is not enough."""
    assert paused(Standing(right, asked), RULE) is expected


def test_a_copy_shows_nothing_that_live_tasks_do_not_show() -> None:
    """Payload, classes and schema are the piece's; what differs is never shown."""
    piece = pieces(1)[0]
    copy = copy_of(piece, "ann", 5)
    assert replace(copy, task_id=piece.task_id, audience="", votes_wanted=0, created_ms=piece.created_ms) == piece


async def gold_office(project: Project, chance: float = 0.999) -> tuple[Office, People]:
    office = await open_office(project)
    trail = AuditTrail(office.log, project.project, office.clock)
    around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: chance, trail)
    people = People(project, office.queue, around)
    office.context = replace(office.context, audit=trail)
    office.watch(people)
    return office, people


async def test_gold_is_served_scored_and_never_a_label() -> None:
    """Made by a reviewer of a live task, copied for a person, answered like any other; `labels` has the live ones alone."""
    office, people = await gold_office(a_project())
    async with running(office):
        await office.publish_tasks(*(a_task(i) for i in range(3)))
        ann, rev = await office.client("ann"), await office.client("rev", Role.REVIEWER)
        (task,) = (await claim(ann, wait_ms=20_000))["tasks"]
        made = await rev.post("/v1/projects/pets/gold", json={"task_id": task["task_id"], "answer": "cat"})
        assert made.status_code == 201
        await submit(ann, task, "dog")
        bob = await office.client("bob")  # Ann would know it again
        await eventually(lambda: _asked(people, "bob", bob, answer="cat"))
        shown = await _asked(people, "bob", bob, answer="cat")
    labels = await office.labels()
    assert shown == Standing(1, 1)
    assert {x.task_id for x in labels} <= {a_task(i).task_id for i in range(3)}
    assert all(x.method != "gold" for x in labels)


async def _asked(people: People, name: str, client: AsyncClient, answer: str) -> Standing | None:
    for task in (await claim(client))["tasks"]:
        assert (await submit(client, task, answer)).status_code == 201
    standing = people.figures.standing(name)
    return standing if standing.asked else None


async def test_a_person_below_the_bound_is_paused_and_told_and_let_go_on_by_a_manager() -> None:
    """No new task, in words that say what to do; what they hold is still taken; a manager ends it."""
    project = a_project()
    strict = project.labeling.model_copy(update={"gold": Gold(after=3, accuracy=0.9)})
    office, people = await gold_office(project.model_copy(update={"labeling": strict}))
    async with running(office):
        await office.publish_tasks(*pieces(6), *(a_task(i) for i in range(4)))
        ann, boss = await office.client("ann"), await office.client("boss", Role.MANAGER)

        async def refused() -> str | None:
            response = await ann.post("/v1/projects/pets/tasks:claim", json={})
            for task in response.json().get("tasks", ()):
                assert (await submit(ann, task, "dog")).status_code == 201
            return response.json().get("type") if response.status_code == 409 else None

        assert await eventually(refused) == "urn:tiebreak:problem:paused"
        crowd = (await boss.get("/v1/projects/pets/crowd")).json()
        assert [(p["name"], p["paused"], p["gold"]["right"]) for p in crowd["people"]] == [("ann", True, 0)]
        other = People(office.project, office.queue, people._around)  # another process notices, too
        other.figures = people.figures
        for noticing in (people, other, people):
            await noticing.record_pauses()
        assert (await boss.post("/v1/projects/pets/people/ann:resume")).status_code == 204
        assert (await ann.post("/v1/projects/pets/tasks:claim", json={})).status_code == 200
        assert people.refusal("ann") is None
        (by, did, to, why), resumed = await deeds(office)
        assert (by, did, to, why[:5], why[6:]) == (
            *("tiebreak", "annotator.paused", "ann"),
            *("0 of ", " pieces of gold right, surely below 0.9"),
        )
        assert resumed == ("boss", "annotator.resumed", "ann", f"after {why[5]} answers to gold")


async def deeds(office: Office) -> list[tuple[str, str, str, str]]:
    """Who did what to what, as the audit trail has it."""
    assert office.context.audit is not None
    records, _ = await office.context.audit.read()
    return [(r.actor, r.action, r.target, r.detail) for r in records]

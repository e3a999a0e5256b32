"""What a reviewer is shown of a dispute, from people's requests to theirs, and what nobody else is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.support.disputes import PEOPLE, Says, disagree, disputed_project
from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import (
    Office,
    claim,
    listening,
    lose,
    open_office,
    open_tasks,
    running,
    submit,
    withdraw,
)
from tiebreak.client import AsyncClient, Conflict
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.project import Answer, AnswerKind, Project
from tiebreak.labeling.access import Role
from tiebreak.labeling.port import Reopen

NOTE = '<script>alert("no")</script> \N{PILE OF POO}'


def project(**labeling: object) -> Project:
    return disputed_project(a_project(), **labeling)


async def dispute(office: Office, *values: object) -> Mapping[str, httpx.AsyncClient]:
    """The project's one task, in review after these answers ('-' is a skip)."""
    await office.publish_tasks(a_task(1))
    says = [Says(None, "too dark", flagged=True) if value == "-" else Says(value, NOTE) for value in values]
    return await disagree(office, *says)


async def told(client: httpx.AsyncClient, task: Any) -> Any:
    """What this client is told of a task that it holds."""

    async def there() -> Any:
        answer = await client.get(f"/v1/tasks/{task['task_id']}/answers")
        return answer.json() if answer.status_code == 200 else None

    return await eventually(there)


async def hold(client: httpx.AsyncClient) -> Any:
    (task,) = (await claim(client, wait_ms=20_000))["tasks"]
    return task


async def test_a_reviewer_sees_who_said_what_and_no_names() -> None:
    """Letters for people, their notes and flags as they wrote them, and each class's share of the answers."""
    office = await open_office(project())
    async with running(office):
        await dispute(office, "cat", "-", "dog")
        rita = await office.client("rita", Role.REVIEWER)
        task = await hold(rita)
        answer = await rita.get(f"/v1/tasks/{task['task_id']}/answers")
        seen = answer.json()
        assert seen["task_id"] == task["task_id"]
        said = [(a["by"], a["annotator"], a["value"], a["state"], a["comment"], a["flagged"]) for a in seen["answers"]]
        assert said == [
            ("A", "", "cat", "submitted", NOTE, False),
            ("B", "", "", "skipped", "too dark", True),
            ("C", "", "dog", "submitted", NOTE, False),
        ]
        on_log = {a.annotator: a for a in await office.annotations()}
        times = [(a["submitted_ms"], a["lead_time_s"], a["answer_schema_version"]) for a in seen["answers"]]
        assert times == [(a.submitted_ms, a.lead_time_s, "1") for a in (on_log[name] for name in PEOPLE)]
        halves = [{"value": "cat", "share": 0.5}, {"value": "dog", "share": 0.5}]
        assert seen["so_far"] == {"consensus": "majority", "shares": halves}
        assert [name in answer.text for name in PEOPLE] == [False] * 3
        assert "what is 1?" not in answer.text
        await rita.post(f"/v1/leases/{task['lease']['id']}:release")
        boss = await office.client("boss", Role.MANAGER)
        named = await told(boss, await hold(boss))
        assert [a["annotator"] for a in named["answers"]] == list(PEOPLE)


async def test_what_is_answered_blind_stays_blind_for_reviewers_too() -> None:
    """A task that still wants answers: 409, whoever asks, in words; never held: 404; annotators: 403, of whatever task."""
    office = await open_office(project())
    async with running(office):
        zoe, rita, boss = (
            await office.client("zoe"),
            await office.client("rita", Role.REVIEWER),
            await office.client("boss", Role.ADMIN),
        )
        await office.publish_tasks(a_task(1))
        task = await hold(zoe)
        assert (await submit(zoe, task, "dog", comment="zoe-wrote")).status_code == 201
        held = await hold(rita)
        path = f"/v1/tasks/{held['task_id']}/answers"
        answers = [await client.get(path) for client in (rita, boss, zoe)]
    assert [a.status_code for a in answers] == [409, 404, 403]
    assert answers[0].json()["type"] == "urn:tiebreak:problem:not_in_review"
    assert answers[0].json()["fix"] == "Answer it like any other."
    assert [word in a.text for a in answers for word in ("zoe", "dog")] == [False] * 6


async def test_only_who_may_review_is_told_which_tasks_are_in_review() -> None:
    """By both ways of a claim, after an answer, and by the heartbeat: a reviewer's page asks about these alone."""
    office = await open_office(project(votes=2))
    async with running(office), listening(office) as served:
        await office.publish_tasks(a_task(1))
        await disagree(office, Says("cat"), Says(None), Says("dog"))
        await office.publish_tasks(a_task(2), a_task(3))
        await open_tasks(office, 3)
        three: list[Any] = []
        for where in (office, served):  # the framework's way, and the hot one
            rita = await where.client("rita", Role.REVIEWER)
            three = (await claim(rita, max=3))["tasks"]
            assert [(t["payload"]["text"], t["in_review"]) for t in three] == [
                ("what is 1?", True),
                ("what is 2?", False),
                ("what is 3?", False),
            ]
            renewed = [(await rita.post(f"/v1/leases/{t['lease']['id']}:renew")).json()["in_review"] for t in three]
            assert renewed == [True, False, False]
        for where, task in zip((office, served), three[1:], strict=True):
            body, headers = (
                {"lease_token": task["lease"]["token"], "value": "cat"},
                {"Idempotency-Key": task["task_id"]},
            )
            rita = await where.client("rita", Role.REVIEWER)
            said = await rita.post(f"/v1/tasks/{task['task_id']}/annotations?next=1", json=body, headers=headers)
            assert [t["in_review"] for t in said.json()["next"]["tasks"]] == [True]


async def test_who_answers_blind_cannot_tell_that_others_disagree() -> None:
    """Their task goes to review while they hold it."""
    office = await open_office(project(votes=2))
    async with running(office), listening(office) as served:
        await office.publish_tasks(a_task(1))
        await open_tasks(office, 1)
        for where in (office, served):
            eve = await where.client("eve")
            (held,) = (await claim(eve))["tasks"]
            await office.queue.reopen([Reopen(held["task_id"], 0, review=True)])
            (same,) = (await claim(eve))["tasks"]
            renewed = (await eve.post(f"/v1/leases/{held['lease']['id']}:renew")).json()
            assert (held["in_review"], same["in_review"], renewed["in_review"]) == (False, False, False)


@pytest.mark.parametrize("bad", ["x", "0" * 31, "0" * 33, "%00", "..%2Fme", "0" * 32 + ".1"])
async def test_what_is_no_task_is_not_found(office: Office, bad: str) -> None:
    """Whatever stands in its place: 404 in the words for every task that is not yours."""
    rita = await office.client("rita", Role.REVIEWER)
    assert (await rita.get(f"/v1/tasks/{bad}/answers")).status_code == 404


async def test_an_answer_that_is_taken_back_meanwhile_is_gone_at_the_next_look() -> None:
    """And where people agree then, the task is settled: who holds it is told so."""
    office = await open_office(project(agreement=0.6))
    async with running(office):
        people = await dispute(office, "cat", "bird", "dog")
        rita = await office.client("rita", Role.REVIEWER)
        task = await hold(rita)
        before = await told(rita, task)
        assert [a["by"] for a in before["answers"]] == ["A", "B", "C"]
        for name, left in (("yan-said", ["A", "C"]), ("bob-said", ["A"])):
            (line,) = (await people[name].get("/v1/me/annotations")).json()["annotations"]
            assert (await withdraw(people[name], line["annotation_id"], name)).status_code == 200

            async def seen() -> bool:
                answer = await rita.get(f"/v1/tasks/{task['task_id']}/answers")
                # One answer of two wanted is no dispute any more.
                found = [a["by"] for a in answer.json().get("answers", ())]
                return found == left if answer.is_success else answer.json()["type"].endswith("not_in_review")  # noqa: B023

            await eventually(seen)


async def test_the_dispute_outlives_the_loss_of_the_store() -> None:
    """Built again from the topics, it is the same to the byte, for the reviewer who held it before."""
    office = await open_office(project(consensus="dawid_skene", confidence=0.99))
    async with running(office):
        await dispute(office, "cat", "dog", "cat")
        rita = await office.client("rita", Role.REVIEWER)
        task = await hold(rita)
        before = await told(rita, task)
        assert before["so_far"]["consensus"] == "dawid_skene"
        assert [item["value"] for item in before["so_far"]["shares"]] == ["cat", "dog", "bird"]
        assert sum(item["share"] for item in before["so_far"]["shares"]) == pytest.approx(1.0)
        await lose(office.queue)

        async def rebuilt() -> bool:
            return (await office.queue.stats()).in_review == 1

        await eventually(rebuilt, retry_on=(SlowDown,))
        assert await told(rita, task) == before


async def test_answers_that_are_no_classes_say_what_people_share() -> None:
    """Three numbers, no two near: the median, and how far people are behind it."""
    office = await open_office(disputed_project(a_project(), answer=Answer(kind=AnswerKind.NUMERIC, least=0, most=100)))
    async with running(office):
        await dispute(office, 1, 50, 99)
        rita = await office.client("rita", Role.REVIEWER)
        seen = await told(rita, await hold(rita))
    assert [json.loads(a["value"]) for a in seen["answers"]] == [1, 50, 99]
    assert seen["so_far"]["consensus"] == "agreement"
    assert seen["so_far"]["shares"] == [{"value": "50", "share": pytest.approx(1 / 3)}]


async def test_where_all_skipped_the_consensus_has_no_word() -> None:
    """Their reasons are what the reviewer has."""
    office = await open_office(project())
    async with running(office):
        await dispute(office, "-", "-", "-")
        rita = await office.client("rita", Role.REVIEWER)
        seen = await told(rita, await hold(rita))
    assert (seen["so_far"], [a["comment"] for a in seen["answers"]]) == (None, ["too dark"] * 3)


async def test_the_client_reads_it() -> None:
    """As frozen dataclasses; a task that is answered blind is a Conflict that says so."""
    office = await open_office(project())
    async with running(office):
        await dispute(office, "cat", "-", "dog")
        token = await office.person("rita", Role.REVIEWER)
        transport = httpx.ASGITransport(office.app)
        async with AsyncClient("http://tiebreak.test", token=token, project="pets", transport=transport) as rita:
            (task,) = (await rita.claim(wait_s=20)).tasks
            seen = await rita.answers(task)
            assert [(a.by, a.annotator, a.value, a.state) for a in seen.answers] == [
                ("A", "", "cat", "submitted"),
                ("B", "", "", "skipped"),
                ("C", "", "dog", "submitted"),
            ]
            assert (seen.consensus, seen.shares) == ("majority", {"cat": 0.5, "dog": 0.5})
            await rita.submit(task, "cat")
            with pytest.raises(Conflict):
                await rita.answers(task)

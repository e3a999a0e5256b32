"""A manager takes a person's recent answers back: which ones, and what becomes of their labels and tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.labeling import HASTY, Queues, a_project, a_task
from tests.support.labeling_api import Office, claim, open_office, open_tasks, running, submit
from tests.unit.labeling.test_people import said
from tests.unit.labeling.test_withdrawals import seen_through
from tiebreak.contracts.audit import key_of, words_of
from tiebreak.contracts.messages import AnnotationState
from tiebreak.labeling.access import Role
from tiebreak.labeling.figures import DAY_MS
from tiebreak.labeling.gold import Bank, copy_of
from tiebreak.labeling.reopening import Deed, to_reopen
from tiebreak.labeling.stage_people import Around, People
from tiebreak.runtime.audit_trail import AuditTrail

GOLD = [replace(a_task(100 + i), gold="cat") for i in range(2)]
COPIES = [copy_of(piece, "ann", 0).task_id for piece in GOLD]
ANSWERS = [
    said("t0", "ann", "dog", day=0),
    said(COPIES[0], "ann", "cat", day=1),
    said("t1", "ann", "dog", day=2),
    said("t2", "ann", "-", day=3),
    said(COPIES[1], "ann", "dog", day=4),
    said("t3", "ann", "", day=5),
    said("t4", "ann", "dog", day=6),
]


@pytest.mark.parametrize(
    ("since_ms", "last", "expected"),
    [
        (None, None, ["t4", "t1"]),
        (0, None, ["t4", "t1", "t0"]),
        (3 * DAY_MS, None, ["t4"]),
        (None, 2, ["t4", "t1"]),
        (None, 9, ["t4", "t1", "t0"]),
        (2 * DAY_MS, 1, ["t4"]),
    ],
)
def test_votes_since_the_last_gold_that_was_right_are_taken_back(
    since_ms: int | None, last: int | None, expected: list[str]
) -> None:
    """By default those after it; else from a time on, so many. Never gold, skips, or what was taken back before."""
    chosen = to_reopen(ANSWERS, Bank(GOLD), Deed("boss", "", since_ms, last))
    assert [a.task_id for a in chosen] == expected


def test_without_any_gold_that_was_right_all_votes_are_taken_back() -> None:
    """Nothing speaks for any of them."""
    assert [a.task_id for a in to_reopen(ANSWERS, Bank(), Deed("boss"))] == ["t4", COPIES[1], "t1", COPIES[0], "t0"]


async def test_a_request_that_is_sent_again_takes_the_same_answers_back(queue: Queues) -> None:
    """With its key: the last two stay the last two of then, whoever answered since; the key is not good for another request."""
    office = await an_office(queue)
    async with running(office):
        await office.publish_tasks(*(a_task(i) for i in range(1, 6)))
        ann, boss = await office.client("ann"), await office.client("boss", Role.MANAGER)

        async def reopen(key: str, last: int) -> tuple[int, Any]:
            body = {"reason": "all cats", "last": last}
            path, headers = "/v1/projects/pets/people/ann:reopen", {"Idempotency-Key": key} if key else {}
            response = await boss.post(path, json=body, headers=headers)
            return response.status_code, response.json()

        async def reopened() -> Any:
            # This process may not have heard of Ann yet.
            status, said = await reopen("monday", 2)
            return said if status == 200 else None

        async def voted() -> list[str]:
            newest = {a.task_id: a for a in sorted(await office.annotations(), key=lambda a: a.revision)}
            return [task for task, a in newest.items() if a.state != "withdrawn"]

        await answers(ann, 3, "cat")
        assert await eventually(reopened) == {"withdrawn": 2, "refused": 0, "left": 0}
        kept = await voted()
        assert len(kept) == 1
        await answers(ann, 2, "dog")  # to whichever questions come next: those that she answered, too
        assert await reopened() == {"withdrawn": 2, "refused": 0, "left": 0}
        assert len(await voted()) == 3
        status, said = await reopen("monday", 3)
        assert (status, said["type"].rpartition(":")[2]) == (409, "key_reused")
        assert (await reopen("not a key", 2))[0] == 422
        # Nor for another reason.
        path, body = "/v1/projects/pets/people/ann:reopen", {"reason": "all dogs", "last": 2}
        assert (await boss.post(path, json=body, headers={"Idempotency-Key": "monday"})).status_code == 409
        assert (await reopen("tuesday", 3))[1] == {"withdrawn": 3, "refused": 0, "left": 0}
        assert await voted() == []
        assert (await reopen("", 3))[1] == {"withdrawn": 0, "refused": 0, "left": 0}
        # There was nothing to take back then, or the process died before it did: what was said since is another matter all the same.
        assert (await reopen("sunday", 3))[1] == {"withdrawn": 0, "refused": 0, "left": 0}
        await answers(ann, 1, "cat")
        assert (await reopen("sunday", 3))[1] == {"withdrawn": 0, "refused": 0, "left": 0}
        assert len(await voted()) == 1
    records, _ = await office.trail().read()
    assert [(key_of(r), words_of(r)) for r in records if r.action == "answers.reopened"] == [
        ("monday", "2 answers: all cats"),
        ("tuesday", "3 answers: all cats"),
        ("", "0 answers: all cats"),
        ("sunday", "0 answers: all cats"),
    ]


def test_what_was_begun_goes_on_where_it_was() -> None:
    """Of the last three one was taken back when the connection broke: two more, and not what was said since; nor with no number."""
    deed = Deed("boss", "monday", None, 3)
    gone = replace(ANSWERS[6], revision=2, state=AnnotationState.WITHDRAWN, submitted_ms=7 * DAY_MS)
    later = [said("t5", "ann", "dog", day=8), replace(said("t4", "ann", "cat", day=9), revision=3)]
    begun = [*ANSWERS, replace(gone, idempotency_key=f"{deed.prefix}1/t4"), *later]
    assert [a.task_id for a in to_reopen(begun, Bank(GOLD), deed)] == ["t1", "t0"]
    whole = Deed("boss", "monday")
    begun[7] = replace(gone, idempotency_key=f"{whole.prefix}1/t4")
    assert [a.task_id for a in to_reopen(begun, Bank(GOLD), whole)] == ["t1"]
    begun[7] = replace(gone, idempotency_key="reopen/boss/of/tuesday/12345678/1/t4")
    assert [a.task_id for a in to_reopen(begun, Bank(GOLD), whole)] == ["t4", "t5", "t1"]


async def an_office(queue: Queues) -> Office:
    """Two votes per task; content goes as soon as it is settled."""
    project = a_project(votes=2)
    office = await open_office(project, seen_through(queue, replace(HASTY, lease_ms=60_000, keep_ms=0)))
    trail = AuditTrail(office.log, project.project, office.clock)
    office.context = replace(office.context, audit=trail)
    office.watch(
        People(
            project, office.queue, Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.0)
        )
    )
    return office


async def answers(client: httpx.AsyncClient, count: int, value: str) -> None:
    """Claim and answer so many tasks, however long the queue is being built."""

    async def leased() -> list[Any]:
        response = await client.post("/v1/projects/pets/tasks:claim", json={"max": count})
        tasks = response.json().get("tasks", ())
        return list(tasks) if len(tasks) == count else []

    for task in await eventually(leased):
        assert (await submit(client, task, value)).status_code == 201


async def test_a_managers_word_takes_answers_back_and_others_are_asked(queue: Queues) -> None:
    """Two settled tasks and one that waits for its second vote: labels are withdrawn, all go to others, the deed is on record."""
    office = await an_office(queue)
    async with running(office):
        await office.publish_tasks(a_task(1), a_task(2))
        ann, bob, cyd = [await office.client(name) for name in ("ann", "bob", "cyd")]
        boss = await office.client("boss", Role.MANAGER)
        await answers(bob, 2, "cat")
        await answers(ann, 2, "cat")
        await open_tasks(office, 0)
        await office.publish_tasks(a_task(3))
        await answers(ann, 1, "dog")

        async def reopen() -> Any:
            # This process may not have heard of Ann yet.
            response = await boss.post(
                "/v1/projects/pets/people/ann:reopen", json={"reason": "all cats", "since_ms": 0}
            )
            return response.json() if response.status_code == 200 else None

        assert await eventually(reopen) == {"withdrawn": 3, "refused": 0, "left": 0}
        await open_tasks(office, 3)
        assert await reopen() == {"withdrawn": 0, "refused": 0, "left": 0}
        assert (await claim(bob))["tasks"][0]["payload"]["text"] == "what is 3?"
        await answers(cyd, 2, "cat")
        await open_tasks(office, 1)
        labels = {(x.task_id, x.revision): x for x in await office.labels()}
    withdrawn = {task for (task, revision), x in labels.items() if revision == 2 and x.withdrawn}
    assert withdrawn == {a_task(1).task_id, a_task(2).task_id}
    again = [sorted(v.annotator for v in x.votes) for (_, revision), x in labels.items() if revision == 3]
    assert again == [["bob", "cyd"]] * 2
    taken = [a for a in await office.annotations() if a.state == "withdrawn"]
    assert sorted((a.annotator, a.revision, a.comment) for a in taken) == [("ann", 2, "taken back by boss")] * 3
    assert office.context.audit is not None
    records, _ = await office.context.audit.read()
    assert [(r.actor, r.action, r.target, r.detail) for r in records] == [
        ("boss", "answers.reopened", "ann", "3 answers: all cats"),
        ("boss", "answers.reopened", "ann", "0 answers: all cats"),
    ]


async def test_nobody_is_reopened_who_never_answered(queue: Queues) -> None:
    """An unknown name is 404 and called a person, not a task; nothing is on record."""
    office = await an_office(queue)
    boss = await office.client("boss", Role.MANAGER)
    response = await boss.post("/v1/projects/pets/people/nobody:reopen", json={"reason": "who is it"})
    assert (response.status_code, "Nobody of this name" in response.json()["detail"]) == (404, True)
    assert office.context.audit is not None
    assert await office.context.audit.sound() == []

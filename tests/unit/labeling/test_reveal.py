"""Revealing what was masked: who may, that it is on record first, and that what is gone stays gone."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import Office, open_office
from tiebreak.client import AsyncClient
from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import JSON, headers_for
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import Payload, PayloadKind
from tiebreak.contracts.topics import Topic
from tiebreak.events.stage_history import History
from tiebreak.labeling.access import Role
from tiebreak.labeling.http import create_app
from tiebreak.runtime.audit_trail import AuditTrail

MASKED = Payload(PayloadKind.TEXT, "text/plain", b"write to <EMAIL_1>")
TASK = a_task(0, payload=MASKED)


@pytest.fixture
async def office() -> Office:
    """Task 0 is masked; its event, and one in front of it, are on the log."""
    office = await open_office(a_project())
    trail = AuditTrail(office.log, "pets", office.clock)
    topic = Topic.EVENTS.of("pets")
    office.context = replace(office.context, audit=trail, originals=History(office.log, topic))
    office.app = create_app(office.context)
    bodies = [
        f'{{"id": "event-{i}", "inputs": [{{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}}],'
        f' "payload": "write to bob{i}@example.com"}}'.encode()
        for i in (9, 0)
    ]
    messages = [Message(topic, b"k", body, headers_for(JSON), partition=1) for body in bodies]
    await office.log.writer().publish(Outputs(messages=messages))
    await office.queue.add([replace(TASK, source_partition=1, source_offset=1)])
    return office


async def reveal(office: Office, role: Role, **body: object) -> tuple[int, object]:
    """Status and, if it was shown, the text."""
    async with await office.client(f"the-{role}", role) as client:
        answer = await client.post(f"/v1/tasks/{TASK.task_id}:reveal", json=body)
    said = answer.json()
    return answer.status_code, said["payload"]["text"] if answer.status_code == 200 else said["type"].split(":")[-1]


async def deeds(office: Office) -> list[tuple[str, Action, str, str]]:
    """What the audit trail says."""
    assert office.context.audit is not None
    records, _ = await office.context.audit.read()
    return [(r.actor, Action(r.action), r.target, r.detail) for r in records]


async def test_a_manager_with_a_reason_sees_the_original_and_it_is_on_record(office: Office) -> None:
    """The text of the very event the task was made of; the trail names who, which task and why."""
    assert await reveal(office, Role.MANAGER, reason="customer asked") == (200, "write to bob0@example.com")
    assert await deeds(office) == [("the-manager", Action.PAYLOAD_REVEALED, TASK.task_id, "customer asked")]


async def test_the_client_shows_it_typed(office: Office) -> None:
    """`tiebreak.client` over the same application: the text, and which record says who saw it."""
    token, transport = await office.person("mia", Role.MANAGER), httpx.ASGITransport(office.app)
    async with AsyncClient("http://tiebreak.test", token=token, project="pets", transport=transport) as mia:
        shown = await mia.reveal(TASK.task_id, "customer asked")
    assert (shown.task_id, shown.payload.kind, shown.payload.text) == (
        TASK.task_id,
        "text",
        "write to bob0@example.com",
    )
    records, _ = await office.trail().read()
    assert [r.sequence for r in records] == [shown.audit_sequence]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER])
async def test_others_are_refused_and_nothing_is_on_record(office: Office, role: Role) -> None:
    """Those who label are those the masks are for."""
    assert await reveal(office, role, reason="curious") == (403, "forbidden")
    assert await deeds(office) == []


async def test_no_reason_no_original(office: Office) -> None:
    """A blank reason is none."""
    for body in ({}, {"reason": "  "}, {"reason": ""}):
        status, _ = await reveal(office, Role.ADMIN, **body)
        assert status == 422
    assert await deeds(office) == []


async def test_what_the_log_let_go_of_or_holds_no_more_cannot_be_seen(office: Office) -> None:
    """An offset that holds another event now shows nothing of it, and a task that left the queue is not found."""
    other = a_task(5, source_partition=1, source_offset=0)
    await office.queue.add([other])
    async with await office.client("boss", Role.MANAGER) as client:
        for task in (other.task_id, a_task(7).task_id):
            answer = await client.post(f"/v1/tasks/{task}:reveal", json={"reason": "checking"})
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:tiebreak:problem:not_found")
            assert "bob" not in answer.text
    assert await deeds(office) == []

"""Blind: whatever an annotator asks for, by any route, no answer tells what others said, who they are, or what the model thinks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task, annotation
from tests.support.labeling_api import Office, claim, listening, open_office, running, submit
from tiebreak.contracts.messages import AnnotationState, Reason, Selection, Task
from tiebreak.labeling.access import Role
from tiebreak.labeling.http_openapi import operations
from tiebreak.labeling.port import Receipt
from tiebreak.labeling.stage_people import Around, People
from tiebreak.runtime.audit_trail import AuditTrail

# What would be in an answer, were it shown. That a class exists is told to everybody; who says "cat" is the one who asks.
TOLD_WITH_THE_SCHEMA = {"what another person said": '"dog"', "the model's class": '"bird"'}
SECRETS = {
    "who else voted": "zoe-voted",
    "who reviewed": "rev-looked",
    "what another person wrote": "zoe-wrote",
    "the model's probability": "0.618034",
    "its uncertainty": "0.271828",
    "the threshold": "0.314159",
    "the propensity": "0.577216",
    "the priority": "0.141421",
    "the model": "v000777",
    "the strategy": "strategy-secret",
    "the sampler": "digest-secret",
    "the event": "event-",
}
GAUGE = "tiebreak_labeling_gold_accuracy_ratio{"
_WHY = {"reason": "because I can"}


def secret_task(number: int) -> Task:
    chosen = Selection(
        "strategy-secret", 0.271828, 0.314159, 0.577216, Reason.UNCERTAIN, False, "v000777", "digest-secret"
    )
    return a_task(
        number, predicted="bird", probabilities=(0.2, 0.181966, 0.618034), selection=chosen, priority=0.141421
    )


async def blind_office() -> Office:
    office = await open_office(a_project(votes=2, max_votes=3))
    trail = AuditTrail(office.log, "pets", office.clock)
    around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.5, trail)
    office.context = replace(office.context, audit=trail)
    office.watch(People(office.project, office.queue, around))
    return office


async def others_work(office: Office) -> None:
    """Zoe answers three tasks, two others one each: one is settled, another waits for a second answer."""
    zoe, yan = await office.client("zoe-voted"), await office.client("yan-voted")
    for task in (await claim(zoe, wait_ms=20_000, max=3))["tasks"]:
        assert (await submit(zoe, task, "dog", comment="zoe-wrote", flagged=True)).status_code == 201
    rev = await office.client("rev-looked", Role.REVIEWER)
    for client, value in ((yan, "dog"), (rev, "bird")):
        (task,) = (await claim(client, wait_ms=20_000, max=1))["tasks"]
        assert (await submit(client, task, value)).status_code == 201

    async def settled() -> bool:
        return len(await office.labels()) >= 1

    await eventually(settled)


def body_for(path: str, task: dict[str, Any]) -> dict[str, Any]:
    bodies = {
        ":claim": {"max": 5},
        "/annotations": {"lease_token": task["lease"]["token"], "value": "cat"},
        ":skip": {"lease_token": task["lease"]["token"], **_WHY},
        "/gold": {"task_id": task["task_id"], "answer": "cat"},
        "/classes": {"name": "ferret"},
    }
    return next((body for end, body in bodies.items() if path.endswith(end)), _WHY)


async def everything(
    office: Office, client: httpx.AsyncClient, task: dict[str, Any], annotation: str
) -> list[tuple[str, httpx.Response]]:
    """The answer to each operation of the document, with ids that are this person's and well-formed bodies."""
    ids = {
        **dict.fromkeys(("project", "name"), "pets"),
        **dict.fromkeys(("version", "other"), "v000777"),
        "task": task["task_id"],
        "lease": task["lease"]["id"],
        "annotation": annotation,
        "person": "zoe-voted",
    }
    found: list[tuple[str, httpx.Response]] = []
    for method, path, _ in operations(office.app.openapi()):
        place = path
        for name, value in ids.items():
            place = place.replace("{" + name + "}", value)
        body = None if method == "get" else body_for(path, task)
        key = {"Idempotency-Key": f"{client.headers['authorization'][-8:]}-{len(found)}"}
        found.append((f"{method} {path}", await client.request(method, place, json=body, headers=key)))
    return found


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.VIEWER])
async def test_no_route_tells_an_annotator_what_others_said_or_the_model_thinks(role: Role) -> None:
    """Every operation, on a task that others answered and on one of one's own, and the metrics: none of the secrets is in an answer."""
    office = await blind_office()
    async with running(office), listening(office):
        await office.publish_tasks(*(secret_task(number) for number in range(6)))
        await others_work(office)
        ann = await office.client("ann")
        held = (await claim(ann, wait_ms=20_000, max=5))["tasks"]
        own = (await submit(ann, held[-1])).json()["annotation_id"]
        asker = ann if role is Role.ANNOTATOR else await office.client("vic", role)
        answers = await everything(office, asker, held[0], own)
        answers += [(path, await asker.get(path)) for path in ("/metrics", "/v1/me/annotations?limit=200")]
    fine = {route for route, answer in answers if answer.is_success}
    expected = {"get /v1/me", "get /v1/projects/{name}"}
    if role is Role.ANNOTATOR:
        expected |= {"post /v1/projects/{project}/tasks:claim", "post /v1/annotations/{annotation}:undo"}
    assert expected <= fine
    leaks = {
        (route, what)
        for route, answer in answers
        for what, secret in (SECRETS | ({} if route == "get /v1/projects/{name}" else TOLD_WITH_THE_SCHEMA)).items()
        if secret in answer.text or secret in str(answer.headers)
    }
    assert leaks == set()


async def test_gold_cannot_be_told_by_watching_the_metrics() -> None:
    """Whoever answers one task and looks at the gauges of gold before and after sees no step: they move with every tenth answer."""
    office = await blind_office()
    people = office.people
    assert people is not None
    seen = []
    for number in range(25):
        answer = annotation(a_task(number), "ann", Receipt(1, AnnotationState.SUBMITTED, 1, 1, 2), "cat")
        people.figures.hear(answer, truth="cat" if number < 12 else "dog")
        await people.tend()
        gauge = [line for line in office.metrics.exposition().decode().splitlines() if line.startswith(GAUGE)]
        seen.append(gauge[0].split()[-1] if gauge else "")
    assert [number for number in range(1, 25) if seen[number] != seen[number - 1]] == [9, 19]

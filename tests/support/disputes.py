"""People who disagree, until nobody but a reviewer can help."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from tests.support.eventually import eventually
from tests.support.labeling_api import Office, claim
from tiebreak.contracts.project import Answer, Classes, Labeling, Project

PEOPLE = ("zoe-said", "yan-said", "bob-said")


@dataclass(frozen=True, slots=True)
class Says:
    """What somebody says of every task; ``answer`` None is a skip, and ``comment`` its reason."""

    answer: object
    comment: str = ""
    flagged: bool = False


def disputed_project(project: Project, *classes: str, answer: object = None, **labeling: object) -> Project:
    """Two answers wanted, three at most, and they must agree."""
    asked = {"votes": 2, "max_votes": 3, "answer": answer or Answer(), **labeling}
    names = Classes(names=classes) if classes else project.classes
    return project.model_copy(update={"labeling": Labeling.model_validate(asked), "classes": names})


async def disagree(office: Office, *said: Says, tasks: int = 1) -> dict[str, httpx.AsyncClient]:
    """Each of :data:`PEOPLE` answers every task; all are in review when this returns."""
    people = {name: await office.client(name) for name in PEOPLE}
    for client, says in zip(people.values(), said, strict=True):
        for _ in range(tasks):
            (task,) = (await claim(client, office.project.project, wait_ms=20_000))["tasks"]
            await _say(client, task["task_id"], task["lease"]["token"], says)

    async def in_review() -> bool:
        return (await office.queue.stats()).in_review == tasks

    await eventually(in_review)
    return people


async def _say(client: httpx.AsyncClient, task: str, token: int, says: Says) -> None:
    body: dict[str, object] = {"lease_token": token, "flagged": says.flagged, "lead_time_s": 0.0}
    if says.answer is None:
        path, body["reason"] = f"/v1/tasks/{task}:skip", says.comment
    else:
        kind = "value" if isinstance(says.answer, str) else "answer"
        path, body["comment"], body[kind] = f"/v1/tasks/{task}/annotations", says.comment, says.answer
    answer = await client.post(path, json=body, headers={"Idempotency-Key": task})
    assert answer.status_code == 201, answer.text

"""Claim and submit past the framework's layers: the same answers, and a token that ends ends there too."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
import redis.asyncio
from structlog.testing import capture_logs

from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import Office, claim, listening, lose, open_office, submit
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.messages import AnnotationState, Payload, PayloadKind
from tiebreak.labeling.http import create_app
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.port import Claimed
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.redis_tokens import RedisTokens
from tiebreak.labeling.stage_answers import give_back
from tiebreak.runtime.clock import SystemClock

# A content type that the hot way leaves to the framework.
SLOW = {"content-type": "application/json; charset=utf-8"}


@pytest.fixture
async def office(office: Office) -> AsyncIterator[Office]:  # pytest's way to build upon a fixture of the same name
    """On a real address: the hot way begins in the server."""
    async with listening(office) as known:
        yield known


async def both_ways(client: httpx.AsyncClient, path: str, body: bytes, **headers: str) -> list[httpx.Response]:
    """The same request on the hot way and through the framework."""
    ways = ({"content-type": "application/json"}, SLOW)
    return [await client.post(path, content=body, headers={**headers, **way}) for way in ways]


def lines_of(response: httpx.Response) -> Mapping[str, str]:
    """Its headers but for the time."""
    return {name: value for name, value in response.headers.items() if name != "date"}


def without_times(body: Any) -> Any:
    """The body but for what moves with every claim."""
    for task in body.get("tasks", []):
        task["lease"]["deadline_ms"] = 0
    return body


async def test_both_ways_answer_a_claim_and_a_vote_alike(office: Office) -> None:
    """Status, body and headers are the same, whichever way a request took."""
    ann = await office.client("ann")
    hot, slow = await both_ways(ann, "/v1/projects/pets/tasks:claim", b'{"max":2}')
    assert (hot.status_code, without_times(hot.json())) == (slow.status_code, without_times(slow.json()))
    assert lines_of(hot) == lines_of(slow)
    task = hot.json()["tasks"][0]
    vote = b'{"lease_token":%d,"value":"cat"}' % task["lease"]["token"]
    path = f"/v1/tasks/{task['task_id']}/annotations"
    hot, slow = await both_ways(ann, path, vote, **{"idempotency-key": "one"})
    assert (hot.status_code, hot.json()) == (slow.status_code, slow.json()) == (201, hot.json())
    assert lines_of(hot) == lines_of(slow)


async def test_claims_and_answers_are_timed_and_what_had_to_wait_is_not(office: Office) -> None:
    """One observation for each of the two requests at the door, none for a long poll that found nothing."""
    ann = await office.client("ann")
    (task, *_) = (await claim(ann))["tasks"]
    await submit(ann, task)
    for _ in range(2):
        (task, *_) = (await claim(ann))["tasks"]
        await submit(ann, task)
    assert (await claim(ann, wait_ms=1))["tasks"] == []
    counts = [
        office.context.metrics.registry.get_sample_value(
            "tiebreak_labeling_request_seconds_count", {"project": "pets", "request": request}
        )
        for request in ("claim", "submit")
    ]
    assert counts == [3.0, 3.0]


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/projects/pets/tasks:claim", b'{"max":"2"}', {}),
        ("/v1/projects/pets/tasks:claim", b"[", {}),
        ("/v1/projects/pets/tasks:claim", b'{"max":1,"max":2}', {}),
        ("/v1/tasks/{task}/annotations", b'{"lease_token":1,"value":"cat","value":"dog"}', {"idempotency-key": "key"}),
        ("/v1/projects/dogs/tasks:claim", b"{}", {}),
        ("/v1/projects/pets/tasks:claim", b"{}", {"idempotency-key": "a b"}),
        ("/v1/projects/pets/tasks:claim", b"{}", {"idempotency-key": ""}),
        ("/v1/tasks/{task}/annotations", b'{"lease_token":1,"value":"cat"}', {}),
        ("/v1/tasks/{task}/annotations", b'{"lease_token":1,"value":"cat"}', {"idempotency-key": "a b"}),
        ("/v1/tasks/{task}/annotations", b'{"lease_token":1,"value":"cat"}', {"idempotency-key": "key"}),
        ("/v1/tasks/{task}/annotations", b'{"lease_token":1,"value":"cow"}', {"idempotency-key": "key"}),
        ("/v1/tasks/{task}/annotations?next=11", b'{"lease_token":1,"value":"cat"}', {"idempotency-key": "key"}),
        ("/v1/tasks/%s/annotations" % ("0" * 32), b'{"lease_token":1,"value":"cat"}', {"idempotency-key": "key"}),
    ],
)
async def test_both_ways_refuse_alike(office: Office, path: str, body: bytes, headers: dict[str, str]) -> None:
    """What is malformed, unknown, stale or not a class gets the same problem, byte for byte."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    hot, slow = await both_ways(ann, path.format(task=task["task_id"]), body, **headers)
    assert (hot.status_code, hot.content) == (slow.status_code, slow.content)
    assert hot.status_code in (404, 409, 422)
    assert lines_of(hot) == lines_of(slow)


async def test_a_vote_brings_the_next_task_when_asked(office: Office) -> None:
    """One round trip per task; the last one says why there is nothing, and a retry changes nothing."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    seen = [task["task_id"]]
    while task:
        vote = {"lease_token": task["lease"]["token"], "value": "cat"}
        path, key = f"/v1/tasks/{task['task_id']}/annotations?next=1", {"idempotency-key": task["task_id"]}
        first = (await ann.post(path, json=vote, headers=key)).json()
        again = (await ann.post(path, json=vote, headers=key)).json()
        assert without_times(first["next"]) == without_times(again["next"])
        task = first["next"]["tasks"][0] if first["next"]["tasks"] else None
        seen += [task["task_id"]] if task else []
    assert len(set(seen)) == len(seen) == 3
    assert [a.state for a in await office.annotations()] == [AnnotationState.SUBMITTED] * 6
    assert len({a.annotation_id for a in await office.annotations()}) == 3


@pytest.mark.redis
async def test_a_token_that_is_ended_ends_for_the_very_next_claim_and_vote(redis_client: redis.asyncio.Redis) -> None:
    """Revoked by another process while this one remembers it: nothing is given away, nothing reaches the log."""
    project = a_project()
    office = await open_office(project)
    queue, tokens = RedisQueue(redis_client, project), RedisTokens(redis_client, project.project)
    builder = await queue.begin_build()
    if builder is not None:
        await builder.end_build([])
    await tokens.built(await tokens.unbuilt() or "")
    await queue.add([a_task(i) for i in range(4)])
    office = replace(office, queue=queue, tokens=tokens, app=create_app(over(office.context, queue, tokens)))
    async with listening(office) as known:
        ann, bob = await known.client("ann"), await known.client("bob")
        for person in (ann, bob, ann, bob):
            await claim(person)  # the second time they are remembered
        (held,) = (await claim(ann))["tasks"]
        await tokens.revoke("ann")
        refused = [await ann.post("/v1/projects/pets/tasks:claim", json={}), await submit(ann, held)]
        assert [answer.status_code for answer in refused] == [401, 401]
        assert await office.annotations() == []
        assert len((await claim(bob))["tasks"]) == 1


class Wrong(MemoryQueue):
    """A queue with a bug, whose words repeat what was sent."""

    async def claim(self, *_: object, **__: object) -> Claimed:
        raise KeyError("rossi@example.org")


async def test_what_nobody_expected_is_logged_once_and_by_its_kind_alone() -> None:
    """On the hot way as through the framework: the words of the error may be somebody's data."""
    project = a_project()
    async with listening(await open_office(project, Wrong(project, SystemClock()))) as known:
        ann = await known.client("ann")
        with capture_logs() as logs:
            answer = await ann.post("/v1/projects/pets/tasks:claim", json={})
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:tiebreak:problem:internal")
    assert [line for line in logs if line["log_level"] == "error"] == [
        {"event": "unexpected_error", "error": "KeyError", "log_level": "error"}
    ]


def over(ctx: LabelingContext, queue: RedisQueue, tokens: RedisTokens) -> LabelingContext:
    """The same office over Redis."""
    return LabelingContext(
        ctx.project, queue, tokens, ctx.writer, ctx.metrics, ctx.clock, token_epoch=queue.token_epoch
    )


async def test_both_ways_show_every_kind_of_payload_alike(office: Office) -> None:
    """Text, an image, a table with numbers beyond 64 bits, none: byte for byte what the framework answers, and so after a vote."""
    row = b'{"name": "\\u00e9", "big": 123456789012345678901234567890, "x": 1.0, "no": null, "yes": true, "list": [1]}'
    payloads = [
        Payload(PayloadKind.TEXT, "text/plain", "caf\u00e9 \u2603 \U0001f600 \u2028 </script>".encode()),
        Payload(PayloadKind.IMAGE, "image/png", b"\x89PNG\x00\xff"),
        Payload(PayloadKind.TABLE, "application/json", row),
        None,
    ]
    await office.queue.add([replace(a_task(10 + i), payload=payload) for i, payload in enumerate(payloads)])
    ann = await office.client("ann")
    hot, slow = await both_ways(ann, "/v1/projects/pets/tasks:claim", b'{"max":10}')
    assert len(hot.json()["tasks"]) == 7
    assert _still(hot.content) == _still(slow.content)
    task = hot.json()["tasks"][0]
    vote, path = (
        b'{"lease_token":%d,"value":"cat"}' % task["lease"]["token"],
        f"/v1/tasks/{task['task_id']}/annotations",
    )
    hot, slow = await both_ways(ann, f"{path}?next=10", vote, **{"idempotency-key": "one"})
    assert _still(hot.content) == _still(slow.content)


def _still(body: bytes) -> bytes:
    """The body but for the deadlines, which move with every claim."""
    return re.sub(rb'"deadline_ms":\d+', b'"deadline_ms":0', body)


async def test_a_queue_that_takes_nothing_back_does_not_hide_the_refusal(office: Office) -> None:
    """What was claimed for somebody who is then refused is free again; also where it cannot be, they hear why they were refused."""
    claimed = await office.queue.claim("ann", 2)
    await give_back(office.queue, "ann", claimed)
    again = await office.queue.claim("bob", 3)
    assert len(again.leases) == 3
    await lose(office.queue)
    with pytest.raises(SlowDown):
        await office.queue.release("bob", again.leases[0].task.task_id, again.leases[0].token)
    await give_back(office.queue, "bob", again)

"""The labeling API: what it refuses, from whom, and in which words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tests.support.labeling import a_project
from tests.support.labeling_api import Office, claim, open_office, submit
from tiebreak.contracts.project import Project
from tiebreak.labeling.access import Role
from tiebreak.labeling.http_security import HEADERS

BAD_VOTES = [
    b'{"lease_token": 1, "value": "cat", "lead_time_s": NaN}',
    b'{"lease_token": 1, "value": "cat", "lead_time_s": 1e999}',
    b'{"lease_token": NaN, "value": "cat"}',
    b'{"lease_token": 1, "value": "cat", "lead_time_s": -1}',
    b'{"lease_token": 9223372036854775808, "value": "cat"}',
    b'{"lease_token": "1", "value": "cat"}',
    b'{"lease_token": true, "value": "cat"}',
    b'{"lease_token": -1, "value": "cat"}',
    b'{"lease_token": 1, "value": ""}',
    b'{"lease_token": 1, "value": ["cat"]}',
    b'{"lease_token": 1, "value": "secret@example.org"}',
    b'{"lease_token": 1, "value": "\\ud800"}',
    b'{"lease_token": 1, "value": "cat", "annotator": "bob"}',
    b'{"lease_token": 1, "value": "cat", "role": "admin"}',
    b'{"lease_token": 1, "value": "cat", "is_gold": true}',
    b'{"lease_token": 1, "value": "cat", "weight": 9}',
    b'{"lease_token": 1, "value": "cat", "submitted_ms": 5}',
    b'{"lease_token": 1, "value": "cat", "comment": "' + b"x" * 2001 + b'"}',
    b'{"lease_token": 1}',
    b"[]",
    b"null",
    b"{",
    b"",
    b"\xff",
    b"[" * 20_000,
    b'{"lease_token": ' + b"9" * 5000 + b', "value": "cat"}',
]


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/v1/projects/pets/tasks:claim", b'{"max": 1, "max": 2}', "max"),
        ("/v1/tasks/{task}/annotations", b'{"lease_token": 1, "value": "cat", "value": "dog"}', "value"),
        ("/v1/tasks/{task}/annotations", b'{"lease_token": 1, "answer": {"classes": ["a"], "classes": []}}', "classes"),
        ("/v1/tasks/{task}:skip", b'{"lease_token": 1, "reason": "a", "r\\u0065ason": "b"}', "reason"),
        ("/v1/projects/pets/classes", b'{"name": "a", "name": "b"}', "name"),
    ],
)
async def test_a_body_that_says_a_thing_twice_is_refused_and_the_key_named(
    office: Office, path: str, body: bytes, key: str
) -> None:
    """Readers take the last one and say nothing: what a person meant is not known. Nothing is taken."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    headers = {"content-type": "application/json", "Idempotency-Key": "k"}
    response = await ann.post(path.format(task=task["task_id"]), content=body, headers=headers)
    assert (response.status_code, response.json()["errors"]) == (
        422,
        [{"field": f"body.{key}", "problem": "given_twice"}],
    )


async def test_a_vote_with_both_forms_of_an_answer_or_neither_is_told_what_to_give(office: Office) -> None:
    """Not that a value is wrong."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    for answer in ({}, {"value": "cat", "answer": ["cat"]}):
        said = {"lease_token": task["lease"]["token"], **answer}
        headers = {"Idempotency-Key": "k"}
        response = await ann.post(f"/v1/tasks/{task['task_id']}/annotations", json=said, headers=headers)
        assert (response.status_code, response.json()["errors"]) == (
            422,
            [{"field": "body", "problem": "give_either_value_or_answer"}],
        )


@pytest.mark.parametrize("body", BAD_VOTES, ids=range(len(BAD_VOTES)))
async def test_a_bad_body_is_refused_without_being_repeated(office: Office, body: bytes) -> None:
    """4xx as problem+json, nothing of the input in it, nothing on the log."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    response = await ann.post(
        f"/v1/tasks/{task['task_id']}/annotations",
        content=body,
        headers={"content-type": "application/json", "Idempotency-Key": "k"},
    )
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"
    assert b"secret@example.org" not in response.content
    assert b"xxx" not in response.content
    assert await office.annotations() == []


async def test_a_bound_that_is_not_kept_is_named(office: Office) -> None:
    """Which field, what is wrong with it, and how much would be right."""
    ann = await office.client("ann")
    answer = (await ann.post("/v1/projects/pets/tasks:claim", json={"max": 99, "wait_ms": -1})).json()
    assert answer["errors"] == [
        {"field": "body.max", "problem": "less_than_equal", "limit": 10},
        {"field": "body.wait_ms", "problem": "greater_than_equal", "limit": 0},
    ]
    assert answer["detail"] == "The request is not as described. " + answer["fix"]


@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "chunked"])
async def test_a_body_above_the_limit_is_413(office: Office, chunked: bool) -> None:
    """Whether it says its length or not."""
    ann = await office.client("ann")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    content = pieces() if chunked else b" " * 70 * 1024
    response = await ann.post(
        "/v1/projects/pets/tasks:claim", content=content, headers={"content-type": "application/json"}
    )
    assert (response.status_code, response.json()["type"]) == (413, "urn:tiebreak:problem:too_large")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_other_content_types_are_refused(office: Office, kind: str) -> None:
    """A form of a foreign page cannot post: only JSON is read."""
    ann = await office.client("ann")
    response = await ann.post("/v1/projects/pets/tasks:claim", content=b'{"max": 1}', headers={"content-type": kind})
    assert response.status_code == 422


ODD_IDS = [
    "..%2f..%2fetc",
    "%2e%2e",
    "%00",
    "٣" * 32,
    "a" * 10_000,
    "A" * 32,
    "{}",
    "-1",
    "9223372036854775808",
    "0" * 32,
]


@pytest.mark.parametrize("odd", ODD_IDS)
async def test_odd_ids_look_like_ids_that_are_not_yours(office: Office, odd: str) -> None:
    """404 with one body for malformed, unknown and other people's tasks."""
    ann, bob = await office.client("ann"), await office.client("bob")
    (task,) = (await claim(ann))["tasks"]
    body, headers = {"lease_token": 1, "value": "cat"}, {"Idempotency-Key": "k"}
    strange = await bob.post(f"/v1/tasks/{odd}/annotations", json=body, headers=headers)
    foreign = await bob.post(f"/v1/tasks/{task['task_id']}/annotations", json=body, headers=headers)
    lease = await bob.post(f"/v1/leases/{odd}.1:renew")
    assert strange.status_code == foreign.status_code == lease.status_code == 404
    if "%2f" not in odd:  # a slash makes another path, which no route has
        assert strange.content == foreign.content == lease.content


async def test_a_task_can_be_answered_only_with_a_lease_of_ones_own(office: Office) -> None:
    """A made-up token and another person's are refused; after the answer the old token is of no use."""
    ann, bob = await office.client("ann"), await office.client("bob")
    (task,) = (await claim(ann))["tasks"]
    forged = {**task, "lease": {**task["lease"], "token": task["lease"]["token"] + 5}}
    assert (await submit(ann, forged)).json()["type"] == "urn:tiebreak:problem:stale_lease"
    assert (await submit(bob, task)).status_code == 404
    assert (await submit(ann, task)).status_code == 201
    twice = await submit(ann, task)
    assert (twice.status_code, twice.json()["type"]) == (409, "urn:tiebreak:problem:already_answered")
    assert len(await office.annotations()) == 1


async def test_a_token_of_a_lease_that_ended_answers_nothing(office: Office) -> None:
    """After a skip, and after the task was given back and taken by somebody else: 409; nobody took it: late. One record of each act."""
    ann, bob = await office.client("ann"), await office.client("bob")
    first, second, third = (await claim(ann, max=3))["tasks"]
    body, headers = {"lease_token": first["lease"]["token"], "reason": "blurred"}, {"Idempotency-Key": "s"}
    assert (await ann.post(f"/v1/tasks/{first['task_id']}:skip", json=body, headers=headers)).status_code == 201
    after_skip = await submit(ann, first)
    assert (after_skip.status_code, after_skip.json()["type"]) == (409, "urn:tiebreak:problem:already_answered")
    assert (await ann.post(f"/v1/leases/{second['lease']['id']}:release")).status_code == 204
    (held,) = [t for t in (await claim(bob, max=5))["tasks"] if t["task_id"] == second["task_id"]]
    assert (await submit(bob, held, key="b")).status_code == 201
    again = await ann.post(f"/v1/leases/{second['lease']['id']}:renew")
    assert (again.status_code, again.json()["type"]) == (409, "urn:tiebreak:problem:stale_lease")
    assert (await ann.post(f"/v1/leases/{third['lease']['id']}:release")).status_code == 204
    late = await submit(ann, third, key="late")
    assert (late.status_code, late.json()["state"]) == (201, "late")
    acts = sorted((a.annotator, str(a.state)) for a in await office.annotations())
    assert acts == [("ann", "late"), ("ann", "skipped"), ("bob", "submitted")]


async def test_what_no_route_asks_for_in_a_query_changes_nothing(office: Office) -> None:
    """No field of anything can be filtered or sorted by: what a lookup would give away stays where it is."""
    ann, bob = await office.client("ann"), await office.client("bob")
    for client, key in ((ann, "a"), (bob, "b")):
        (task,) = (await claim(client))["tasks"]
        await submit(client, task, key=key)
    plain = await ann.get("/v1/me/annotations")
    for query in ("annotator=bob", "created_by__password__startswith=a", "sort=token", "order_by=-digest", "fields=*"):
        odd = await ann.get(f"/v1/me/annotations?{query}")
        assert (odd.status_code, odd.content) == (200, plain.content)
    assert len(plain.json()["annotations"]) == 1


@pytest.mark.parametrize("origin", ["null", "https://tiebreak.test.evil.example", "https://evil-tiebreak.test"])
async def test_no_other_origin_may_read_an_answer(office: Office, origin: str) -> None:
    """Whoever asks from a foreign page, with a good token even, gets no header that lets the page see it."""
    ann = await office.client("ann")
    answers = [
        await ann.get("/v1/me", headers={"origin": origin}),
        await ann.post("/v1/projects/pets/tasks:claim", json={}, headers={"origin": origin}),
        await ann.get("/", headers={"origin": origin}),
    ]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_the_pages_files_are_sent_whole_and_nothing_beside_them(office: Office) -> None:
    """Ranges, thousands of them even, are not looked at; a path that leaves the folder is unknown."""
    async with office.bare_client({"range": "bytes=" + ",".join(["0-"] * 2000)}) as nobody:
        whole = await nobody.get("/assets/page.js")
        assert (whole.status_code, "content-range" in whole.headers) == (200, False)
        for path in (
            "/assets/..%2fredis.py",
            "/assets/%2e%2e/redis.py",
            "/assets//etc/passwd",
            "/assets/",
            "/assets/a%00",
        ):
            assert (await nobody.get(path)).status_code == 404


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer tb_" + "A" * 43, "Basic eDp5", "Bearer " + "x" * 1000, "Bearer tb_ä"],
)
async def test_without_a_valid_token_every_route_says_401_in_the_same_words(office: Office, header: str | None) -> None:
    """Unknown, malformed and missing look alike, on every route there is."""
    async with office.bare_client() as nobody:
        headers = {} if header is None else {"authorization": header.encode()}
        answers = [
            await nobody.request(method, _filled(path), headers=headers)  # type: ignore[arg-type]
            for path, operations in office.app.openapi()["paths"].items()
            for method in operations
        ]
    assert len(answers) >= 9
    assert {a.status_code for a in answers} == {401}
    assert len({a.content for a in answers}) == 1
    assert {a.headers["www-authenticate"] for a in answers} == {'Bearer realm="tiebreak"'}


def _filled(path: str) -> str:
    for name in ("{project}", "{name}"):
        path = path.replace(name, "pets")
    for name in ("{task}", "{annotation}"):
        path = path.replace(name, "0" * 32)
    return path.replace("{lease}", "0" * 32 + ".1")


async def test_an_expired_or_revoked_token_ends_at_once(office: Office) -> None:
    """The next request after the expiry or the revocation is 401."""
    expired = await office.person("old", ttl_ms=-1)
    async with office.bare_client({"authorization": f"Bearer {expired}"}) as old:
        assert (await old.get("/v1/me")).status_code == 401
    ann = await office.client("ann")
    assert (await ann.get("/v1/me")).status_code == 200
    assert await office.tokens.revoke("ann") == 1
    assert (await ann.get("/v1/me")).status_code == 401


async def test_a_viewer_reads_and_does_nothing_else(office: Office) -> None:
    """Reading is allowed, everything that changes something is 403."""
    viewer = await office.client("vera", Role.VIEWER)
    assert (await viewer.get("/v1/projects/pets")).status_code == 200
    assert (await viewer.post("/v1/projects/pets/tasks:claim", json={})).status_code == 403


async def test_another_project_does_not_exist(office: Office) -> None:
    """A token is good for one project; the name of another is as unknown as any."""
    ann = await office.client("ann")
    other = await ann.get("/v1/projects/secret-project")
    assert other.status_code == 404
    assert b"secret" not in other.content


async def test_every_answer_carries_the_security_headers(office: Office) -> None:
    """The page, its files, the API, errors and unknown paths alike."""
    ann = await office.client("ann")
    paths = ["/", "/assets/page.js", "/v1/me", "/v1/projects/none", "/nowhere", "/v1/me/"]
    for path in paths:
        answer = await ann.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert answer.headers["cache-control"] == ("no-cache" if path in ("/", "/assets/page.js") else "no-store")
        assert "access-control-allow-origin" not in answer.headers


async def test_unknown_paths_and_methods_are_problems_too(office: Office) -> None:
    """404 and 405 as problem+json; no redirect to a path with or without a slash."""
    ann = await office.client("ann")
    answers = [
        await ann.get("/nowhere"),
        await ann.get("/v1/me/"),
        await ann.delete("/v1/me"),
        await ann.get("//v1/me"),
    ]
    assert [a.status_code for a in answers] == [404, 404, 405, 404]
    assert {a.headers["content-type"] for a in answers} == {"application/problem+json"}
    assert [(await ann.get(p)).status_code for p in ("/docs", "/openapi.json", "/redoc")] == [404] * 3


async def test_a_malformed_idempotency_key_is_refused(office: Office) -> None:
    """Missing, empty, too long or with odd characters: 422, and nothing is accepted."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    body = {"lease_token": task["lease"]["token"], "value": "cat"}
    for key in (None, "", "x" * 129, "a b", "a/b", "{}"):
        headers = {} if key is None else {"Idempotency-Key": key}
        response = await ann.post(f"/v1/tasks/{task['task_id']}/annotations", json=body, headers=headers)
        assert response.status_code == 422
    assert await office.annotations() == []


def test_every_route_under_v1_says_which_right_it_needs() -> None:
    """A route without a right would be open to every role: it cannot exist."""
    project: Project = a_project()
    office = asyncio.run(open_office(project))
    routers = [r.original_router for r in office.app.routes if hasattr(r, "original_router")]
    routes = [r for router in routers for r in router.routes if isinstance(r, APIRoute)]
    operations = [path for path in office.app.openapi()["paths"].values() for _ in path]
    assert len(routes) == len(operations)
    for route in routes:
        calls = [d.call for d in _all_dependencies(route.dependant)]
        assert any(hasattr(call, "right") for call in calls), route.path
        assert route.response_model is not None or route.status_code == 204, route.path


def _all_dependencies(dependant: Dependant) -> list[Dependant]:
    return [d for child in dependant.dependencies for d in (child, *_all_dependencies(child))]

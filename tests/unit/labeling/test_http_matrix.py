"""Every route of the API x everybody who may ask: the table below is the whole of it, and a route it does not know fails."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from starlette.routing import BaseRoute, Route

from tests.support.labeling import a_project
from tests.support.labeling_api import Office, open_office
from tiebreak.contracts.project import Access
from tiebreak.labeling.access import Right, Role
from tiebreak.labeling.http import create_app
from tiebreak.labeling.http_openapi import operations

# What each route asks for. A new route needs a line here, and with it a thought about who may use it.
NEEDED = {
    ("post", "/v1/projects/{project}/tasks:claim"): Right.ANNOTATE,
    ("post", "/v1/leases/{lease}:renew"): Right.ANNOTATE,
    ("post", "/v1/leases/{lease}:release"): Right.ANNOTATE,
    ("post", "/v1/tasks/{task}/annotations"): Right.ANNOTATE,
    ("post", "/v1/tasks/{task}:skip"): Right.ANNOTATE,
    ("post", "/v1/annotations/{annotation}:undo"): Right.ANNOTATE,
    ("post", "/v1/annotations/{annotation}:withdraw"): Right.ANNOTATE,
    ("get", "/v1/tasks/{task}/answers"): Right.REVIEW,
    ("post", "/v1/tasks/{task}:reveal"): Right.MANAGE,
    ("get", "/v1/projects/{name}/crowd"): Right.MANAGE,
    ("post", "/v1/projects/{name}/gold"): Right.REVIEW,
    ("get", "/v1/projects/{name}/gold/proposals"): Right.REVIEW,
    ("post", "/v1/projects/{name}/gold/proposals/{task}:decline"): Right.REVIEW,
    ("post", "/v1/projects/{name}/people/{person}:resume"): Right.MANAGE,
    ("post", "/v1/projects/{name}/people/{person}:reopen"): Right.MANAGE,
    ("get", "/v1/projects/{name}/models"): Right.MANAGE,
    ("get", "/v1/projects/{name}/models:at"): Right.MANAGE,
    ("get", "/v1/projects/{name}/models/{version}"): Right.MANAGE,
    ("get", "/v1/projects/{name}/models/{version}/diff/{other}"): Right.MANAGE,
    ("post", "/v1/projects/{name}/models/{version}:promote"): Right.MANAGE,
    ("post", "/v1/projects/{name}/models:rollback"): Right.MANAGE,
    ("post", "/v1/projects/{name}/models:pin"): Right.MANAGE,
    ("post", "/v1/projects/{name}/models:unpin"): Right.MANAGE,
    ("get", "/v1/me"): Right.READ,
    ("get", "/v1/me/annotations"): Right.READ,
    ("get", "/v1/projects/{name}"): Right.READ,
    ("post", "/v1/projects/{name}/classes"): Right.ANNOTATE,
}
ROLES_WITH = {
    Right.READ: set(Role),
    Right.ANNOTATE: {Role.ANNOTATOR, Role.REVIEWER, Role.MANAGER, Role.ADMIN},
    Right.REVIEW: {Role.REVIEWER, Role.MANAGER, Role.ADMIN},
    Right.MANAGE: {Role.MANAGER, Role.ADMIN},
    Right.ADMINISTER: {Role.ADMIN},
}
# Files of the page, the same for everybody: they hold nothing of anybody's.
OPEN = ("/", "/assets/")


async def _ask(office: Office, token: str | None, method: str, path: str, project: str = "pets") -> httpx.Response:
    for name, value in (
        ("project", project),
        ("name", project),
        ("task", "0" * 32),
        ("annotation", "0" * 32),
        ("person", "ann"),
    ):
        path = path.replace("{" + name + "}", value)
    path = path.replace("{lease}", "0" * 32 + ".1")
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with office.bare_client(headers) as client:
        return await client.request(method, path)


def _paths(routes: list[BaseRoute]) -> set[str]:
    return {route.path for route in routes if isinstance(route, Route)}


async def test_the_table_knows_every_route_and_no_other(office: Office) -> None:
    """A route that nobody thought about cannot be added, one that is gone cannot stay in the table."""
    found = {(method, path) for method, path, _ in operations(office.app.openapi())}
    assert found == set(NEEDED)
    hidden = _paths(office.app.routes) - {path for _, path in found}
    assert {path for path in hidden if path != OPEN[0] and not path.startswith(OPEN[1])} == set()


@pytest.mark.parametrize("role", Role)
async def test_each_role_may_use_its_routes_and_no_other(office: Office, role: Role) -> None:
    """Forbidden is 403 in one form, before anything of the request is looked at; allowed is anything but 401 and 403."""
    token = await office.person(f"the-{role}", role)
    seen, expected = {}, {}
    for (method, path), right in NEEDED.items():
        answer = await _ask(office, token, method, path)
        seen[method, path] = "refused" if answer.status_code == 403 else "allowed"
        expected[method, path] = "allowed" if role in ROLES_WITH[right] else "refused"
        assert answer.status_code != 401
        assert answer.status_code < 500
        if answer.status_code == 403:
            assert answer.json()["type"] == "urn:tiebreak:problem:forbidden"
    assert seen == expected


async def test_nobody_without_a_good_token_of_this_project_gets_anywhere() -> None:
    """None, unknown, expired, ended, another project's: 401 in the same bytes on every route."""
    patient = Access(failure_burst=100_000)  # so many guesses of one address are 429 soon, see test_rate.py
    office = await open_office(a_project().model_copy(update={"access": patient}))
    elsewhere = await open_office(a_project("cars"))
    ended = await office.person("gone", Role.ADMIN)
    await office.tokens.revoke("gone")
    tokens = [
        None,
        "tb_" + "A" * 43,
        await office.person("old", Role.ADMIN, ttl_ms=-1),
        ended,
        await elsewhere.person("eve", Role.ADMIN),
    ]
    answers = []
    for token in tokens:
        # A door of its own for each: one lets an address fail so often, then it answers 429.
        office.app = create_app(replace(office.context))
        answers += [await _ask(office, token, *route) for route in NEEDED]
    assert {a.status_code for a in answers} == {401}
    assert len({a.content for a in answers}) == 1


async def test_an_admin_of_this_project_finds_no_other(office: Office) -> None:
    """Under another project's name there is nothing, for the highest role too, and an unknown name looks the same."""
    token = await office.person("root", Role.ADMIN)
    named = [route for route in NEEDED if "{project}" in route[1] or "{name}" in route[1]]
    word = {"reason": "because"}
    bodies = {
        "claim": {},
        "classes": {"name": "ferret"},
        "gold": {"task_id": "0" * 32, "answer": "cat"},
        **dict.fromkeys((":promote", ":rollback", ":pin", ":unpin", ":reopen"), word),
    }
    async with office.bare_client({"authorization": f"Bearer {token}"}) as client:
        for method, path in named:
            body = next((b for end, b in bodies.items() if path.endswith(end)), None)
            answers = [
                await client.request(
                    method,
                    path.replace("{project}", other).replace("{name}", other),
                    json=body if body is not None else None,
                )
                for other in ("cars", "unknown")
            ]
            assert [a.status_code for a in answers] == [404, 404]
            assert answers[0].content == answers[1].content


ODD_REQUESTS = [
    ("GET", "/v1/me/", {}),
    ("GET", "//v1/me", {}),
    ("GET", "/V1/ME", {}),
    ("GET", "/v1/me;x=1", {}),
    ("GET", "/v1/../v1/me", {}),
    ("TRACE", "/v1/me", {}),
    ("OPTIONS", "/v1/me", {"origin": "https://evil.example", "access-control-request-method": "GET"}),
    ("GET", "/v1/me", {"x-http-method-override": "DELETE"}),
    ("GET", "/v1/me", {"x-forwarded-for": "127.0.0.1", "x-forwarded-user": "root"}),
    ("GET", "/v1/me", {"x-original-url": "/assets/page.js"}),
    ("HEAD", "/v1/me", {}),
]


@pytest.mark.parametrize(("method", "path", "headers"), ODD_REQUESTS)
async def test_no_detour_leads_around_the_token(
    office: Office, method: str, path: str, headers: dict[str, str]
) -> None:
    """Slashes, case, matrix parameters, other methods, overriding and forwarding headers: never an answer of the API."""
    async with office.bare_client(headers) as client:
        answer = await client.request(method, path)
    assert answer.status_code in (401, 404, 405)
    assert "access-control-allow-origin" not in answer.headers
    assert b"answered" not in answer.content

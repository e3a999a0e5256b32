"""Schemathesis over the whole OpenAPI document, against the real application on a real Redis.

It makes good and bad requests from the document alone. No answer may be a 5xx, and each must be one that the document names, in
the form it promises. ``make fuzz`` asks ten times as much.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from scripts.openapi import openapi_document
from tests.support.api_server import ApiServer
from tests.support.labeling import a_project, a_task
from tiebreak.labeling.access import Role
from tiebreak.runtime.redis_server import RedisServer

pytestmark = pytest.mark.redis
EXAMPLES = int(os.environ.get("TIEBREAK_FUZZ_EXAMPLES", "12"))
SCHEMA = schemathesis.openapi.from_dict(openapi_document())
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def api(redis_server: RedisServer) -> Iterator[ApiServer]:
    """A project with open classes and plenty of tasks. Nobody waits in it: a fuzzed `wait_ms` would last half a minute."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    with ApiServer(a_project(is_open=True, votes=2), redis_server.url) as server:
        server.offer(*(a_task(i) for i in range(200)))
        server.office.doorbell.close()
        yield server


@pytest.fixture(scope="module")
def token(api: ApiServer) -> str:
    """An admin's: every route is open to it."""
    return api.token("fuzz", Role.ADMIN)


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
def test_no_request_made_from_the_document_breaks_the_api(
    case: schemathesis.Case[Any], api: ApiServer, token: str
) -> None:
    """Whatever the body, parameters and headers: an answer that the document names, never a 5xx."""
    held = api.call(api.office.queue.claim("fuzz", 3)).leases
    # From the document alone no id is ever one that exists: every other request gets one that does.
    if held and case.path_parameters and len(str(case.body)) % 2:
        lease = held[0]
        for name, real in (("task", lease.task.task_id), ("lease", f"{lease.task.task_id}.{lease.token}")):
            if name in case.path_parameters:
                case.path_parameters[name] = real
        for name in {"project", "name"} & set(case.path_parameters):
            case.path_parameters[name] = "pets"
        if isinstance(case.body, dict) and "lease_token" in case.body:
            case.body["lease_token"] = lease.token
    answer = case.call(base_url=api.url, headers={"authorization": f"Bearer {token}"})
    case.validate_response(answer, checks=CHECKS)

"""The OpenAPI document is complete: whoever reads it alone can write a client."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from scripts.openapi import broken_promises, openapi_document
from tests.support.labeling_api import Office
from tests.unit.labeling.test_http_matrix import NEEDED
from tiebreak.labeling.access import Right, Role
from tiebreak.labeling.http_openapi import operations

DOCUMENT = openapi_document()
OPERATIONS = [
    pytest.param(method, path, operation, id=f"{method} {path}") for method, path, operation in operations(DOCUMENT)
]


def _schema(content: Any) -> dict[str, Any]:
    return {**content["schema"], "components": DOCUMENT["components"]}


def _examples(content: Any) -> list[Any]:
    reference = content["schema"].get("$ref", "")
    model = DOCUMENT["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return [content["example"]] if "example" in content else list(model.get("examples", ()))


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_every_operation_says_what_it_does_takes_and_answers(method: str, path: str, operation: dict[str, Any]) -> None:
    """A summary, a description, an example of each parameter and body, all refusals; each example fits its own schema."""
    assert operation["summary"]
    assert operation["description"]
    for parameter in operation.get("parameters", ()):
        assert parameter["description"]
        jsonschema.validate(parameter["example"], parameter["schema"])
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    answers = [a for status, a in operation["responses"].items() if status != "204"]
    for holder in (*bodies, *answers):
        for content in holder["content"].values():
            assert _examples(content)
            for example in _examples(content):
                jsonschema.validate(example, _schema(content))
    assert {"401", "403", "429", "503"} <= set(operation["responses"])
    assert ("404" in operation["responses"]) == ("{" in path)
    assert ("409" in operation["responses"]) == (method != "get" or "{" in path)


WRITES = [pytest.param(*known.values, id=known.id) for known in OPERATIONS if known.values[0] != "get"]


@pytest.mark.parametrize(("method", "path", "operation"), WRITES)
async def test_every_write_takes_a_key_and_looks_at_its_form(
    method: str, path: str, operation: dict[str, Any], office: Office
) -> None:
    """The header is in the document; one that is malformed is refused as that, and one that is well formed is not."""
    (header,) = [p for p in operation["parameters"] if p["name"] == "Idempotency-Key"]
    assert header["in"] == "header"
    body = _examples(operation["requestBody"]["content"]["application/json"])[0] if "requestBody" in operation else None
    for parameter in operation["parameters"]:
        own = "pets" if parameter["name"] in {"project", "name"} else parameter["example"]
        path = path.replace("{" + parameter["name"] + "}", str(own))
    async with await office.client("root", Role.ADMIN) as client:
        for malformed in (b"", b"a b", b"k" * 129, b"key;1", b"k\xe9y"):
            answer = await client.request(method, path, json=body, headers={b"Idempotency-Key": malformed})
            assert (answer.status_code, "Idempotency-Key" in answer.text) == (422, True), malformed
        answer = await client.request(method, path, json=body, headers={"Idempotency-Key": header["example"]})
    assert answer.status_code < 500
    assert "Idempotency-Key" not in answer.text


def test_the_document_says_how_to_authenticate_and_knows_no_default_errors() -> None:
    """One security scheme for all; every refusal is a problem document, none the framework's own shape."""
    assert DOCUMENT["security"] == [{"bearer": []}]
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"bearer"}
    refusals = [
        answer
        for _, _, operation in operations(DOCUMENT)
        for status, answer in operation["responses"].items()
        if not status.startswith("2")
    ]
    assert {kind for answer in refusals for kind in answer["content"]} == {"application/problem+json"}
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]


def _referenced(value: Any) -> set[str]:
    """The names of all schemas that ``value`` refers to, directly or through another."""
    found = {name.rpartition("/")[2] for name in _references(value)}
    for name in set(found):
        found |= _referenced(DOCUMENT["components"]["schemas"][name])
    return found


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(part) for part in value.values()))
    return set().union(*(_references(part) for part in value)) if isinstance(value, list) else set()


def test_what_an_annotator_receives_has_no_field_for_what_they_must_not_know() -> None:
    """No score, no reason, no propensity, no gold, in any answer of a route that an annotator may use."""
    forbidden = {
        "score",
        "uncertainty",
        "propensity",
        "selection",
        "predicted",
        "probabilities",
        "audit",
        "gold",
        "is_gold",
    }
    theirs = [
        operation["responses"]
        for method, path, operation in operations(DOCUMENT)
        if NEEDED[method, path] in (Right.READ, Right.ANNOTATE)
    ]
    schemas = [DOCUMENT["components"]["schemas"][name] for name in _referenced(theirs)]
    shown = {name for schema in schemas for name in schema.get("properties", {})}
    assert {"task_id", "lease", "payload"} <= shown
    assert shown & forbidden == set()


def _without_route(document: Any) -> None:
    del document["paths"]["/v1/me"]


def _without_field(document: Any) -> None:
    del document["components"]["schemas"]["MeOut"]["properties"]["answered"]


def _with_another_type(document: Any) -> None:
    document["components"]["schemas"]["MeOut"]["properties"]["answered"] = {"type": "string"}


def _with_required_field(document: Any) -> None:
    document["components"]["schemas"]["ClaimIn"]["required"] = ["skills"]


def _without_body_field(document: Any) -> None:
    del document["components"]["schemas"]["ClaimIn"]["properties"]["skills"]


def _with_required_header(document: Any) -> None:
    header = {"in": "header", "name": "X-New", "required": True, "schema": {"type": "string"}}
    document["paths"]["/v1/me"]["get"]["parameters"] = [header]


def _with_another_status(document: Any) -> None:
    responses = document["paths"]["/v1/me"]["get"]["responses"]
    responses["202"] = responses.pop("200")


BREAKS = [
    (_without_route, ["GET /v1/me is gone"]),
    (_without_field, ["GET /v1/me: field answered of answer 200 is gone"]),
    (_with_another_type, ["GET /v1/me: field answered of answer 200 has another type"]),
    (_with_required_field, ["POST /v1/projects/{project}/tasks:claim: field skills of the body is required now"]),
    (_without_body_field, ["POST /v1/projects/{project}/tasks:claim: field skills of the body is refused now"]),
    (_with_required_header, ["GET /v1/me: parameter X-New is required now"]),
    (_with_another_status, ["GET /v1/me: answer 200 is gone"]),
]


@pytest.mark.parametrize(("change", "lines"), BREAKS, ids=[change.__name__ for change, _ in BREAKS])
def test_a_change_that_clients_would_trip_over_is_named(change: Any, lines: list[str]) -> None:
    """Generating refuses to write it; the other direction, an addition, is no break (but for what is wanted newly)."""
    after = openapi_document()
    change(after)
    assert broken_promises(DOCUMENT, after) == lines
    assert broken_promises(DOCUMENT, openapi_document()) == []

"""The OpenAPI document of the API: what the framework finds in the routes, and what it cannot know.

That is: how to authenticate, what each refusal looks like and what to do about it, and an example of every parameter. Examples
of bodies stand beside the models (``http_models.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

BEARER = "bearer"
PROBLEM = "Problem"
MEDIA_TYPE = "application/problem+json"

_TASK = "0f6c1e9ab2d44c3f8a7b5d6e9f012345"
_PARAMETERS: Mapping[str, tuple[str, object]] = {
    "project": ("The project your token belongs to.", "pets"),
    "name": ("The project your token belongs to.", "pets"),
    "task": ("`task_id` of a claimed task.", _TASK),
    "person": ("A person's name, as on their token.", "ann"),
    "version": ("A version, as `models` lists it.", "v000120-1f2e3d4c"),
    "other": ("Another version.", "v000145-5a6b7c8d"),
    "annotation": ("`annotation_id` of your answer.", "7d1a0b5c3e8f49219c64d2f0a1b3c5e7"),
    "lease": ("`lease.id` of a claimed task.", f"{_TASK}.1764000000000001"),
    "limit": ("How many, the newest first.", 50),
    "time": ("A moment in ISO 8601; without a zone it is UTC.", "2026-11-26T10:00:00Z"),
    "next": ("So many tasks to hold next, as after a claim: one round trip per task.", 1),
    "Idempotency-Key": (
        (
            "1 to 128 of `A-Za-z0-9._:-`, new for each thing you mean to do and the same for each retry of it. The same key with "
            "the same body gives the same answer; with another body it is refused."
        ),
        "0b9a2f0e-6f6a-4f0c-9b8e-3f1d2c4b5a69",
    ),
}

# What is safe to repeat as it is.
_SAFE = ("/tasks:claim", ":renew", ":release")
_FORM = "1 to 128 of `A-Za-z0-9._:-`."
_REPEATABLE = f"{_FORM} Only its form is looked at: this request may be sent again with or without one, and leads to the same state."
_DEED = (
    f"{_FORM} New for each thing you mean to do and the same for each retry of it: one deed, once on the audit trail, and the same "
    "answer, however often and late you send it. With another body or path of this route it is refused (409)."
)

_REFUSALS: Mapping[HTTPStatus, tuple[str, str, str]] = {
    HTTPStatus.BAD_REQUEST: ("bad_request", "The body is not JSON in UTF-8. Send another.", "Bad Request"),
    HTTPStatus.UNAUTHORIZED: (
        "unauthorized",
        "No token, or one that is unknown, expired or ended: the answer does not say which. Get a new one.",
        "No valid token. Send `Authorization: Bearer <token>`; ask a manager for one.",
    ),
    HTTPStatus.FORBIDDEN: (
        "forbidden",
        "The token is good, its role does not allow this. Ask a manager for another role.",
        "Your role does not allow this. It needs the right to annotate.",
    ),
    HTTPStatus.NOT_FOUND: (
        "not_found",
        "No such thing, or not yours: the answer is the same for both. Claim again.",
        "There is no such task, or it is not yours.",
    ),
    HTTPStatus.CONFLICT: (
        "stale_lease",
        (
            "The state is another one by now; `type` says which: a stale lease, a task that is settled, expired, withdrawn, "
            "erased or not in review, an answer given before, or an Idempotency-Key used for another body. Claim again; do not retry."
        ),
        "Your lease is over and somebody else has the task. Claim again.",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "too_large",
        "The body is larger than 64 KiB. Send less.",
        "Request Entity Too Large",
    ),
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "invalid",
        "A field is not as described; `errors` names it without repeating its value. Correct it.",
        "The request is not as described.",
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "too_many_requests",
        "Too many requests at once. Wait for `Retry-After` seconds.",
        "Too many requests. Wait a second, then go on.",
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "service_unavailable",
        (
            "Not now: the log or the queue does not answer, or the queue is being rebuilt. Nothing is lost. Retry after "
            "`Retry-After` seconds with the same Idempotency-Key."
        ),
        "The log did not take it, so it is not safe yet. Retry with the same Idempotency-Key.",
    ),
}
_WITH_WAIT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class DescribedApp(FastAPI):
    """An application whose OpenAPI document is complete."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


def described(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` with security, refusals, summaries and examples of parameters in it."""
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of the project (`tiebreak token create`), or a JWT of its issuer where one is declared.",
        }
    }
    schemas = components.setdefault("schemas", {})
    schemas[PROBLEM] = _problem_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["security"] = [{BEARER: []}]
    for method, path, operation in operations(document):
        _describe(method, path, operation)
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _describe(method: str, path: str, operation: dict[str, Any]) -> None:
    # The first sentence of a route's docstring is its summary.
    first = operation.get("description", "").split(". ")[0].rstrip(".")
    if first:
        operation["summary"] = first
    for parameter in operation.get("parameters", ()):
        text, example = _PARAMETERS.get(parameter["name"], ("", None))
        if parameter["name"] == "Idempotency-Key" and not parameter["required"]:
            text = _REPEATABLE if path.endswith(_SAFE) else _DEED
        if text:
            parameter["description"], parameter["example"] = text, example
    for status in _refusals(method, path, operation):
        operation["responses"][str(int(status))] = _refusal(status)
    for status, response in operation["responses"].items():
        if response.get("description") == "Successful Response":
            response["description"] = HTTPStatus(int(status)).phrase


def _refusals(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[HTTPStatus]:
    # 422 is what the framework put there, in another shape than we answer.
    body, parameters = "requestBody" in operation, operation.get("parameters", ())
    yield HTTPStatus.UNAUTHORIZED
    yield HTTPStatus.FORBIDDEN
    yield HTTPStatus.TOO_MANY_REQUESTS
    yield HTTPStatus.SERVICE_UNAVAILABLE
    if "{" in path:
        yield HTTPStatus.NOT_FOUND
    if "{" in path or method != "get":
        yield HTTPStatus.CONFLICT
    if body:
        yield HTTPStatus.BAD_REQUEST
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if body or parameters:
        yield HTTPStatus.UNPROCESSABLE_ENTITY


def _refusal(status: HTTPStatus) -> dict[str, Any]:
    code, description, detail = _REFUSALS[status]
    example: dict[str, object] = {
        "type": f"urn:tiebreak:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
    }
    if status is HTTPStatus.UNPROCESSABLE_ENTITY:
        example["errors"] = [{"field": "body.lease_token", "problem": "missing"}]
    answer: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}, "example": example}},
    }
    if status in _WITH_WAIT:
        answer["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
        }
    if status is HTTPStatus.UNAUTHORIZED:
        answer["headers"] = {
            "WWW-Authenticate": {"description": "How to authenticate (RFC 6750).", "schema": {"type": "string"}}
        }
    return answer


def _problem_schema() -> dict[str, Any]:
    return {
        "title": PROBLEM,
        "description": "An RFC 9457 problem document. It never repeats what was sent.",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "description": "`urn:tiebreak:problem:<code>`: what programs should look at."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, and what to do about it."},
            "fix": {"type": "string", "description": "The part of `detail` that says what to do, where there is one."},
            "errors": {
                "type": "array",
                "description": "Which fields are wrong, and the kind of mistake.",
                "items": {
                    "type": "object",
                    "required": ["field", "problem"],
                    "properties": {
                        "field": {"type": "string"},
                        "problem": {"type": "string"},
                        "limit": {"type": "number", "description": "The bound that was not kept, where it is one."},
                    },
                },
            },
        },
    }

"""The OpenAPI document of the API, and what of it clients rely on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tiebreak.contracts.project import Classes, Input, Project, TensorSpec
from tiebreak.events.memory import MemoryLog
from tiebreak.labeling.http import LabelingContext, create_app
from tiebreak.labeling.http_openapi import operations
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.memory_tokens import MemoryTokens
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics

Json = Mapping[str, Any]


def openapi_document() -> dict[str, Any]:
    """The document of the routes as they are in the code. It is the same for every project."""
    project = Project(
        project="pets", input=Input(tensors=(TensorSpec(name="x", shape=(3,)),)), classes=Classes(names=("cat", "dog"))
    )
    clock, log = SystemClock(), MemoryLog()
    context = LabelingContext(
        project=project,
        queue=MemoryQueue(project, clock),
        tokens=MemoryTokens(),
        writer=log.writer(),
        metrics=Metrics(project.project),
        clock=clock,
        audit=AuditTrail(log, project.project, clock),
    )
    return create_app(context).openapi()


def broken_promises(old: Json, new: Json) -> list[str]:
    """What a client of ``old`` could trip over in ``new``, one line each. Additions are none, nor are new refusals."""
    found: list[str] = []
    after = {(method, path): operation for method, path, operation in operations(new)}
    for method, path, operation in operations(old):
        name = f"{method.upper()} {path}"
        if (method, path) not in after:
            found.append(f"{name} is gone")
            continue
        found += [f"{name}: {line}" for line in _operation(operation, after[method, path], old, new)]
    return found


def _operation(old: Json, new: Json, old_document: Json, new_document: Json) -> Iterator[str]:
    known = {(p["in"], p["name"]) for p in old.get("parameters", ()) if p.get("required")}
    for parameter in new.get("parameters", ()):
        if parameter.get("required") and (parameter["in"], parameter["name"]) not in known:
            yield f"parameter {parameter['name']} is required now"
    sent, wanted = _schema(old.get("requestBody", {}), old_document), _schema(new.get("requestBody", {}), new_document)
    for field in sorted(set(wanted.get("required", ())) - set(sent.get("required", ()))):
        yield f"field {field} of the body is required now"
    for field in sorted(set(sent.get("properties", {})) - set(wanted.get("properties", {}))):
        yield f"field {field} of the body is refused now"
    for status in sorted(s for s in old["responses"] if s.startswith("2")):
        if status not in new["responses"]:
            yield f"answer {status} is gone"
            continue
        yield from _answer(
            status, _schema(old["responses"][status], old_document), _schema(new["responses"][status], new_document)
        )


def _answer(status: str, old: Json, new: Json) -> Iterator[str]:
    for field, schema in sorted(old.get("properties", {}).items()):
        if field not in new.get("properties", {}):
            yield f"field {field} of answer {status} is gone"
        elif schema.get("type") != new["properties"][field].get("type"):
            yield f"field {field} of answer {status} has another type"


def _schema(holder: Json, document: Json) -> Json:
    schema: Json = holder.get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        found: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema

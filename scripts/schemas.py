"""JSON Schemas of the messages in their plain JSON form, of the events that producers send, and of the project file."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Union, get_args, get_origin, get_type_hints

from tiebreak.contracts import messages as m
from tiebreak.contracts.codec_headers import MAX_ID_BYTES, MAX_TIME_MS
from tiebreak.contracts.codec_messages import REQUIRED
from tiebreak.contracts.project import Datatype, Project, Section
from tiebreak.contracts.topics import Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# The message of each topic; events have forms of their own.
MESSAGE_OF: Mapping[Topic, type] = {
    Topic.PREDICTIONS: m.Prediction,
    Topic.TASKS: m.Task,
    Topic.ANNOTATIONS: m.Annotation,
    Topic.LABELS: m.Label,
    Topic.MODELS: m.ModelRecord,
    Topic.DRIFT: m.DriftRecord,
    Topic.DEAD: m.DeadLetter,
    Topic.AUDIT: m.AuditRecord,
}

_SCALARS: Mapping[type, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    object: {},
}


def file_name(kind: type) -> str:
    """``ModelRecord`` -> ``model-record.schema.json``."""
    kebab = "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__).strip("-")
    return f"{kebab}.schema.json"


def all_schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its file name."""
    made = {file_name(kind): message_schema(kind) for kind in (*MESSAGE_OF.values(), m.Manifest)}
    made[file_name(m.Event)] = event_schema()
    made["project.schema.json"] = project_schema()
    return made


def message_schema(kind: type) -> dict[str, Any]:
    """The form that ``to_json`` writes. Unknown keys are allowed: a newer writer may send more."""
    definitions: dict[str, Any] = {}
    schema = {"$schema": DIALECT, "title": kind.__name__, **_object(kind, definitions)}
    return schema | ({"$defs": dict(sorted(definitions.items()))} if definitions else {})


def event_schema() -> dict[str, Any]:
    """The JSON in which producers send events. What the tensors are is the project's to say, and checked against it."""
    tensor = {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "datatype": {"enum": list(get_args(Datatype))},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array", "description": "Flat in C order, or nested as the shape says."},
            "parameters": {"type": "object"},
        },
        "additionalProperties": False,
    }
    about = {
        "id": {"type": "string", "maxLength": MAX_ID_BYTES, "description": "Absent: the record's key names the event."},
        "payload": {"oneOf": [{"type": "string", "description": "Short for a text payload."}, *_payloads()]},
        "subject": {"type": "string", "description": "Whom the event is about: the key of an erasure."},
        "source": {"type": "string"},
        "time_ms": {"type": "integer", "minimum": 0, "maximum": MAX_TIME_MS},
    }
    oip = about | {"inputs": {"type": "array", "items": tensor}, "parameters": {}, "outputs": {}}
    named = about | {"fields": {"type": "object"}}
    plain = {"not": {"anyOf": [{"required": ["inputs"]}, {"required": ["fields"]}]}, "properties": about}
    return {
        "$schema": DIALECT,
        "title": "Event",
        "description": "One event: tensors as in Open Inference Protocol v2, or named values, nested in `fields` or plain.",
        "type": "object",
        "oneOf": [
            {"title": "tensors", "required": ["inputs"], "properties": oip, "additionalProperties": False},
            {"title": "named", "required": ["fields"], "properties": named, "additionalProperties": False},
            {"title": "plain", **plain},
        ],
    }


def project_schema() -> dict[str, Any]:
    """``project.yaml``, from the classes that validate it, each key with the text below it: editors show that.

    Pydantic could take these texts, too, and would read its own source at every start.
    """
    schema = {"$schema": DIALECT, **Project.model_json_schema()}
    definitions = schema["$defs"] | {"Project": schema}
    for section in Section.__subclasses__():
        for key, text in texts_below(section).items():
            definitions[section.__name__]["properties"][key]["description"] = text
    return schema


def texts_below(section: type[Section]) -> Mapping[str, str]:
    """Key to the string that stands right below it in the class. Raises SystemExit for a key without one."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    found: dict[str, str] = {}
    for key, below in pairwise(body):
        if isinstance(key, ast.AnnAssign) and isinstance(below, ast.Expr):
            found[ast.unparse(key.target)] = " ".join(str(ast.literal_eval(below.value)).split())
    missing = [f"{section.__name__}.{key}" for key in section.model_fields if key not in found]
    if missing:
        raise SystemExit(f"{section.__module__}: {', '.join(missing)}: write below the key what it is.")
    return found


def _payloads() -> list[dict[str, Any]]:
    data: dict[m.PayloadKind, dict[str, Any]] = {
        m.PayloadKind.TEXT: {"type": "string"},
        m.PayloadKind.IMAGE: {"type": "string", "contentEncoding": "base64"},
        m.PayloadKind.TABLE: {"type": "object"},
    }
    return [
        {
            "type": "object",
            "required": ["kind", "data"],
            "properties": {"kind": {"const": kind.value}, "media_type": {"type": "string"}, "data": schema},
            "additionalProperties": False,
        }
        for kind, schema in data.items()
    ]


def _object(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {
        "description": inspect.cleandoc(kind.__doc__ or "").replace("``", "`"),
        "type": "object",
        "required": [f.name for f in fields(kind) if _no_default(f)],
        "properties": {f.name: _property(kind, f, hints[f.name], definitions) for f in fields(kind)},
    }


def _property(kind: type, f: Field[Any], hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _of(hint, definitions)
    if f.name in REQUIRED.get(kind, ()):
        schema = schema | {"minLength": 1}
    if hint is int and f.name.endswith("_ms"):
        schema = schema | {"description": "Unix milliseconds."}
    return schema


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return {
            "anyOf": [_of(argument, definitions) for argument in arguments if argument is not types.NoneType]
            + [{"type": "null"}]
        }
    if origin is tuple:
        return _tuple(arguments, definitions)
    if origin is not None:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if isinstance(hint, type) and is_dataclass(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # taken before its fields are walked
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if issubclass(hint, StrEnum):
        return {"enum": [member.value for member in hint]}
    return dict(_SCALARS[hint])


def _tuple(items: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if items[-1] is ...:
        return {"type": "array", "items": _of(items[0], definitions)}
    return {
        "type": "array",
        "prefixItems": [_of(item, definitions) for item in items],
        "minItems": len(items),
        "maxItems": len(items),
    }


def _no_default(f: Field[Any]) -> bool:
    return f.default is MISSING and f.default_factory is MISSING

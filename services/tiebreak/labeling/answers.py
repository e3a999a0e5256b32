"""What people may answer: checked against the project's schema, in one form for the log, and as a JSON Schema for programs. Pure.

An answer travels as a text: the name of a class, or canonical JSON (``docs/adr/0008-answers-are-canonical-text.md``). Two answers that
mean the same are the same text, so that counting, idempotency and replays know nothing of kinds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tiebreak.contracts.answer_text import number_text
from tiebreak.contracts.codec import dump_json, parse_json
from tiebreak.contracts.errors import BadRecord, Invalid
from tiebreak.contracts.project import Answer, AnswerKind, Project
from tiebreak.labeling.schema_versions import SchemaVersion

MAX_ANSWER_BYTES = 32_768
MAX_ITEMS = 200
MAX_OFFSET = 2**31 - 1
PLACES = 5

Item = Mapping[str, Any]


def canonical(answer: Answer, classes: Sequence[str], text: str, length: int = MAX_OFFSET) -> str:
    """The one form of the answer ``text`` (a class, or JSON). Raises Invalid, naming the path of what is wrong.

    ``length``: of the text that spans are marked in, in code points, where it is known.

    >>> canonical(Answer(kind=AnswerKind.MULTI), ("a", "b", "c"), '["c", "a"]')
    '["a","c"]'
    >>> canonical(Answer(kind=AnswerKind.NUMERIC, most=5, step=0.5), (), "2.50")
    '2.5'
    """
    if not answer.kind.is_structured:
        return _class(classes, text, "value")
    value = _parsed(answer.kind, text)
    match answer.kind:
        case AnswerKind.MULTI:
            return _json(_choices(answer, classes, value))
        case AnswerKind.NUMERIC:
            return number_text(_number(answer, value))
        case AnswerKind.SPANS:
            return _json(_items(value, lambda item, path: _span(classes, item, path, length)))
        case _:
            return _json(_items(value, lambda item, path: _box(classes, item, path)))


def value_of(text: str) -> Any:
    """A canonical structured answer as Python values."""
    return parse_json(text.encode(), MAX_ANSWER_BYTES)


def _parsed(kind: AnswerKind, text: str) -> Any:
    try:
        return parse_json(text.encode(), MAX_ANSWER_BYTES)
    except BadRecord as error:
        wanted = "a number" if kind is AnswerKind.NUMERIC else "a list"
        raise Invalid(
            f"answer: is not JSON of at most {MAX_ANSWER_BYTES} bytes.", fix=f"Here an answer is {wanted}, in `answer`."
        ) from error


def _json(value: object) -> str:
    return dump_json(value).decode()


def _class(classes: Sequence[str], name: object, path: str) -> str:
    if not isinstance(name, str) or name not in classes:
        raise Invalid(f"{path}: is not one of the project's classes.", fix="Choose one of `classes`.")
    return name


def _choices(answer: Answer, classes: Sequence[str], value: object) -> list[str]:
    if not isinstance(value, list):
        raise Invalid("answer: is not a list of classes.")
    chosen = [_class(classes, name, f"answer.{i}") for i, name in enumerate(value)]
    if len(set(chosen)) != len(chosen):
        raise Invalid("answer: names a class twice.")
    if not answer.least_choices <= len(chosen) <= answer.most_choices:
        raise Invalid(f"answer: has {len(chosen)} classes, not {answer.least_choices} to {answer.most_choices}.")
    return [name for name in classes if name in chosen]


def _number(answer: Answer, value: object) -> float:
    number = _real(value, "answer")
    if not answer.least <= number <= answer.most:
        raise Invalid(f"answer: is not from {answer.least:g} to {answer.most:g}.")
    if answer.step:
        steps = (number - answer.least) / answer.step
        if abs(steps - round(steps)) > 1e-6:
            raise Invalid(f"answer: is not in steps of {answer.step:g} from {answer.least:g}.")
        return answer.least + round(steps) * answer.step
    return number


def _real(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Invalid(f"{path}: is not a number.")
    return float(value)


def _items(value: object, one: Any) -> list[Item]:
    if not isinstance(value, list):
        raise Invalid("answer: is not a list.")
    if len(value) > MAX_ITEMS:
        raise Invalid(f"answer: has {len(value)} items, above {MAX_ITEMS}.")
    items = {_json(item): item for item in (one(item, f"answer.{i}") for i, item in enumerate(value))}
    return sorted(items.values(), key=lambda item: tuple(str(v).rjust(12) for v in item.values()))


def _keys(item: object, wanted: tuple[str, ...], path: str) -> Item:
    if not isinstance(item, dict) or set(item) != set(wanted):
        raise Invalid(f"{path}: is not an object with {', '.join(wanted)}.")
    return item


def _span(classes: Sequence[str], item: object, path: str, length: int) -> Item:
    item = _keys(item, ("start", "end", "label"), path)
    start, end = item["start"], item["end"]
    for name, offset in (("start", start), ("end", end)):
        if type(offset) is not int or not 0 <= offset <= MAX_OFFSET:
            raise Invalid(f"{path}.{name}: is not a whole number from 0.")
    if end <= start:
        raise Invalid(f"{path}.end: {end} is not after start ({start}).")
    if end > length:
        raise Invalid(
            f"{path}.end: {end} is beyond the end of the text ({length}).", fix="Offsets count code points from 0."
        )
    return {"start": start, "end": end, "label": _class(classes, item["label"], f"{path}.label")}


def _box(classes: Sequence[str], item: object, path: str) -> Item:
    item = _keys(item, ("x", "y", "width", "height", "label"), path)
    box: dict[str, Any] = {}
    for name in ("x", "y", "width", "height"):
        size = _real(item[name], f"{path}.{name}")
        if not (0.0 if name in {"x", "y"} else 10**-PLACES) <= size <= 1.0:
            raise Invalid(f"{path}.{name}: is not a share of the picture, above 0 and at most 1.")
        box[name] = round(size, PLACES)
    for place, side in (("x", "width"), ("y", "height")):
        if box[place] + box[side] > 1.0 + 10**-PLACES:
            raise Invalid(f"{path}.{side}: reaches beyond the picture.")
    return {**box, "label": _class(classes, item["label"], f"{path}.label")}


def json_schema(project: Project, classes: Sequence[str]) -> dict[str, Any]:
    """The answer as JSON Schema (2020-12), with the version, the question, the guidelines and the examples of the project.

    ``classes``: the project's, and those that people added.
    """
    labeling = project.labeling
    version = SchemaVersion(labeling.schema_version, max(0, len(classes) - len(project.classes.names)))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tiebreak:{project.project}:answer:{version}",
        "title": labeling.question,
        "description": labeling.guidelines,
        **_form(labeling.answer, classes),
        "x-tiebreak": {
            "kind": labeling.answer.kind.value,
            "version": labeling.schema_version,
            "step": labeling.answer.step,
            "unit": labeling.answer.unit,
            "examples": {name: list(texts) for name, texts in labeling.answer.examples.items()},
        },
    }


def _form(answer: Answer, classes: Sequence[str]) -> dict[str, Any]:
    one: dict[str, Any] = {"type": "string", "enum": list(classes)}
    share: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
    match answer.kind:
        case AnswerKind.MULTI:
            sizes = {"minItems": answer.least_choices, "maxItems": min(answer.most_choices, len(classes))}
            return {"type": "array", "items": one, "uniqueItems": True, **sizes}
        case AnswerKind.NUMERIC:
            return {"type": "number", "minimum": answer.least, "maximum": answer.most}
        case AnswerKind.SPANS:
            offset = {"type": "integer", "minimum": 0}
            return _list_of({"start": offset, "end": offset, "label": one})
        case AnswerKind.BOXES:
            return _list_of({"x": share, "y": share, "width": share, "height": share, "label": one})
        case _:
            return one


def _list_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    item = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "array", "items": item, "maxItems": MAX_ITEMS}

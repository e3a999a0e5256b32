"""Rows of files as events: what `tiebreak produce` reads. Pure.

A JSON line is the event as producers write it (``contracts/codec_events``). A row of a table has columns:

- ``id``, ``subject``, ``time_ms``, ``source``: as in an event. Without an id, one is made from the row's content and number,
  so that the same file produced twice is a replay and changes nothing.
- ``text`` (or ``payload``): what people see, for projects that show text.
- the rest fills the tensor: by the names in ``input.fields``; else a list in the column of the tensor's name; else all
  remaining columns, in order. For projects that show tables, people see these columns when there is no payload.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from math import prod
from typing import Any

from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord, DeadReason, Invalid
from tiebreak.contracts.log import Message, StoredRecord
from tiebreak.contracts.messages import Event, PayloadKind
from tiebreak.contracts.project import AnswerKind, Project, TensorSpec
from tiebreak.contracts.topics import Topic

_ABOUT = ("id", "subject", "source", "time_ms")
_PAYLOAD = ("payload", "text")
_EXAMPLE_VALUE = "0"
_EXAMPLE_MOST = 8
_EXAMPLE_PAYLOAD = {
    PayloadKind.TEXT: '"what people see"',
    PayloadKind.TABLE: '{"kind": "table", "data": {"what": "people see"}}',
    PayloadKind.IMAGE: '{"kind": "image", "media_type": "image/png", "data": "iVBORw0KGgo="}',
}
_EXAMPLE_PAIR = '{"kind": "table", "data": {"left": "one of two", "right": "the other"}}'


def event_of_line(line: bytes, number: int, project: Project) -> Event:
    """The event of one JSON line. Raises BadRecord."""
    return _checked(line.strip(), number, project)


def event_of_row(row: Mapping[str, object], number: int, project: Project) -> Event:
    """The event of one row of a table; text cells are read as numbers where the tensor needs them. Raises BadRecord."""
    about = {name: row[name] for name in _ABOUT if row.get(name) not in (None, "")}
    rest = {name: value for name, value in row.items() if name not in (*_ABOUT, *_PAYLOAD)}
    body: dict[str, object] = {str(name): value if name == "time_ms" else str(value) for name, value in about.items()}
    if "time_ms" in body:
        body["time_ms"] = _number("time_ms", body["time_ms"])
    body |= _tensor(rest, project)
    payload = _payload(row, rest, project)
    if payload is not None:
        body["payload"] = payload
    try:
        raw = codec.dump_json(body)
    except Invalid as error:
        raise BadRecord(DeadReason.UNDECODABLE, error.message) from error
    return _checked(raw, number, project)


def example_line(project: Project) -> str:
    """An event of the project as a JSON line; of a long tensor only the first values, and then an ellipsis."""
    spec, payload = project.input, _EXAMPLE_PAYLOAD[project.labeling.payload]
    if project.labeling.answer.kind is AnswerKind.PAIRWISE and project.labeling.payload is PayloadKind.TABLE:
        payload = _EXAMPLE_PAIR
    if spec.fields:
        named = ", ".join(f'"{name}": {_EXAMPLE_VALUE}' for name in spec.fields)
        return f'{{"id": "e-1", {named}}}'
    inputs = ", ".join(
        f'{{"name": "{t.name}", "datatype": "{t.datatype}", "shape": {list(t.shape)}, "data": [{_values(t)}]}}'
        for t in spec.tensors
    )
    return f'{{"id": "e-1", "inputs": [{inputs}], "payload": {payload}}}'


def _values(tensor: TensorSpec) -> str:
    value = {"BYTES": '"text"', "BOOL": "true"}.get(tensor.datatype, _EXAMPLE_VALUE)
    count = prod(tensor.shape)
    return ", ".join([value] * count if count <= _EXAMPLE_MOST else [value] * 2 + ["..."])


def message_of(event: Event, project: Project) -> Message:
    """The record to publish on ``events``: protobuf, keyed by the event's id."""
    topic = Topic.EVENTS.of(project.project)
    return Message(topic, event.event_id.encode(), codec.encode(event), codec.headers_for(codec.PROTOBUF))


def _checked(raw: bytes, number: int, project: Project) -> Event:
    # The scorer's own reading: what is refused here would have gone to `dead`, where nobody sees the line number.
    made = blake2b(b"%d:" % number + raw, digest_size=12).hexdigest()
    headers = codec.headers_for(codec.JSON)
    record = StoredRecord("file", 0, number, 0, made.encode(), raw, headers)
    return codec.decode_event(record, project.input)


def _tensor(rest: Mapping[str, object], project: Project) -> dict[str, object]:
    spec = project.input
    if spec.fields:
        return {"fields": {name: _number(name, rest[name]) for name in spec.fields if name in rest}}
    if len(spec.tensors) != 1:
        named = ", ".join(tensor.name for tensor in spec.tensors)
        raise BadRecord(
            DeadReason.WRONG_TENSOR, f"a table fills one tensor, and this project has {named}: use JSON lines"
        )
    only = spec.tensors[0]
    data = rest.get(only.name)
    values = data if isinstance(data, list) else [_number(name, value) for name, value in rest.items()]
    return {"inputs": [{"name": only.name, "datatype": only.datatype, "shape": list(only.shape), "data": values}]}


def _number(name: str, value: object) -> Any:
    """A cell as the number it spells; text that spells none is refused by name."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    raise BadRecord(DeadReason.WRONG_TENSOR, f"column {name} does not hold a number")


def _payload(row: Mapping[str, object], rest: Mapping[str, object], project: Project) -> object:
    given = next((row[name] for name in _PAYLOAD if row.get(name) not in (None, "")), None)
    kind = project.labeling.payload
    if kind is PayloadKind.TABLE and given is None:
        return {
            "kind": kind.value,
            "data": {name: value for name, value in rest.items() if not isinstance(value, list)},
        }
    return None if given is None else {"kind": kind.value, "data": given}

"""Bytes from producers as events: protobuf, JSON in two shapes, or the bare bytes of one tensor.

Every way in which the bytes can be wrong is a BadRecord with a reason; nothing else is ever raised, and no input is echoed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tiebreak.contracts import codec_tensors as tensors
from tiebreak.contracts.codec_headers import (
    JSON,
    OCTETS,
    PROTOBUF,
    Envelope,
    check_id,
    check_time_ms,
    envelope_of,
    is_id,
)
from tiebreak.contracts.codec_json import dump_json, no_more, parse_json, typed
from tiebreak.contracts.codec_messages import decode
from tiebreak.contracts.codec_payload import check_payload, payload_from_json, payload_to_json
from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.ids import fallback_event_id
from tiebreak.contracts.log import Record
from tiebreak.contracts.messages import Event
from tiebreak.contracts.project import Input, TensorSpec
from tiebreak.contracts.tensors import Tensor

MAX_SUBJECT_CHARS = 1024

_ABOUT = frozenset({"id", "payload", "subject", "source", "time_ms"})
# Open Inference Protocol v2 clients send these beside `inputs`; they ask for nothing that we give.
_IGNORED = frozenset({"parameters", "outputs"})


def decode_event(record: Record, spec: Input) -> Event:
    """The event in ``record``, with ``inputs`` as the project expects them (made from ``fields`` where it has those).

    The id is the ``ce_id`` header, else the body's, else the record's key, else topic/partition/offset. Headers win over the
    body for source, subject and time too; without any time the record's own is taken. Raises BadRecord and nothing else.
    """
    value = record.value
    if not value:
        raise BadRecord(DeadReason.EMPTY, "no bytes")
    if len(value) > spec.max_record_bytes:
        raise BadRecord(DeadReason.OVERSIZED, f"{len(value)} bytes, above {spec.max_record_bytes}")
    headers = envelope_of(record.headers)
    # `{` cannot begin our protobuf (it would open a group), so producers without headers are understood as well.
    content_type = headers.content_type or (JSON if value[:1] == b"{" else PROTOBUF)
    if content_type == OCTETS:
        event = _from_octets(value, spec)
    elif content_type == JSON:
        event = _from_json(value, spec)
    elif content_type == PROTOBUF:
        event = _from_protobuf(value, spec)
    else:
        raise BadRecord(DeadReason.UNDECODABLE, "content-type is none of ours")
    return _about(event, headers, record)


def event_to_json(event: Event) -> bytes:
    """The event as the JSON that :func:`decode_event` reads. BYTES tensors and ``fields`` of our own go as they are."""
    body: dict[str, object] = {"id": event.event_id} if event.event_id else {}
    if event.fields is not None:
        body["fields"] = dict(event.fields)
    else:
        body["inputs"] = [
            {"name": t.name, "datatype": t.datatype, "shape": list(t.shape), "data": tensors.to_json(t)}
            for t in event.inputs
        ]
    if event.payload is not None:
        body["payload"] = payload_to_json(event.payload)
    body.update({name: value for name in ("subject", "source", "time_ms") if (value := getattr(event, name))})
    return dump_json(body)


def _about(event: Event, headers: Envelope, record: Record) -> Event:
    time_ms = headers.time_ms if headers.time_ms is not None else check_time_ms("time_ms", event.time_ms)
    subject = headers.subject or event.subject
    source = headers.source or event.source
    if len(subject) > MAX_SUBJECT_CHARS or len(source) > MAX_SUBJECT_CHARS:
        raise BadRecord(DeadReason.OVERSIZED, f"subject or source has more than {MAX_SUBJECT_CHARS} characters")
    return replace(
        event,
        event_id=headers.event_id or (event.event_id and check_id("id", event.event_id)) or _id_from_key(record),
        subject=subject,
        source=source,
        time_ms=time_ms or max(record.timestamp, 0),
    )


def _id_from_key(record: Record) -> str:
    try:
        key = (record.key or b"").decode()
    except UnicodeDecodeError:
        key = ""
    return key if is_id(key) else fallback_event_id(record.topic, record.partition, record.offset)


def _from_protobuf(value: bytes, spec: Input) -> Event:
    event = decode(Event, value)
    if event.payload is not None:
        event = replace(event, payload=check_payload(event.payload))
    return _complete(event, spec)


def _complete(event: Event, spec: Input) -> Event:
    if event.fields is None:
        return replace(event, inputs=tensors.match_tensors(event.inputs, spec))
    if event.inputs:
        raise BadRecord(DeadReason.UNDECODABLE, "an event has inputs or fields, not both")
    return replace(event, inputs=(tensors.from_fields(event.fields, spec),))


def _from_octets(value: bytes, spec: Input) -> Event:
    if len(spec.tensors) != 1:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"raw bytes carry one tensor; this project takes {len(spec.tensors)}")
    only = spec.tensors[0]
    tensors.check_bytes(value, only)
    return Event("", (Tensor(only.name, only.datatype, only.shape, value),))


def _from_json(value: bytes, spec: Input) -> Event:
    body = parse_json(value, spec.max_record_bytes)
    if not isinstance(body, dict):
        raise BadRecord(DeadReason.UNDECODABLE, "not a JSON object")
    event = Event(
        event_id=typed(body, "id", str, ""),
        payload=payload_from_json(body["payload"]) if body.get("payload") is not None else None,
        subject=typed(body, "subject", str, ""),
        source=typed(body, "source", str, ""),
        time_ms=typed(body, "time_ms", int, 0),
    )
    rest = body.keys() - _ABOUT
    if "inputs" in rest and "inputs" not in spec.fields:
        no_more("an event with inputs", rest, _IGNORED | {"inputs"})
        return replace(event, inputs=_inputs_from_json(body["inputs"], spec))
    if "fields" in rest and "fields" not in spec.fields:
        no_more("an event with fields", rest, frozenset({"fields"}))
        return _complete(replace(event, fields=typed(body, "fields", dict, {})), spec)
    return _complete(replace(event, fields={name: body[name] for name in body if name in rest}), spec)


def _inputs_from_json(inputs: object, spec: Input) -> tuple[Tensor, ...]:
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise BadRecord(DeadReason.UNDECODABLE, "inputs is not a list of objects")
    by_name = {typed(each, "name", str, ""): each for each in inputs}
    expected = {each.name for each in spec.tensors}
    if len(by_name) != len(inputs) or by_name.keys() != expected:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"inputs must be exactly: {', '.join(sorted(expected))}")
    return tuple(_input_from_json(by_name[each.name], each) for each in spec.tensors)


def _input_from_json(body: Mapping[str, Any], spec: TensorSpec) -> Tensor:
    no_more(spec.name, body.keys() - {"parameters"}, frozenset({"name", "datatype", "shape", "data"}))
    if body.get("datatype") != spec.datatype:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} must be {spec.datatype}")
    shape = body.get("shape")
    if not isinstance(shape, list) or not all(type(side) is int for side in shape):
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name}.shape is not a list of integers")
    return tensors.from_json(body.get("data"), shape, spec)

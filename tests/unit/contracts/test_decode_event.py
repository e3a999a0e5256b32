"""Events in every form that producers use."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from tests.support.records import NAMED, VECTOR, floats, record
from tiebreak.contracts import codec
from tiebreak.contracts.messages import Event, Payload, PayloadKind
from tiebreak.contracts.project import Input, TensorSpec
from tiebreak.contracts.tensors import Tensor

X = Tensor("x", "FP32", (3,), floats(1, 2.5, -0.0))
OIP: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [3], "data": [1, 2.5, -0.0]}
NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("content_type", "value"),
    [
        (codec.PROTOBUF, codec.encode(Event("e1", (X,)))),
        ("application/protobuf", codec.encode(Event("e1", (X,)))),
        ("", codec.encode(Event("e1", (X,)))),
        (codec.JSON, orjson.dumps({"id": "e1", "inputs": [OIP]})),
        ("Application/JSON; charset=UTF-8", orjson.dumps({"id": "e1", "inputs": [OIP]})),
        ("", orjson.dumps({"id": "e1", "inputs": [OIP], "parameters": {"priority": 1}, "outputs": []})),
        (codec.JSON, orjson.dumps({"id": "e1", "inputs": [OIP | {"shape": [1, 3], "data": [[1, 2.5, -0.0]]}]})),
        (codec.JSON, orjson.dumps({"id": "e1", "inputs": [OIP | {"shape": [1, 3], "parameters": {}}]})),
        (codec.JSON, codec.event_to_json(Event("e1", (X,)))),
    ],
)
def test_each_form_of_one_event_decodes_to_the_same(content_type: str, value: bytes) -> None:
    """Protobuf and Open Inference Protocol JSON, with or without a content type and a batch axis, are the same event."""
    assert codec.decode_event(record(value, content_type), VECTOR) == Event("e1", (X,), time_ms=NOW)


def test_raw_bytes_are_the_single_tensor_and_the_key_is_the_id() -> None:
    """The fast lane needs no envelope at all."""
    assert codec.decode_event(record(X.data, codec.OCTETS), VECTOR) == Event("k1", (X,), time_ms=NOW)


@pytest.mark.parametrize(
    "body",
    [
        {"id": "e1", "fields": {"hour": 7, "amount": 2.5, "country": "CH"}},
        {"id": "e1", "hour": 7, "amount": 2.5, "country": "CH"},
    ],
)
def test_named_fields_fill_the_tensor_in_the_order_of_the_project(body: dict[str, Any]) -> None:
    """Columns that the model does not know stay in the event, for people to look at."""
    decoded = codec.decode_event(record(orjson.dumps(body)), NAMED)

    row = Tensor("row", "FP32", (2,), floats(2.5, 7))
    assert decoded == Event("e1", (row,), {"hour": 7, "amount": 2.5, "country": "CH"}, time_ms=NOW)
    assert codec.decode_event(record(codec.encode(decoded)), NAMED) == decoded
    assert codec.decode_event(record(codec.event_to_json(decoded)), NAMED) == decoded


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        ("hello", Payload(PayloadKind.TEXT, "text/plain; charset=utf-8", b"hello")),
        (
            {"kind": "text", "data": "\u202e<b>"},
            Payload(PayloadKind.TEXT, "text/plain; charset=utf-8", "\u202e<b>".encode()),
        ),
        (
            {"kind": "image", "media_type": "image/webp", "data": base64.b64encode(b"\x00\xff").decode()},
            Payload(PayloadKind.IMAGE, "image/webp", b"\x00\xff"),
        ),
        (
            {"kind": "table", "data": {"b": 1, "a": "=cmd()"}},
            Payload(PayloadKind.TABLE, "application/json", b'{"a":"=cmd()","b":1}'),
        ),
    ],
)
def test_a_payload_is_stored_raw_whatever_it_would_do_elsewhere(body: object, payload: Payload) -> None:
    """Text, an image and a table row reach people as they were sent, and come back from our own JSON too."""
    decoded = codec.decode_event(record(orjson.dumps({"id": "e1", "inputs": [OIP], "payload": body})), VECTOR)

    assert decoded == Event("e1", (X,), payload=payload, time_ms=NOW)
    assert codec.decode_event(record(codec.event_to_json(decoded)), VECTOR) == decoded


def test_cloudevents_headers_win_over_the_body() -> None:
    """Binary-mode attributes name the event, its source, its subject and its time."""
    value = codec.encode(Event("body", (X,), subject="s0", source="/body", time_ms=5))
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"header"),
        ("ce_source", b"/shop"),
        ("ce_subject", b"customer-7"),
        ("ce_time", b"2026-11-23T10:00:00.250+01:00"),
        ("x-other", b"\xff"),
    ]

    decoded = codec.decode_event(record(value, headers=headers), VECTOR)

    assert decoded == Event("header", (X,), subject="customer-7", source="/shop", time_ms=1_795_424_400_250)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"k1", "k1"),
        ("größe".encode(), "größe"),
        (None, "tiebreak.p.events/3/41"),
        (b"", "tiebreak.p.events/3/41"),
        (b"\xff\xfe", "tiebreak.p.events/3/41"),
        (b"k\x001", "tiebreak.p.events/3/41"),
        (b"k\r\n1", "tiebreak.p.events/3/41"),
        (b"k" * 513, "tiebreak.p.events/3/41"),
    ],
)
def test_an_event_without_an_id_is_named_by_its_key_or_its_place(key: bytes | None, expected: str) -> None:
    """A key that cannot be an id (absent, not UTF-8, control characters, too long) leaves the place in the log."""
    assert codec.decode_event(record(X.data, codec.OCTETS, key=key), VECTOR).event_id == expected


def test_a_record_without_any_time_is_at_zero() -> None:
    """Kafka's -1 for "no timestamp" never becomes a negative time."""
    assert codec.decode_event(record(X.data, codec.OCTETS, timestamp=-1), VECTOR).time_ms == 0


@pytest.mark.parametrize(
    ("datatype", "values", "data"),
    [
        ("BOOL", [True, False], b"\x01\x00"),
        ("UINT8", [0, 255], b"\x00\xff"),
        ("INT16", [-1, 2], b"\xff\xff\x02\x00"),
        ("FP16", [1, 0.5], b"\x00\x3c\x00\x38"),
        ("BYTES", ["a", "ü"], b"\x01\x00\x00\x00a\x02\x00\x00\x00\xc3\xbc"),
    ],
)
def test_each_datatype_has_its_bytes(datatype: Any, values: list[object], data: bytes) -> None:
    """JSON values become the raw little-endian bytes of the Open Inference Protocol, and come back from them."""
    spec = Input(tensors=(TensorSpec(name="x", datatype=datatype, shape=(2,)),))
    body = {"id": "e1", "inputs": [{"name": "x", "datatype": datatype, "shape": [2], "data": values}]}

    decoded = codec.decode_event(record(orjson.dumps(body)), spec)

    assert decoded == Event("e1", (Tensor("x", datatype, (2,), data),), time_ms=NOW)
    assert orjson.loads(codec.event_to_json(decoded))["inputs"] == body["inputs"]


def test_two_tensors_come_in_the_order_of_the_project() -> None:
    """The order of the sender does not matter, the names do."""
    spec = Input(tensors=(TensorSpec(name="a", shape=(1,)), TensorSpec(name="b", shape=(1,))))
    a, b = Tensor("a", "FP32", (1,), floats(1)), Tensor("b", "FP32", (1,), floats(2))

    assert codec.decode_event(record(codec.encode(Event("e1", (b, a)))), spec).inputs == (a, b)

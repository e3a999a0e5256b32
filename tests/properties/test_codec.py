"""The codec under Hypothesis: what is written is read back, and no bytes at all can make it fail in an unforeseen way."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import KINDS, json_values, messages
from tests.support.records import NAMED, VECTOR, record
from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.messages import Event, Label


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(data=st.data())
def test_what_is_encoded_is_read_back_whole(kind: type, data: st.DataObject) -> None:
    """Every message comes back equal, field for field."""
    message = data.draw(messages(kind))

    assert codec.decode(kind, codec.encode(message)) == message


@given(event=messages(Event), fields=st.dictionaries(st.text("abc", max_size=3), json_values, max_size=4))
def test_named_fields_come_back_as_the_same_json(event: Event, fields: dict[str, Any]) -> None:
    """An event with named JSON values keeps them exactly: integers stay integers, text stays text."""
    event = replace(event, inputs=(), fields=fields)

    assert codec.decode(Event, codec.encode(event)) == event


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(raw=st.binary(max_size=200))
def test_random_bytes_raise_only_bad_record(kind: type, raw: bytes) -> None:
    """Bytes from nowhere are a bad record or a message, never another error."""
    with suppress(BadRecord):
        assert isinstance(codec.decode(kind, raw), kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(data=st.data())
def test_a_damaged_message_raises_only_bad_record(kind: type, data: st.DataObject) -> None:
    """A good message with bytes flipped, cut or inserted is a bad record or another message, never another error."""
    raw = bytearray(codec.encode(data.draw(messages(kind))) or b"\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(raw) - 1, 0)))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    with suppress(BadRecord):
        decoded: object = codec.decode(kind, bytes(raw))
        # What was accepted can also be published again.
        assert codec.decode(kind, codec.encode(decoded)) == decoded


CONTENT_TYPES = ("", codec.PROTOBUF, codec.JSON, codec.OCTETS)


@given(
    raw=st.binary(max_size=200) | json_values.map(orjson.dumps),
    content_type=st.sampled_from(CONTENT_TYPES),
    key=st.none() | st.binary(max_size=5),
    headers=st.lists(
        st.tuples(st.sampled_from(["ce_id", "ce_time", "ce_source", "x"]), st.binary(max_size=30)), max_size=3
    ),
)
def test_random_records_raise_only_bad_record(
    raw: bytes, content_type: str, key: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    """A record from nowhere is a bad record or an event that fits the project, never another error."""
    for spec in (VECTOR, NAMED):
        with suppress(BadRecord):
            event = codec.decode_event(record(raw, content_type, key=key, headers=headers), spec)
            assert [(t.name, t.shape) for t in event.inputs] == [(t.name, t.shape) for t in spec.tensors]


_INPUT = {"name": "x", "datatype": "FP32", "shape": [3], "data": [1, 2.5, -3]}
_BODY = {"id": "e1", "inputs": [_INPUT], "payload": {"kind": "table", "data": {"a": "b"}}, "time_ms": 5}


@given(data=st.data())
def test_a_damaged_json_event_raises_only_bad_record(data: st.DataObject) -> None:
    """A good JSON event with a value replaced, dropped or cut is a bad record or another good event."""
    body = orjson.loads(orjson.dumps(_BODY))
    node: Any = body
    while True:
        at = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if isinstance(node[at], dict | list) and node[at] and data.draw(st.booleans()):
            node = node[at]
            continue
        node[at] = data.draw(json_values)
        break
    raw = orjson.dumps(body)
    cut = data.draw(st.integers(1, len(raw)))
    with suppress(BadRecord):
        event = codec.decode_event(record(raw[:cut]), VECTOR)
        assert codec.decode_event(record(codec.encode(event)), VECTOR) == event


@given(value=json_values)
def test_json_values_come_back_from_strict_json(value: Any) -> None:
    """What we dump, our strict reader takes, unchanged."""
    assert codec.parse_json(codec.dump_json(value), 2**20) == value


@given(st.lists(st.tuples(st.sampled_from(["a", "b", 'a":', '": "', "\\"]), st.integers() | st.just('":')), max_size=4))
def test_a_key_is_a_duplicate_exactly_when_it_is_written_twice(pairs: list[tuple[str, Any]]) -> None:
    """Text that looks like a key inside a string is no duplicate, and a duplicate does not hide behind it."""
    raw = b"{" + b",".join(orjson.dumps(key) + b" :" + json.dumps(value).encode() for key, value in pairs) + b"}"
    keys = [key for key, _ in pairs]
    if len(set(keys)) == len(keys):
        assert set(codec.parse_json(raw, 2**20)) == set(keys)
    else:
        with pytest.raises(BadRecord, match="duplicate"):
            codec.parse_json(raw, 2**20)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(data=st.data())
def test_a_peek_sees_what_a_whole_reading_sees(kind: type, data: st.DataObject) -> None:
    """Each field that is asked for is the one of the decoded message, in the order asked."""
    message = data.draw(messages(kind))
    names = data.draw(
        st.permutations([field.name for field in fields(kind) if kind is not Event or field.name != "inputs"])
    )
    raw = codec.encode(message)

    assert codec.peek(kind, raw, *names) == tuple(getattr(codec.decode(kind, raw), name) for name in names)


@pytest.mark.parametrize("raw", [None, b"", b"\xff\xff\xff"])
def test_a_peek_at_what_is_no_message_is_a_bad_record(raw: bytes | None) -> None:
    """Nothing, and bytes of another kind, are refused in the same way as by a whole reading."""
    with pytest.raises(BadRecord):
        codec.peek(Label, raw, "task_id")

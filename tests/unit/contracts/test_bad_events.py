"""Whatever is wrong with the bytes of an event, it is a bad record with its reason, and the input is not echoed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.support.records import NAMED, VECTOR, floats, record
from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.log import StoredRecord
from tiebreak.contracts.messages import Event, Payload, PayloadKind
from tiebreak.contracts.project import Input, TensorSpec
from tiebreak.contracts.tensors import Tensor

U = DeadReason.UNDECODABLE
WRONG = DeadReason.WRONG_TENSOR
NAN = DeadReason.NOT_FINITE
OVER = DeadReason.OVERSIZED

OIP: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [3], "data": [1, 2, 3]}
SECRET = "personal-7f3a"


def refusal(bad: StoredRecord, spec: Input = VECTOR) -> DeadReason:
    with pytest.raises(BadRecord) as caught:
        codec.decode_event(bad, spec)
    assert SECRET not in str(caught.value)
    return caught.value.reason


def with_input(**changes: object) -> bytes:
    return orjson.dumps({"id": SECRET, "inputs": [OIP | changes]})


GOOD = with_input()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(GOOD[:-1], U, id="truncated"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, U, id="byte order mark"),
        pytest.param(GOOD.decode().encode("utf-16"), U, id="UTF-16"),
        pytest.param(b'{"id": "\xe9", "inputs": []}', U, id="Latin-1"),
        pytest.param(b'{"id": "\xed\xa0\x80"}', U, id="surrogate in UTF-8"),
        pytest.param(GOOD.replace(SECRET.encode(), b"\\ud800"), U, id="lone surrogate"),
        pytest.param(GOOD.replace(b"[1,2,3]", b"[1,NaN,3]"), U, id="NaN"),
        pytest.param(GOOD.replace(b"[1,2,3]", b"[1,-Infinity,3]"), U, id="Infinity"),
        pytest.param(GOOD.replace(b"[1,2,3]", b"[1,1e999,3]"), U, id="1e999"),
        pytest.param(GOOD.replace(b"[1,2,3]", b"[1,1e39,3]"), NAN, id="beyond 32 bits"),
        pytest.param(GOOD.replace(b"[1,2,3]", b"[1," + b"9" * 2000 + b",3]"), U, id="2000-digit integer"),
        pytest.param(b"[" * 2000, U, id="nested lists"),
        pytest.param(b'{"a":' * 500, U, id="nested objects"),
        pytest.param(b'{"id":"e1","fields":' + b'{"a":' * 40 + b"1" + b"}" * 41, U, id="deeper than we read"),
        pytest.param(b'{"id":"e1",' + GOOD[1:], U, id="duplicate key"),
        pytest.param(GOOD.replace(b'"id":', b'"\\u0069d":"e1","id":'), U, id="duplicate key, escaped"),
        pytest.param(GOOD.replace(b'"shape":', b'"data":[],"shape":'), U, id="duplicate key inside"),
        pytest.param(GOOD + b"{}", U, id="two documents"),
        pytest.param(b"[]", U, id="a list"),
        pytest.param(b"null", U, id="null"),
        pytest.param(b" ", U, id="blank"),
        pytest.param(b'{"id":7,' + orjson.dumps({"inputs": [OIP]})[1:], U, id="a number for an id"),
        pytest.param(orjson.dumps({"id": "a\nb", "inputs": [OIP]}), U, id="a line break in the id"),
        pytest.param(orjson.dumps({"id": "a\x00b", "inputs": [OIP]}), U, id="NUL in the id"),
        pytest.param(orjson.dumps({"id": "a" * 513, "inputs": [OIP]}), U, id="a long id"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "time_ms": True}), U, id="bool for a time"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "time_ms": -1}), U, id="a time before 1970"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "time_ms": 1.7e18}), U, id="a fraction for a time"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "time_ms": 17 * 10**17}), U, id="nanoseconds"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "subject": "s" * 1025}), OVER, id="a long subject"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "inputz": []}), U, id="a misspelt key"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "fields": {}}), U, id="inputs and fields"),
        pytest.param(orjson.dumps({"id": "e", "inputs": {}}), U, id="inputs not a list"),
        pytest.param(orjson.dumps({"id": "e", "inputs": ["x"]}), U, id="an input not an object"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "payload": 7}), U, id="a payload of no kind"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "payload": {"kind": "exe"}}), U, id="an unknown kind"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP], "payload": {"kind": []}}), U, id="a kind not text"),
        pytest.param(
            orjson.dumps({"id": "e", "inputs": [OIP], "payload": {"kind": "image", "data": "%"}}), U, id="not base64"
        ),
        pytest.param(
            orjson.dumps({"id": "e", "inputs": [OIP], "payload": {"kind": "text", "data": {}}}),
            U,
            id="a table for text",
        ),
        pytest.param(orjson.dumps({"id": "e", "inputs": []}), WRONG, id="no inputs"),
        pytest.param(orjson.dumps({"id": "e", "inputs": [OIP, OIP]}), WRONG, id="an input twice"),
        pytest.param(orjson.dumps({"id": "e", "fields": {"x": 1}}), WRONG, id="fields for a tensor"),
        pytest.param(with_input(name="y"), WRONG, id="another name"),
        pytest.param(with_input(name=["x"]), U, id="a name not text"),
        pytest.param(with_input(datatype="FP64"), WRONG, id="another datatype"),
        pytest.param(with_input(shape=[4]), WRONG, id="another shape"),
        pytest.param(with_input(shape=[3.0]), WRONG, id="a shape of floats"),
        pytest.param(with_input(shape=[True, 3]), WRONG, id="a shape of bools"),
        pytest.param(with_input(shape=[-1]), WRONG, id="a shape to be guessed"),
        pytest.param(with_input(shape=None), WRONG, id="no shape"),
        pytest.param(with_input(data=[1, 2]), WRONG, id="one value less"),
        pytest.param(with_input(data=[1, 2, 3, 4]), WRONG, id="one value more"),
        pytest.param(with_input(data=[]), WRONG, id="no values"),
        pytest.param(with_input(data=None), WRONG, id="null for values"),
        pytest.param(with_input(data=[1, True, 3]), WRONG, id="bool for a number"),
        pytest.param(with_input(data=[1, "2", 3]), WRONG, id="text for a number"),
        pytest.param(with_input(data=[1, None, 3]), WRONG, id="null for a number"),
        pytest.param(with_input(data=[[1, 2, 3]]), WRONG, id="nested though flat"),
        pytest.param(with_input(shape=[1, 3], data=[[1, 2, 3], 4]), WRONG, id="ragged"),
        pytest.param(with_input(shape=[1, 3], data=[[1, 2, 3], [1, 2, 3]]), WRONG, id="two rows"),
        pytest.param(with_input(extra=1), U, id="an input with an unknown key"),
    ],
)
def test_bad_json_is_refused(raw: bytes, reason: DeadReason) -> None:
    """A JSON event that two readers could take differently, or that does not fit the project, is set aside."""
    assert refusal(record(raw, codec.JSON)) == reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"id": "e", "amount": 1}, WRONG),
        ({"id": "e", "fields": {"amount": 1, "hours": 2}}, WRONG),
        ({"id": "e", "fields": [1, 2]}, U),
        ({"id": "e", "amount": "1", "hour": 2}, WRONG),
        ({"id": "e", "amount": False, "hour": 2}, WRONG),
        ({"id": "e", "amount": 1e300, "hour": 2}, NAN),
    ],
)
def test_bad_named_fields_are_refused(body: dict[str, Any], reason: DeadReason) -> None:
    """A missing, renamed or mistyped field never becomes a zero."""
    assert refusal(record(orjson.dumps(body)), NAMED) == reason


def tensor_event(**changes: Any) -> bytes:
    fields = {"name": "x", "datatype": "FP32", "shape": (3,), "data": floats(1, 2, 3)} | changes
    return codec.encode(Event("e1", (Tensor(**fields),)))


@pytest.mark.parametrize(
    ("raw", "content_type", "reason"),
    [
        pytest.param(None, codec.PROTOBUF, DeadReason.EMPTY, id="tombstone"),
        pytest.param(b"", codec.JSON, DeadReason.EMPTY, id="empty"),
        pytest.param(b"x" * 4097, codec.OCTETS, OVER, id="oversized"),
        pytest.param(b"\x0a\xff", codec.PROTOBUF, U, id="truncated"),
        pytest.param(b"\x0a\x02\xc3\x28", codec.PROTOBUF, U, id="invalid UTF-8"),
        pytest.param(b"\x0a\x02e1\x1a\x02{}" + tensor_event()[4:], codec.PROTOBUF, U, id="inputs and fields"),
        pytest.param(b"\x0a\x02e1\x1a\x09" + b'{"a":NaN}', codec.PROTOBUF, U, id="fields not strict JSON"),
        pytest.param(b"\x0a\x02e1\x1a\x03[1]", codec.PROTOBUF, U, id="fields not an object"),
        pytest.param(codec.encode(Event("a\nb", ())), codec.PROTOBUF, WRONG, id="no inputs"),
        pytest.param(b"\x0a\x03a\nb" + tensor_event()[4:], codec.PROTOBUF, U, id="a line break in the id"),
        pytest.param(
            b"\x0a\x02e1" + tensor_event()[4:] + b"\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            codec.PROTOBUF,
            U,
            id="time -1",
        ),
        pytest.param(tensor_event(name="y"), codec.PROTOBUF, WRONG, id="another name"),
        pytest.param(tensor_event(datatype="FP64", data=b"\0" * 24), codec.PROTOBUF, WRONG, id="another datatype"),
        pytest.param(tensor_event(shape=(2,)), codec.PROTOBUF, WRONG, id="another shape"),
        pytest.param(tensor_event(data=floats(1, 2)), codec.PROTOBUF, WRONG, id="too few bytes"),
        pytest.param(tensor_event(data=floats(1, float("nan"), 3)), codec.PROTOBUF, NAN, id="NaN"),
        pytest.param(floats(1, 2), codec.OCTETS, WRONG, id="raw, too few bytes"),
        pytest.param(floats(1, 2, 3) + b"\0", codec.OCTETS, WRONG, id="raw, one byte more"),
        pytest.param(floats(1, 2, float("inf")), codec.OCTETS, NAN, id="raw, infinite"),
        pytest.param(GOOD, codec.PROTOBUF, U, id="JSON called protobuf"),
        pytest.param(tensor_event(), codec.JSON, U, id="protobuf called JSON"),
        pytest.param(GOOD, "text/xml", U, id="a content type that is none of ours"),
        pytest.param(GOOD, "application/json; charset=latin-1", U, id="another charset"),
    ],
)
def test_bad_binary_is_refused(raw: bytes | None, content_type: str, reason: DeadReason) -> None:
    """Bytes that are not the event they claim to be are set aside."""
    assert refusal(record(raw, content_type)) == reason


@pytest.mark.parametrize(
    ("spec", "raw"),
    [
        (TensorSpec(name="x", datatype="BOOL", shape=(2,)), b"\x01\x02"),
        (TensorSpec(name="x", datatype="BYTES", shape=(1,)), b"\x05\x00\x00\x00ab"),
        (TensorSpec(name="x", datatype="BYTES", shape=(1,)), b"\x00\x00\x00"),
        (TensorSpec(name="x", datatype="BYTES", shape=(1,)), b"\x00\x00\x00\x00" * 2),
        (TensorSpec(name="x", datatype="BYTES", shape=(1,)), b"\xff\xff\xff\xff"),
        (TensorSpec(name="x", datatype="BYTES", shape=(1,)), b"\x01\x00\x00\x00\xff"),
    ],
)
def test_bytes_that_are_no_value_of_their_datatype_are_refused(spec: TensorSpec, raw: bytes) -> None:
    """A boolean that is neither 0 nor 1, and strings whose lengths do not add up or that are not UTF-8, are set aside."""
    assert refusal(record(raw, codec.OCTETS), Input(tensors=(spec,))) == WRONG


def test_an_integer_outside_its_datatype_is_refused() -> None:
    """256 does not wrap to 0, and 1.0 is not taken for an integer."""
    spec = Input(tensors=(TensorSpec(name="x", datatype="UINT8", shape=(1,)),))
    for value in (256, -1, 1.0):
        body = {"id": "e", "inputs": [{"name": "x", "datatype": "UINT8", "shape": [1], "data": [value]}]}
        assert refusal(record(orjson.dumps(body)), spec) == WRONG


def test_raw_bytes_for_a_project_of_two_tensors_are_refused() -> None:
    """Bare bytes cannot say which tensor they are."""
    spec = Input(tensors=(TensorSpec(name="a", shape=(1,)), TensorSpec(name="b", shape=(1,))))
    assert refusal(record(floats(1), codec.OCTETS), spec) == WRONG


def test_a_table_or_text_payload_must_be_what_it_says() -> None:
    """Protobuf payloads are checked as JSON ones are: text is UTF-8, a table is a JSON object, a kind is given."""
    event = Event("e1", (Tensor("x", "FP32", (3,), floats(1, 2, 3)),))
    for kind, data in ((PayloadKind.TEXT, b"\xff"), (PayloadKind.TABLE, b"[1]"), (PayloadKind.TABLE, b'{"a":1,"a":2}')):
        raw = codec.encode(Event(event.event_id, event.inputs, payload=Payload(kind, "", data)))
        assert refusal(record(raw)) == U
    assert refusal(record(codec.encode(event) + b"\x22\x00")) == U

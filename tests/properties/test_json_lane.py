"""The fast lane for JSON says what the codec says, or leaves it to the codec."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.log import StoredRecord
from tiebreak.contracts.project import Input, TensorSpec
from tiebreak.scoring.json_lane import JsonLane

TYPES = ("FP32", "FP64", "FP16", "INT8", "INT16", "INT32", "INT64", "UINT8", "BOOL", "BYTES")
SPECS = [
    Input(tensors=(TensorSpec(name="x", datatype=kind, shape=(2,)),), fields=fields, max_record_bytes=400)
    for kind in TYPES
    for fields in ((), ("a", "b"))
]
number = st.one_of(
    st.integers(-300, 300),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.just("7"),
)
about = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["e1", "", "a:b", "x\n", 7, None]),
        "time_ms": st.sampled_from([0, 5, -1, 2**60, True, 1.5]),
        "subject": st.just("s"),
        "extra": number,
    },
)
named = st.tuples(about, number, number).map(lambda t: {**t[0], "a": t[1], "b": t[2]})
tensor = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "x", "x", "y"]),
        "datatype": st.sampled_from(TYPES),
        "shape": st.sampled_from([[2], [1, 2], [2, 1], [True, 2], 2]),
        "data": st.lists(number, min_size=1, max_size=3) | st.just([[1, 2]]),
    }
)
inferred = st.tuples(about, st.lists(tensor, min_size=0, max_size=2) | tensor).map(lambda t: {**t[0], "inputs": t[1]})
bodies = named | inferred | st.lists(number, max_size=2)
HEADERS = codec.headers_for(codec.JSON)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """A body as text, with what only text can have: spaces, a key given twice, a stray end."""
    raw = json.dumps(draw(bodies), separators=draw(st.sampled_from([(",", ":"), (", ", " : ")]))).encode()
    if raw.endswith(b"}") and draw(st.booleans()):
        raw = raw[:-1] + draw(st.sampled_from([b',"a":1}', b',"id":"z"}', b',"data":[1,2]}', b"", b"}}"]))
    return raw


@given(st.sampled_from(SPECS), st.lists(texts(), min_size=1, max_size=3))
def test_the_lane_and_the_codec_agree(spec: Input, values: list[bytes]) -> None:
    """Wherever the lane answers, the codec gives the same id and the same bytes, whatever the lane saw before."""
    lane = JsonLane(spec)
    for value in values:
        read = lane.read(value)
        if read is None:
            continue
        event = codec.decode_event(StoredRecord("t", 0, 5, 1, b"the-key", value, HEADERS), spec)
        assert read == (b"" if event.event_id == "the-key" else event.event_id.encode(), (event.inputs[0].data,))


@pytest.mark.parametrize("spec", [s for s in SPECS if s.tensors[0].datatype in {"FP32", "INT64"}])
def test_the_common_shapes_take_the_lane(spec: Input) -> None:
    """A lane that never answers would agree with everything."""
    numbers: list[Any] = [1, 2]
    body: dict[str, Any] = {"a": 1, "b": 2} if spec.fields else {}
    if not spec.fields:
        only = spec.tensors[0]
        body = {"inputs": [{"name": "x", "datatype": only.datatype, "shape": [2], "data": numbers}]}
    read = JsonLane(spec).read(orjson.dumps({"id": "e1", "time_ms": 3, **body}))
    assert read is not None
    assert read[0] == b"e1"


def test_a_record_that_is_too_long_is_left_to_the_codec() -> None:
    """The limit on bytes holds in the lane too."""
    value = b'{"a":1,"b":2' + b" " * 400 + b"}"
    spec = SPECS[1]
    assert JsonLane(spec).read(value) is None
    with pytest.raises(BadRecord):
        codec.decode_event(StoredRecord("t", 0, 5, 1, b"k", value, []), spec)

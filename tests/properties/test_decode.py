"""Batches of whatever producers send decode to what the codec says of each record alone: the lanes save time and change nothing."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.log import Headers, Partition, StoredRecord
from tiebreak.contracts.messages import Event, Payload, PayloadKind
from tiebreak.contracts.project import Input, Project, TensorSpec
from tiebreak.contracts.tensors import Tensor
from tiebreak.scoring.decode import decode_batch
from tiebreak.scoring.protobuf_lane import ProtobufLane

TRACES = [f"00-{digit * 32}-{digit * 16}-01" for digit in "123"]
X = TensorSpec(name="x", datatype="FP32", shape=(2,))
INPUTS = [
    Input(tensors=(X,), max_record_bytes=400),
    Input(tensors=(TensorSpec(name="x", datatype="INT64", shape=()),), max_record_bytes=400),
    Input(tensors=(X, TensorSpec(name="y", datatype="UINT8", shape=(2, 2))), max_record_bytes=400),
    Input(tensors=(TensorSpec(name="x", datatype="BOOL", shape=(2,)),), max_record_bytes=400),
    Input(tensors=(TensorSpec(name="x", datatype="BYTES", shape=(1,)),), max_record_bytes=400),
]
PROJECTS = [
    Project.model_validate({"project": "p", "input": spec.model_dump(), "classes": {"names": ["a", "b"]}})
    for spec in INPUTS
]
headers_of_records = st.lists(
    st.one_of(
        st.sampled_from([("content-type", kind.encode()) for kind in (codec.OCTETS, codec.PROTOBUF, codec.JSON)]),
        st.sampled_from(TRACES).map(lambda trace: ("traceparent", trace.encode())),
        st.sampled_from(
            [
                ("traceparent", b"0" * 16_360),
                ("ce_id", b"named"),
                ("ce_id", b""),
                ("ce_source", b"s" * 1025),
                ("ce_subject", b"\xff"),
                ("other", b"1"),
                ("content-type", b"text/plain"),
            ]
        ),
    ),
    max_size=3,
    unique_by=lambda header: header[0],
)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """A tensor that fits one of the projects, or nearly."""
    name, datatype, shapes, size = draw(
        st.sampled_from(
            [
                ("x", "FP32", ((2,), (1, 2), (2, 1)), 8),
                ("x", "INT64", ((), (1,)), 8),
                ("y", "UINT8", ((2, 2), (1, 2, 2)), 4),
                ("x", "BOOL", ((2,),), 2),
                ("x", "BYTES", ((1,),), 5),
            ]
        )
    )
    data = draw(st.binary(min_size=size, max_size=size) | st.just(bytes(size)) | st.just(b"\1\0\0\0a"))
    return Tensor(name, datatype, draw(st.sampled_from(shapes)), data)


payloads = st.sampled_from(
    [
        None,
        None,
        Payload(PayloadKind.TEXT, "", b"what people read"),
        Payload(PayloadKind.TEXT, "no media type", b"x"),
        Payload(PayloadKind.TEXT, "", b"\xff"),
        Payload(PayloadKind.TABLE, "", b'{"a":1}'),
        Payload(PayloadKind.TABLE, "", b"[1]"),
    ]
)
events = st.builds(
    Event,
    event_id=st.sampled_from(["", "", "e1", "ü", "a\n", "x" * 127, "x" * 128]),
    inputs=st.lists(tensors(), min_size=1, max_size=2).map(tuple),
    payload=payloads,
    subject=st.sampled_from(["", "s", "ü" * 20]),
    source=st.sampled_from(["", "/sensor"]),
    time_ms=st.sampled_from([0, 1_795_424_400_007, -1, 2**60]),
)


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """An event's bytes in one of the forms; now and then with a piece cut out, put in or changed."""
    event = draw(events)
    raw = draw(st.sampled_from([codec.encode(event), event.inputs[0].data]))
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(raw)))
        gone = draw(st.integers(0, 3))
        raw = raw[:at] + draw(st.binary(max_size=3)) + raw[at + gone :]
    if draw(st.integers(0, 5)) == 0:
        raw += draw(st.sampled_from([b"\x0a\x01z", raw, b"\x3a\x00", b"\x38\x01", b"\x38\x80\x00", b"\x50\x01"]))
    return raw


@given(
    st.sampled_from(PROJECTS),
    st.lists(
        st.tuples(values(), headers_of_records | st.just([("content-type", codec.PROTOBUF.encode())])), max_size=4
    ),
)
def test_a_batch_decodes_as_its_records_do(project: Project, rows: list[tuple[bytes, Headers]]) -> None:
    """Ids, bytes and reasons of the columns are the codec's for each record, whatever lies beside it in the batch."""
    partition = Partition("t", 0)
    records = [StoredRecord("t", 0, at, 1, b"k%d" % at, value, given) for at, (value, given) in enumerate(rows)]
    good, bad = [], {}
    for record in records:
        try:
            event = codec.decode_event(record, project.input)
            good.append((event.event_id.encode(), tuple(tensor.data for tensor in event.inputs)))
        except BadRecord as error:
            bad[record.offset] = (error.reason, error.detail)
    columns, dead = decode_batch({partition: records}, project)
    assert {record.offset: (error.reason, error.detail) for record, error in dead} == bad
    assert list(columns.ids) == [event_id for event_id, _ in good]
    for number, spec in enumerate(project.input.tensors):
        if spec.datatype != "BYTES":
            assert columns.inputs[spec.name].tobytes() == b"".join(parts[number] for _, parts in good)


@pytest.mark.parametrize("spec", INPUTS[:3])
@pytest.mark.parametrize("event_id", ["", "e1"])
@pytest.mark.parametrize("batched", [False, True])
def test_the_common_forms_take_the_lane(spec: Input, event_id: str, *, batched: bool) -> None:
    """A lane that never answers would agree with everything: a plain event, one with all that people need, one with a batch axis."""
    data = [bytes(range(8)), bytes(range(4))][: len(spec.tensors)]
    inputs = tuple(
        Tensor(t.name, t.datatype, (1, *t.shape) if batched else t.shape, raw)
        for t, raw in zip(spec.tensors, data, strict=True)
    )
    payload = Payload(PayloadKind.TEXT, "text/plain", b"what people read")
    for event in (Event(event_id, inputs), Event(event_id, inputs, None, payload, "who", "/from", 1_795_424_400_007)):
        assert ProtobufLane(spec).read(codec.encode(event)) == (event_id.encode(), data)


def test_json_and_bare_bytes_with_a_trace_each_go_by_lane_and_keep_their_traces() -> None:
    """A traced producer gives each event another header: that is no reason to look at each event alone."""
    project = PROJECTS[0]
    body = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]})
    sent = [(codec.OCTETS, bytes(8)), (codec.JSON, body), (codec.OCTETS, bytes(8))]
    records = [
        StoredRecord("t", 0, at, 1, b"k%d" % at, value, codec.headers_for(kind, traceparent=TRACES[at]))
        for at, (kind, value) in enumerate(sent)
    ]
    columns, dead = decode_batch({Partition("t", 0): records}, project)
    assert (columns.traces, dead) == ([trace.encode() for trace in TRACES], [])
    assert columns.inputs["x"].tolist() == [[0, 0], [1, 2], [0, 0]]

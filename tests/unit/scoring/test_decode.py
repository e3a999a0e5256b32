"""Batches become columns: fast where records are bare bytes, exact everywhere, and a bad record costs no neighbour anything."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import orjson
import pytest

from tests.support.models import project_of
from tests.support.records import floats
from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.log import Batch, Headers, Partition, StoredRecord
from tiebreak.contracts.messages import Event
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import Tensor
from tiebreak.scoring.decode import decode_batch

PROJECT = project_of((2,))
TOPIC = "tiebreak.test.events"
RAW = codec.headers_for(codec.OCTETS)


def at(
    offset: int, value: bytes | None, *, key: bytes | None = None, headers: Headers = RAW, partition: int = 0
) -> StoredRecord:
    name = f"e{offset}".encode() if key is None else key
    return StoredRecord(TOPIC, partition, offset, 1_700_000_000_000, name, value, headers)


def batch_of(*records: StoredRecord) -> Batch:
    batch: dict[Partition, list[StoredRecord]] = {}
    for record in records:
        batch.setdefault(Partition(record.topic, record.partition), []).append(record)
    return batch


def reasons(dead: Sequence[tuple[object, BadRecord]]) -> list[tuple[int, DeadReason]]:
    return [(record.offset, bad.reason) for record, bad in dead if isinstance(record, StoredRecord)]


def test_bare_bytes_become_one_array() -> None:
    """Rows keep their order, partitions stay together, keys are the ids."""
    records = [at(i, floats(i, -i), partition=i % 2) for i in range(6)]
    columns, dead = decode_batch(batch_of(*records), PROJECT)
    assert dead == []
    assert columns.ids == [b"e0", b"e2", b"e4", b"e1", b"e3", b"e5"]
    assert columns.inputs["x"].tolist() == [[0, 0], [2, -2], [4, -4], [1, -1], [3, -3], [5, -5]]
    assert columns.spans == [(Partition(TOPIC, 0), slice(0, 3)), (Partition(TOPIC, 1), slice(3, 6))]
    assert [r.offset for r in columns.records] == [0, 2, 4, 1, 3, 5]
    assert columns.traces is None


def test_an_empty_batch_gives_no_rows() -> None:
    """Nothing in, nothing out, in the shapes of something."""
    columns, dead = decode_batch({}, PROJECT)
    assert (len(columns), columns.inputs["x"].shape, columns.spans, dead) == (0, (0, 2), [], [])


def test_all_forms_of_an_event_meet_in_one_batch() -> None:
    """Bare bytes, protobuf and JSON, with and without CloudEvents headers, decode to the same columns in log order."""
    wire = codec.encode(Event("from-body", (Tensor("x", "FP32", (2,), floats(3, 4)),)))
    spoken = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [5, 6]}]})
    records = [
        at(0, floats(1, 2)),
        at(1, wire, headers=codec.headers_for(codec.PROTOBUF)),
        at(2, spoken, headers=codec.headers_for(codec.JSON, event_id="from-header")),
        at(3, spoken, headers=()),
        at(4, floats(7, 8), headers=codec.headers_for(codec.OCTETS, event_id="named")),
    ]
    columns, dead = decode_batch(batch_of(*records), PROJECT)
    assert dead == []
    assert columns.ids == [b"e0", b"from-body", b"from-header", b"e3", b"named"]
    assert columns.inputs["x"].tolist() == [[1, 2], [3, 4], [5, 6], [5, 6], [7, 8]]


BAD = {
    "none": (None, DeadReason.EMPTY),
    "empty": (b"", DeadReason.EMPTY),
    "short": (floats(1), DeadReason.WRONG_TENSOR),
    "long": (floats(1, 2, 3), DeadReason.WRONG_TENSOR),
    "nan": (floats(1, float("nan")), DeadReason.NOT_FINITE),
    "infinity": (floats(float("-inf"), float("inf")), DeadReason.NOT_FINITE),
    "oversized": (bytes(2**20 + 8), DeadReason.OVERSIZED),
}


@pytest.mark.parametrize(("value", "reason"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_record_costs_its_neighbours_nothing(value: bytes | None, reason: DeadReason, place: int) -> None:
    """First, last or in the middle: it alone is set aside with its reason, and the spans close over the gap."""
    values: list[bytes | None] = [floats(1, 2), floats(3, 4)]
    values.insert(place, value)
    columns, dead = decode_batch(
        batch_of(*(at(i, v) for i, v in enumerate(values)), at(9, floats(5, 6), partition=1)), PROJECT
    )
    assert reasons(dead) == [(place, reason)]
    assert columns.inputs["x"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert columns.spans == [(Partition(TOPIC, 0), slice(0, 2)), (Partition(TOPIC, 1), slice(2, 3))]
    assert [r.offset for r in columns.records] == [*(i for i in range(3) if i != place), 9]


def test_a_batch_of_bad_records_alone_gives_no_rows() -> None:
    """Every record is accounted for, and no partition keeps an empty span."""
    columns, dead = decode_batch(batch_of(at(0, None), at(1, b"x", partition=1)), PROJECT)
    assert (len(columns), columns.spans, columns.inputs["x"].shape) == (0, [], (0, 2))
    assert reasons(dead) == [(0, DeadReason.EMPTY), (1, DeadReason.WRONG_TENSOR)]


def test_finite_numbers_whose_sum_overflows_are_good() -> None:
    """The quick look at a sum must not set aside what is only large."""
    columns, dead = decode_batch(batch_of(at(0, floats(3e38, 3e38)), at(1, floats(3e38, 3e38))), PROJECT)
    assert (len(columns), dead) == (2, [])


@pytest.mark.parametrize("key", [b"", b"\xff\xfe", b"a\nb", b"k" * 513, "\u2028".encode()], ids=repr)
def test_a_key_that_cannot_be_an_id_gives_the_position(key: bytes) -> None:
    """The same rule as the codec's, in a batch where the other keys are fine."""
    columns, dead = decode_batch(batch_of(at(0, floats(1, 2)), at(1, floats(3, 4), key=key)), PROJECT)
    assert (columns.ids, dead) == ([b"e0", f"{TOPIC}/0/1".encode()], [])


def test_a_key_beyond_ascii_is_an_id() -> None:
    """UTF-8 is fine."""
    columns, _ = decode_batch(batch_of(at(0, floats(1, 2), key="größe".encode())), PROJECT)
    assert columns.ids == ["größe".encode()]


def test_traces_are_carried_where_an_event_has_one() -> None:
    """A malformed traceparent starts no trace."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = codec.headers_for(codec.OCTETS, traceparent=trace)
    broken = codec.headers_for(codec.OCTETS, traceparent="00-zz")
    columns, dead = decode_batch(
        batch_of(at(0, floats(1, 2)), at(1, floats(3, 4), headers=traced), at(2, floats(3, 4), headers=broken)), PROJECT
    )
    assert (columns.traces, dead) == ([b"", trace.encode(), b""], [])
    alike, _ = decode_batch(batch_of(at(0, floats(1, 2), headers=traced), at(1, floats(1, 2), headers=traced)), PROJECT)
    assert alike.traces == [trace.encode()] * 2


def several() -> Project:
    return Project.model_validate(
        {
            "project": "test",
            "input": {
                "tensors": [
                    {"name": "pixels", "datatype": "UINT8", "shape": [2, 2]},
                    {"name": "word", "datatype": "BYTES", "shape": [1]},
                    {"name": "big", "datatype": "FP64", "shape": [1]},
                ]
            },
            "classes": {"names": ["a", "b"]},
        }
    )


def words(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(t)) + t for t in texts)


def test_several_tensors_of_several_types() -> None:
    """Each tensor is a column with its own type and shape; strings become text; text that is not UTF-8 is set aside."""

    def event(number: int, word: bytes) -> StoredRecord:
        inputs = (
            Tensor("word", "BYTES", (1,), words(word)),
            Tensor("pixels", "UINT8", (2, 2), bytes([number] * 4)),
            Tensor("big", "FP64", (1,), struct.pack("<d", number / 2)),
        )
        return at(number, codec.encode(Event(f"n{number}", inputs)), headers=codec.headers_for(codec.PROTOBUF))

    columns, dead = decode_batch(batch_of(event(1, b"hot"), event(2, b"\xff"), event(3, "kühl".encode())), several())
    assert columns.ids == [b"n1", b"n3"]
    assert columns.inputs["word"].tolist() == [["hot"], ["kühl"]]
    assert columns.inputs["pixels"].tolist() == [[[1, 1], [1, 1]], [[3, 3], [3, 3]]]
    assert columns.inputs["pixels"].dtype == np.uint8
    assert columns.inputs["big"].tolist() == [[0.5], [1.5]]
    assert reasons(dead) == [(2, DeadReason.WRONG_TENSOR)]

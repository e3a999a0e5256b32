"""A batch of records as columns. Pure.

The fast lane is for records that are the bare bytes of the one input tensor (``application/octet-stream``): they are joined
and viewed as one array, at no Python object per event. JSON and protobuf in their common forms have lanes of their own. All other
records, and each one that looks wrong, go one by one through :func:`tiebreak.contracts.codec.decode_event`: it alone says what an event
is and why a record is bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts import codec
from tiebreak.contracts.codec_headers import MAX_ID_BYTES, is_id
from tiebreak.contracts.columns import headers_of, keys_of, shared_headers, table_of, values_of
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.ids import fallback_event_id
from tiebreak.contracts.log import Batch, Record
from tiebreak.contracts.project import Input, Project, TensorSpec
from tiebreak.contracts.tensors import NUMPY_OF, EventColumns
from tiebreak.scoring.columns import all_finite, flatten, keep_rows, shrink_spans
from tiebreak.scoring.json_lane import JsonLane
from tiebreak.scoring.kinds import kinds_of
from tiebreak.scoring.protobuf_lane import ProtobufLane

Dead = list[tuple[Record, BadRecord]]
_PROTOBUF = frozenset({codec.PROTOBUF, ""})


@dataclass(slots=True)
class _Rows:
    """A batch on its way: ``parts[t][i]`` are the bytes of tensor ``t`` of row ``i``; ``kept[i]`` is 0 for a dead row."""

    ids: list[bytes]
    parts: list[list[bytes]]
    kept: NDArray[np.bool_]


def decode_batch(batch: Batch, project: Project) -> tuple[EventColumns, Dead]:
    """The good events of a batch as columns, and each bad record with its reason. A bad record costs no neighbour anything.

    Both hold exactly the records of ``batch`` between them. Floats in the columns are finite. Raises nothing.
    """
    records, spans = flatten(batch)
    bare = _bare(records, project.input)
    if bare is not None:
        only = project.input.tensors[0]
        columns = EventColumns(_ids(records), {only.name: bare}, records, spans, traces=_traces(records))
        return _drop_not_finite(columns, [], project.input)
    rows, dead = _read(records, project.input)
    if not rows.kept.all():
        spans = shrink_spans(spans, rows.kept)
        records = list(compress(records, rows.kept))
        rows = _Rows(list(compress(rows.ids, rows.kept)), [list(compress(p, rows.kept)) for p in rows.parts], rows.kept)
    inputs = {spec.name: _column(parts, spec) for spec, parts in zip(project.input.tensors, rows.parts, strict=True)}
    columns = EventColumns(rows.ids, inputs, records, spans, traces=_traces(records))
    return _drop_not_finite(columns, dead, project.input)


def _bare(records: Sequence[Record], spec: Input) -> NDArray[Any] | None:
    """``(n, *shape)`` of the one input tensor where all records are its bare bytes and the columns show it at a glance."""
    headers = shared_headers(records)
    size = _bare_size(spec)
    if headers is None or size is None or kinds_of([headers])[0] != codec.OCTETS:
        return None
    table = table_of(records, size)
    return None if table is None else table.view(NUMPY_OF[spec.tensors[0].datatype]).reshape(-1, *spec.tensors[0].shape)


def _bare_size(spec: Input) -> int | None:
    """How many bytes an event of bare bytes has; None where events of this project are never that."""
    only = spec.tensors[0]
    if len(spec.tensors) != 1 or only.datatype in {"BYTES", "BOOL"}:
        return None
    size = prod(only.shape) * NUMPY_OF[only.datatype].itemsize
    return None if size > spec.max_record_bytes else size


def _read(records: Sequence[Record], spec: Input) -> tuple[_Rows, Dead]:
    values = values_of(records)
    shared = shared_headers(records)
    kinds = kinds_of(headers_of(records)) if shared is None else list(kinds_of([shared])) * len(records)
    slow = _slow_rows(kinds, values, spec)
    # The fast lane's rows have a value each; a slow row's cell is overwritten below, or dropped.
    cells: list[bytes] = [value or b"" for value in values] if slow else values  # type: ignore[assignment]
    rows = _Rows(
        ids=_ids(records),
        parts=[cells, *([b""] * len(records) for _ in spec.tensors[1:])],
        kept=np.ones(len(records), np.bool_),
    )
    dead: Dead = []
    for row in _by_lanes(values, kinds, slow, spec, rows):
        try:
            event = codec.decode_event(records[row], spec)
            for parts, tensor in zip(rows.parts, event.inputs, strict=True):
                parts[row] = tensor.data
        except BadRecord as bad:
            dead.append((records[row], bad))
            rows.kept[row] = False
        else:
            rows.ids[row] = event.event_id.encode()
    return rows, dead


def _by_lanes(
    values: Sequence[bytes | None], kinds: Sequence[str], slow: Sequence[int], spec: Input, rows: _Rows
) -> list[int]:
    """Fill in the ``slow`` rows that the lanes of JSON and protobuf take; answer the others, in order."""
    left: list[int] = []
    if not slow:
        return left
    by_json, by_protobuf = JsonLane(spec), ProtobufLane(spec)
    for row in slow:
        value, kind = values[row], kinds[row]
        # Without a content type the first byte tells, as it does the codec.
        if kind == codec.JSON or (not kind and value and value[:1] == b"{"):
            read = by_json.read(value)
        else:
            read = by_protobuf.read(value) if kind in _PROTOBUF else None
        if read is None:
            left.append(row)
            continue
        event_id, parts = read
        for cells, part in zip(rows.parts, parts, strict=True):
            cells[row] = part
        if event_id:
            rows.ids[row] = event_id
    return left


def _slow_rows(kinds: Sequence[str], values: Sequence[bytes | None], spec: Input) -> Sequence[int]:
    """Rows that the fast lane cannot take: none where every record is bare bytes of the right length."""
    everything = range(len(kinds))
    size = _bare_size(spec)
    if size is None or codec.OCTETS not in kinds:
        return everything
    if kinds.count(codec.OCTETS) == len(kinds) and None not in values and set(map(len, values)) == {size}:  # type: ignore[arg-type]
        return ()
    return [row for row in everything if kinds[row] != codec.OCTETS or len(values[row] or b"") != size]


def _ids(records: Sequence[Record]) -> list[bytes]:
    """Ids by the codec's rule for records without another: the key where it may be an id, else the position."""
    keys = [key or b"" for key in keys_of(records)]
    if not keys:
        return keys
    text = np.frombuffer(b"".join(keys), np.uint8)
    printable = text.size > 0 and text.min() >= 0x20 and text.max() < 0x7F
    lengths = list(map(len, keys))
    if printable and min(lengths) > 0 and max(lengths) <= MAX_ID_BYTES:
        return keys
    return [_id(key, record) for key, record in zip(keys, records, strict=True)]


def _id(key: bytes, record: Record) -> bytes:
    try:
        usable = is_id(key.decode())
    except UnicodeDecodeError:
        usable = False
    return key if usable else fallback_event_id(record.topic, record.partition, record.offset).encode()


def _column(parts: Sequence[bytes], spec: TensorSpec) -> NDArray[Any]:
    shape = (len(parts), *spec.shape)
    if spec.datatype != "BYTES":
        return np.frombuffer(b"".join(parts), NUMPY_OF[spec.datatype]).reshape(shape)
    column = np.empty(len(parts) * prod(spec.shape), dtype=object)
    column[:] = [text for part in parts for text in _strings(part)]
    return column.reshape(shape)


def _strings(data: bytes) -> list[str]:
    """The elements of a BYTES tensor that passed the codec, as text, which is what onnxruntime takes."""
    texts: list[str] = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        texts.append(data[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return texts


def _traces(records: Sequence[Record]) -> list[bytes] | None:
    shared = shared_headers(records)
    if shared is None:
        headers = headers_of(records)
        if headers and headers.count(headers[0]) < len(headers):
            traces = [codec.traceparent_of(each).encode() for each in headers]
            return traces if any(traces) else None
        shared = headers[0] if headers else ()
    trace = codec.traceparent_of(shared).encode()
    return [trace] * len(records) if trace else None


def _drop_not_finite(columns: EventColumns, dead: Dead, spec: Input) -> tuple[EventColumns, Dead]:
    kept = np.ones(len(columns), np.bool_)
    for array in columns.inputs.values():
        if array.dtype.kind == "f" and not all_finite(array):
            kept &= np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    for row in np.flatnonzero(~kept).tolist():
        record = columns.records[row]
        try:
            codec.decode_event(record, spec)
        except BadRecord as bad:
            dead.append((record, bad))
    return keep_rows(columns, kept), dead

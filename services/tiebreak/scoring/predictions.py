"""Predictions as protobuf, a batch at a time. Pure.

What is the same for a whole batch is written once; what has a fixed width is one byte matrix; only the id and the label are
put in per row. A property test holds the bytes to the generated parser.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts import codec
from tiebreak.contracts.answer_text import choices_text, chosen
from tiebreak.contracts.columns import offsets_of
from tiebreak.contracts.log import Block, Headers, Partition
from tiebreak.contracts.project import Project
from tiebreak.contracts.sampled import Sampled
from tiebreak.contracts.tensors import EventColumns, Form, Scores
from tiebreak.contracts.topics import Topic
from tiebreak.contracts.wire.prediction_pb2 import Prediction

Bytes2d = NDArray[np.uint8]
# The least numbers that take 2, 3, ... bytes as a varint.
_LIMITS = np.array([1 << 7 * size for size in range(1, 9)], np.int64)


def encode_predictions(
    columns: EventColumns, scores: Scores, sampled: Sampled, project: Project, now_ms: int
) -> Sequence[Block]:
    """One prediction per row (or per selected row, or none: ``scoring.predictions``), on its event's partition number, in order.

    The label is the likeliest class; without a model it and the probabilities are empty. Each prediction carries on the
    ``traceparent`` of its event.
    """
    wanted = project.scoring.predictions
    selected = np.zeros(len(columns), np.uint8)
    selected[list(sampled.rows)] = 1
    if wanted == "none" or len(columns) == 0:
        return ()
    labels = _labels(scores)
    topic = Topic.PREDICTIONS.of(project.project)
    tails = _Tails(scores, sampled, selected, now_ms)
    homes = np.repeat([p.index for p, _ in columns.spans], [rows.stop - rows.start for _, rows in columns.spans])
    offsets = offsets_of(columns.records)
    values: list[bytes] = []
    for run in _runs(16 * _varint_sizes(homes) + _varint_sizes(offsets)):
        values += _join(columns.ids[run], labels[run], tails.rows(run, homes[run], offsets[run]))
    blocks: list[Block] = []
    for partition, rows in columns.spans:
        picked = np.flatnonzero(selected[rows]).tolist() if wanted == "selected" else None
        traces = None if columns.traces is None else columns.traces[rows]
        target = Partition(topic, partition.index)
        blocks += _blocks(target, list(columns.ids[rows]), values[rows], picked, traces)
    return blocks


class _Tails:
    """The part of each message after its label: it has one width for all rows whose places take equally many bytes."""

    def __init__(self, scores: Scores, sampled: Sampled, selected: NDArray[np.uint8], now_ms: int) -> None:
        self._probabilities = _packed(scores.probabilities, "probabilities")
        self._uncertainty = sampled.uncertainty.astype("<f8")
        self._values = None if scores.values is None else _packed(scores.values[:, None], "values")
        self._selected = selected
        self._kind = _text("uncertainty_kind", sampled.kind)
        self._time = _tag("time_ms", 0) + _varint(now_ms)

    def rows(self, part: slice, partitions: NDArray[np.int64], offsets: NDArray[np.int64]) -> Sequence[bytes]:
        size = part.stop - part.start
        parts = [
            self._probabilities[part],
            _same(_tag("uncertainty", 1), size),
            _bytes(self._uncertainty[part]),
            _same(self._kind + _tag("selected", 0), size),
            self._selected[part, None],
            _same(_tag("source_partition", 0), size),
            _varints(partitions),
            _same(_tag("source_offset", 0), size),
            _varints(offsets),
            _same(self._time, size),
        ]
        if self._values is not None:
            parts.append(self._values[part])
        table = np.concatenate(parts, axis=1)
        rows: list[bytes] = table.view(f"V{table.shape[1]}").ravel().tolist()
        return rows


def _join(ids: Sequence[bytes], labels: Sequence[bytes], tails: Sequence[bytes]) -> list[bytes]:
    sizes = set(map(len, ids))
    head = {size: _tag("event_id", 2) + _varint(size) for size in sizes}
    if len(sizes) == 1:
        only = head[sizes.pop()]
        return [b"".join((only, i, label, tail)) for i, label, tail in zip(ids, labels, tails, strict=True)]
    return [b"".join((head[len(i)], i, label, tail)) for i, label, tail in zip(ids, labels, tails, strict=True)]


def _labels(scores: Scores) -> Sequence[bytes]:
    """Per row, the fields for the model's version and the likeliest class."""
    if scores.form is not Form.CLASSES:
        return _labels_of_others(scores)
    version = _text("model_version", scores.version)
    if scores.by_challenger is not None:
        return _labels_of_two(scores, scores.by_challenger)
    if scores.probabilities.shape[1] == 0:
        return [version] * len(scores)
    written = np.array([version + _text("label", name) for name in scores.classes], dtype=object)
    labels: list[bytes] = written[scores.probabilities.argmax(axis=1)].tolist()
    return labels


def _labels_of_others(scores: Scores) -> Sequence[bytes]:
    """For several classes the canonical list of those predicted; for numbers none, since ``values`` has them."""
    versions = [_text("model_version", name) for name in (scores.version, scores.challenger)]
    said = [b""] * len(scores)
    if scores.form is Form.MULTI:
        sets, which = np.unique(chosen(scores.probabilities), axis=0, return_inverse=True)
        lists = [_text("label", choices_text([scores.classes[i] for i in np.flatnonzero(row)])) for row in sets]
        said = [lists[i] for i in which.ravel().tolist()]
    by = np.zeros(len(scores), np.intp) if scores.by_challenger is None else scores.by_challenger.astype(np.intp)
    return [versions[i] + label for i, label in zip(by.tolist(), said, strict=True)]


def _labels_of_two(scores: Scores, by_challenger: NDArray[np.bool_]) -> Sequence[bytes]:
    versions = [_text("model_version", name) for name in (scores.version, scores.challenger)]
    written = np.array(
        [[version + _text("label", name) for name in scores.classes] for version in versions], dtype=object
    )
    labels: list[bytes] = written[by_challenger.astype(np.intp), scores.probabilities.argmax(axis=1)].tolist()
    return labels


def _blocks(
    target: Partition, keys: list[bytes], values: list[bytes], picked: list[int] | None, traces: Sequence[bytes] | None
) -> Iterator[Block]:
    if picked is not None:
        keys, values = [keys[row] for row in picked], [values[row] for row in picked]
        traces = None if traces is None else [traces[row] for row in picked]
    if not keys:
        return
    if traces is None or traces.count(traces[0]) == len(traces):
        yield Block(target, keys, values, _headers(b"" if traces is None else traces[0]))
        return
    plain = _headers(b"")
    yield Block(target, keys, values, record_headers=[_headers(trace) if trace else plain for trace in traces])


def _headers(trace: bytes) -> Headers:
    headers = [*codec.headers_for(codec.PROTOBUF)]
    return [*headers, ("traceparent", trace)] if trace else headers


def _runs(sizes: NDArray[np.int64]) -> Iterator[slice]:
    ends = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
    for start, stop in pairwise(ends):
        yield slice(start, stop)


@cache
def _tag(field: str, wire_type: int) -> bytes:
    return _varint(Prediction.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type)


def _text(field: str, text: str) -> bytes:
    raw = text.encode()
    return _tag(field, 2) + _varint(len(raw)) + raw if raw else b""


def _varint(number: int) -> bytes:
    """Base-128, least significant group first (protobuf's encoding guide). ``number`` >= 0."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _varint_sizes(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(_LIMITS, numbers, side="right") + 1


def _varints(numbers: NDArray[np.int64]) -> Bytes2d:
    """``(n, w)`` varints of numbers that all take the same number ``w`` of bytes."""
    size = int(_varint_sizes(numbers[:1])[0])
    groups = (numbers[:, None] >> (7 * np.arange(size))) & 0x7F
    groups[:, :-1] |= 0x80
    return groups.astype(np.uint8)


def _packed(table: NDArray[np.float32], field: str) -> Bytes2d:
    """``(n, w)`` a packed repeated float field per row; ``w = 0`` where it is empty."""
    rows, columns = table.shape
    if columns == 0:
        return np.empty((rows, 0), np.uint8)
    return np.concatenate([_same(_tag(field, 2) + _varint(4 * columns), rows), _bytes(table.astype("<f4"))], axis=1)


def _bytes(array: NDArray[np.floating]) -> Bytes2d:
    flat = np.ascontiguousarray(array)
    return flat.view(np.uint8).reshape(len(flat), -1)


def _same(raw: bytes, rows: int) -> Bytes2d:
    return np.broadcast_to(np.frombuffer(raw, np.uint8), (rows, len(raw)))

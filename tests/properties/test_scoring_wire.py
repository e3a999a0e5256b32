"""The fast ways in and out of scoring give exactly what the codec gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support.models import project_of
from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.log import Outputs, Partition, StoredRecord
from tiebreak.contracts.messages import Prediction, Reason, Selection
from tiebreak.contracts.project import Project
from tiebreak.contracts.sampled import Sampled
from tiebreak.contracts.tensors import EventColumns, Scores
from tiebreak.events.runs import runs_of
from tiebreak.scoring.decode import decode_batch
from tiebreak.scoring.predictions import encode_predictions

PROJECT = project_of((2,))
TRACES = (
    "",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "00-11111111111111111111111111111111-b7ad6b7169203331-01",
)

float32 = st.floats(width=32)
values = st.one_of(
    st.none(),
    st.binary(max_size=12),
    st.lists(float32, min_size=2, max_size=2).map(lambda pair: np.array(pair, "<f4").tobytes()),
    st.lists(float32, min_size=2, max_size=2).map(lambda pair: np.array(pair, "<f4").tobytes()),
)
headers = st.sampled_from(
    [codec.headers_for(codec.OCTETS)] * 3
    + [
        codec.headers_for(codec.OCTETS, event_id="named"),
        codec.headers_for(codec.OCTETS, traceparent=TRACES[1]),
        codec.headers_for("APPLICATION/OCTET-STREAM; charset=utf-8"),
        codec.headers_for(codec.JSON),
        [("content-type", b"\xff")],
        [],
    ]
)
keys = st.one_of(st.none(), st.binary(max_size=4), st.text(max_size=6).map(lambda t: t.encode("utf-8", "replace")))


@given(st.lists(st.tuples(keys, values, headers), max_size=12), st.integers(1, 12))
def test_a_batch_decodes_as_its_records_do_one_by_one(rows: list[Row], cut: int) -> None:
    """Ids, numbers and reasons are those of `decode_event`, whatever stands beside a record."""
    records = [StoredRecord("t", int(i >= cut), i, 1, *row) for i, row in enumerate(rows)]
    batch = {Partition("t", p): [r for r in records if r.partition == p] for p in (0, 1)}
    columns, dead = decode_batch(batch, PROJECT)
    good, bad = [], []
    for record in records:
        try:
            event = codec.decode_event(record, PROJECT.input)
            good.append((record.offset, event.event_id.encode(), event.inputs[0].data))
        except BadRecord as error:
            bad.append((record.offset, error.reason))
    assert [
        (r.offset, i, x.tobytes()) for r, i, x in zip(columns.records, columns.ids, columns.inputs["x"], strict=True)
    ] == good
    assert sorted((r.offset, b.reason) for r, b in dead) == sorted(bad)
    assert [columns.records[row].offset for _, rows_ in columns.spans for row in range(rows_.start, rows_.stop)] == [
        g[0] for g in good
    ]


Row = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
selection = Selection("margin", 0.5, 0.4, 0.1, Reason.UNCERTAIN, False, "v1", "d")


@st.composite
def scored(draw: st.DrawFn) -> tuple[EventColumns, Scores, Sampled, int]:
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    n, k = sum(sizes), draw(st.integers(0, 4))
    offsets = st.integers(0, 300) | st.integers(0, 2**63 - 1 - 600)
    records, spans, start = [], [], 0
    for index, size in enumerate(sizes):
        base = draw(offsets)
        steps = sorted(draw(st.lists(st.integers(0, 600), min_size=size, max_size=size, unique=True)))
        partition = Partition("tiebreak.test.events", index * draw(st.sampled_from([1, 100])))
        records += [StoredRecord(partition.topic, partition.index, base + step, 0, b"", b"") for step in steps]
        spans.append((partition, slice(start, start + size)))
        start += size
    ids = draw(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), min_size=n, max_size=n))
    traces = draw(st.none() | st.lists(st.sampled_from(TRACES), min_size=n, max_size=n))
    columns = EventColumns(
        [i.encode() for i in ids], {}, records, spans, traces=None if traces is None else [t.encode() for t in traces]
    )
    table = np.array(draw(st.lists(finite, min_size=n * k, max_size=n * k)), np.float32).reshape(n, k)
    numbers = np.array(draw(st.lists(finite, min_size=n, max_size=n)), np.float32)
    classes = tuple(f"c{i}" * (i * 60 + 1) for i in range(k))
    scores = Scores(draw(st.sampled_from(["", "v1"])), classes, table, values=numbers if draw(st.booleans()) else None)
    rows = sorted(draw(st.sets(st.integers(0, n - 1))))
    sampled = Sampled("margin", numbers, rows, [selection] * len(rows))
    return columns, scores, sampled, draw(st.integers(0, 2**40))


def project(predictions: str) -> Project:
    return project_of((2,), scoring={"predictions": predictions})


@given(scored())
def test_predictions_read_back_as_they_were_meant(given_: tuple[EventColumns, Scores, Sampled, int]) -> None:
    """Every field of every row, through the codec's own parser, on the event's partition and in its order."""
    columns, scores, sampled, now = given_
    expected = []
    for partition, rows in columns.spans:
        for row in range(rows.start, rows.stop):
            likeliest = scores.probabilities[row].argmax() if scores.classes else 0
            trace = "" if columns.traces is None else columns.traces[row].decode()
            prediction = Prediction(
                event_id=columns.ids[row].decode(),
                model_version=scores.version,
                label=scores.classes[likeliest] if scores.classes else "",
                probabilities=tuple(scores.probabilities[row].tolist()),
                uncertainty=float(sampled.uncertainty[row]),
                uncertainty_kind="margin",
                selected=row in sampled.rows,
                source_partition=partition.index,
                source_offset=columns.records[row].offset,
                time_ms=now,
                values=() if scores.values is None else (float(scores.values[row]),),
            )
            expected.append((partition.index, columns.ids[row], trace, prediction))

    def published(predictions: str) -> list[tuple[int, bytes, str, Prediction]]:
        blocks = encode_predictions(columns, scores, sampled, project(predictions), now)
        assert {block.partition.topic for block in blocks} <= {"tiebreak.test.predictions"}
        # However many traces there are, a partition's predictions are one block: they go out in one batch.
        assert len({block.partition for block in blocks}) == len(blocks)
        return [
            (run.partition.index, key, codec.traceparent_of(headers), codec.decode_prediction(value))
            for run in runs_of(Outputs(blocks=blocks), {"tiebreak.test.predictions": 4}.__getitem__)
            for key, value, headers in zip(run.keys, run.values, run.headers, strict=True)
        ]

    assert published("all") == expected
    assert published("selected") == [each for each in expected if each[3].selected]
    assert published("none") == []

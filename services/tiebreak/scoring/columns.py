"""Rows of a columnar batch: leaving some out without touching their neighbours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.columns import JoinedColumns, RecordColumns
from tiebreak.contracts.log import Batch, Partition, Record
from tiebreak.contracts.tensors import EventColumns, Scores

Spans = Sequence[tuple[Partition, slice]]


def flatten(batch: Batch) -> tuple[Sequence[Record], list[tuple[Partition, slice]]]:
    """All records of a batch, partition by partition, and where each partition's rows are. Columns stay columns."""
    chunks = [(partition, chunk) for partition, chunk in batch.items() if chunk]
    ends = list(accumulate(len(chunk) for _, chunk in chunks))
    spans = [(p, slice(end - len(chunk), end)) for (p, chunk), end in zip(chunks, ends, strict=True)]
    columns = [chunk for _, chunk in chunks if isinstance(chunk, RecordColumns)]
    if chunks and len(columns) == len(chunks):
        return JoinedColumns(columns), spans
    return [record for _, chunk in chunks for record in chunk], spans


def shrink_spans(spans: Spans, kept: NDArray[np.bool_]) -> list[tuple[Partition, slice]]:
    """The spans of the rows that are kept; a partition that keeps none has no span."""
    ends = np.concatenate([[0], np.cumsum(kept)])
    shrunk = [(partition, slice(int(ends[rows.start]), int(ends[rows.stop]))) for partition, rows in spans]
    return [(partition, rows) for partition, rows in shrunk if rows.stop > rows.start]


def keep_rows(columns: EventColumns, kept: NDArray[np.bool_]) -> EventColumns:
    """The rows where ``kept`` ``(n,)`` is True, in order. The same object when that is all of them."""
    if kept.all():
        return columns
    rows = np.flatnonzero(kept).tolist()
    place = {row: index for index, row in enumerate(rows)}
    return EventColumns(
        ids=[columns.ids[row] for row in rows],
        inputs={name: array[kept] for name, array in columns.inputs.items()},
        records=[columns.records[row] for row in rows],
        spans=shrink_spans(columns.spans, kept),
        replayed=[place[row] for row in columns.replayed if row in place],
        traces=None if columns.traces is None else [columns.traces[row] for row in rows],
    )


def keep_scores(scores: Scores, kept: NDArray[np.bool_]) -> Scores:
    """The same rows of the scores."""
    if kept.all():
        return scores
    return Scores(
        version=scores.version,
        classes=scores.classes,
        probabilities=scores.probabilities[kept],
        members=None if scores.members is None else scores.members[:, kept],
        embedding=_rows(scores.embedding, kept),
        values=_rows(scores.values, kept),
        challenger=scores.challenger,
        by_challenger=None if scores.by_challenger is None else scores.by_challenger[kept],
        form=scores.form,
        differs=_rows(scores.differs, kept),
        asking=_rows(scores.asking, kept),
    )


def _rows(array: NDArray[Any] | None, kept: NDArray[np.bool_]) -> NDArray[Any] | None:
    return None if array is None else array[kept]


def unanswered_rows(scores: Scores) -> NDArray[np.bool_]:
    """``(n,)`` True where any answer of the row is NaN or infinite."""
    bad = np.zeros(len(scores), np.bool_)
    tables = [scores.probabilities]
    tables += [array for array in (scores.embedding, scores.values, scores.asking) if array is not None]
    tables += [] if scores.members is None else list(scores.members)
    for table in tables:
        if not all_finite(table):
            bad |= ~np.isfinite(table.reshape(len(table), -1)).all(axis=1)
    return bad


def all_finite(array: NDArray[Any]) -> bool:
    """Whether no element is NaN or infinite, by one sum: a NaN or an infinity cannot leave it finite.

    The sum may overflow where all is well: then every element is looked at.
    """
    wide = np.float64 if array.dtype == np.float64 else np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        return isfinite(float(array.sum(dtype=wide))) or bool(np.isfinite(array).all())

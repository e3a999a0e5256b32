"""What of an event the head learns from and diversity compares: the encoder's embedding, else the input tensors as they came."""

from __future__ import annotations

from math import prod

import numpy as np

from tiebreak.contracts.tensors import EventColumns, FloatArray, Scores, Tensors


def flat_inputs(inputs: Tensors, rows: slice | list[int] = slice(None)) -> FloatArray | None:
    """Numeric input tensors of ``rows`` side by side as ``(n, d)`` float32, in their order; None when none is numeric."""
    parts = [
        # The width is spelled out: -1 means nothing to an empty batch.
        tensor[rows].reshape(-1 if len(tensor) else 0, prod(tensor.shape[1:])).astype(np.float32, copy=False)
        for tensor in inputs.values()
        if tensor.dtype.kind in "biuf"
    ]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def feature_row(columns: EventColumns, scores: Scores, row: int) -> tuple[float, ...]:
    """The features of one event; empty when it has neither an embedding nor a numeric input."""
    if scores.embedding is not None:
        return tuple(scores.embedding[row].astype(np.float32, copy=False).tolist())
    flat = flat_inputs(columns.inputs, [row])
    return () if flat is None else tuple(flat[0].tolist())

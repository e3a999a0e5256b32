"""What drift detectors look at of the inputs: random projections and size, whatever the width. Pure."""

from __future__ import annotations

from functools import lru_cache
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray, product

Floats = NDArray[np.float64]

PROJECTIONS = 3
MAX_INPUT_DIMS = 1024


def input_statistics(inputs: FloatArray, seed: int) -> Floats:
    """``(n, 4)``: three random projections and the root mean square of each input row. Wide inputs are thinned evenly."""
    step = -(-inputs.shape[1] // MAX_INPUT_DIMS)
    thin = finite(np.asarray(inputs[:, ::step], dtype=np.float32))
    squares = np.einsum("ij,ij->i", thin, thin)
    if not np.isfinite(squares).all():  # beyond 1e19, which float32 has no square of
        squares = np.einsum("ij,ij->i", thin, thin, dtype=np.float64)
    size = np.sqrt(squares / max(1, thin.shape[1]))
    return np.column_stack([product(thin, _projection(thin.shape[1], seed)), size]).astype(np.float64)


def finite(array: FloatArray) -> FloatArray:
    """``array`` with 0 for what is NaN or infinite; itself where its sum shows that nothing is."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(array.sum(dtype=np.float32))
    return array if isfinite(total) else np.nan_to_num(array, posinf=0.0, neginf=0.0)


@lru_cache(maxsize=8)
def _projection(dims: int, seed: int) -> FloatArray:
    signs = np.random.default_rng((seed, dims)).integers(0, 2, (dims, PROJECTIONS)) * 2 - 1
    return np.asarray(signs / np.sqrt(max(1, dims)), dtype=np.float32)

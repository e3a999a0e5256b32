"""scikit-learn's handwritten digits, as they are and as they look after a drift."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from tiebreak.contracts.tensors import FloatArray

TEN = tuple(str(i) for i in range(10))


def digits() -> tuple[FloatArray, list[str]]:
    """scikit-learn's 1,797 handwritten digits, ``(1797, 64)`` in 0..16, in a fixed shuffle."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(x))
    return x[order].astype(np.float32), [str(int(v)) for v in y[order]]


def drifted(x: FloatArray, seed: int = 0) -> FloatArray:
    """Digits turned by a quarter and noisier: another world with the same classes."""
    turned = np.rot90(x.reshape(-1, 8, 8), axes=(1, 2)).reshape(len(x), 64)
    noise = np.random.default_rng(seed).normal(0, 2, turned.shape)
    return np.clip(turned + noise, 0, 16).astype(np.float32)

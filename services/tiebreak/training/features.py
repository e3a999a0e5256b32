"""The fixed map from an input to what the heads are linear in: standardised columns and Gaussian kernels at landmarks.

phi(x) = [z, exp(-gamma |z - l_1|^2), ..., exp(-gamma |z - l_L|^2)] with z = clip((x - mean) / scale, -CLIP, CLIP).
The kernel part is a Nystroem approximation (Williams and Seeger, NIPS 2000): up to L labels the heads are exact kernel machines,
and the cost stays bounded beyond. Clipping keeps every output finite, whatever a producer sends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray

Matrix = NDArray[np.float64]
CLIP = 30.0
_RIDGE = 1e-3
_BANDWIDTH_ROWS = 300


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """``mean`` and ``scale`` ``(d,)``, ``landmarks`` ``(L, d)`` in standardised space (L may be 0), ``gamma`` > 0. All float32."""

    mean: FloatArray
    scale: FloatArray
    landmarks: FloatArray
    gamma: float

    def same(self, other: FeatureMap) -> bool:
        """Whether both give the same columns of every row."""
        mine, theirs = (self.mean, self.scale, self.landmarks), (other.mean, other.scale, other.landmarks)
        return self.gamma == other.gamma and all(map(np.array_equal, mine, theirs))

    def standardise(self, x: FloatArray) -> FloatArray:
        """``(n, d)`` to ``(n, d)``, each value within ``[-CLIP, CLIP]``."""
        with np.errstate(over="ignore"):  # an overflow is clipped like any other large value
            result: FloatArray = np.clip((x - self.mean) / self.scale, -CLIP, CLIP).astype(np.float32)
        return result

    def apply(self, x: FloatArray) -> FloatArray:
        """``(n, d)`` to ``(n, d + L)``, in float32 as the exported graph computes it."""
        z = self.standardise(x)
        if not len(self.landmarks):
            return z
        kernels = kernel(z, self.landmarks, self.gamma).astype(np.float32, copy=False)
        return np.concatenate([z, kernels], axis=1)


def kernel(a: NDArray[np.floating], b: NDArray[np.floating], gamma: float) -> NDArray[np.floating]:
    """``(n, d)``, ``(m, d)`` to ``(n, m)``: exp(-gamma |a_i - b_j|^2).

    >>> kernel(np.zeros((1, 2)), np.array([[0.0, 0.0], [3.0, 4.0]]), 0.04).round(3).tolist()
    [[1.0, 0.368]]
    """
    result: NDArray[np.floating] = a @ b.T
    # In place: on thousands of rows fresh memory would cost more than the arithmetic.
    result *= -2.0
    result += (a * a).sum(axis=1)[:, None]
    result += (b * b).sum(axis=1)[None, :]
    np.maximum(result, 0.0, out=result)
    result *= -gamma
    np.exp(result, out=result)
    return result


def fit_features(x: FloatArray, landmarks: int, sharpness: float) -> FeatureMap:
    """A map for rows like ``x`` ``(n, d)``, whose *first* rows become the landmarks.

    The caller orders the rows by a hash of their ids, so that landmarks are a uniform sample that few new labels change.
    A column's scale never falls far below that of the others: a pixel that was dark in every label must not become the
    loudest feature once a camera adds noise. ``sharpness`` divides the median distance (the usual bandwidth heuristic).
    """
    wide = x.astype(np.float64)
    spread = wide.std(axis=0)
    floor = np.sqrt(np.mean(spread**2)) or 1.0
    mean = wide.mean(axis=0).astype(np.float32)
    scale = np.sqrt(spread**2 + floor**2).astype(np.float32)
    bare = FeatureMap(mean, scale, np.zeros((0, x.shape[1]), np.float32), 1.0)
    z = bare.standardise(x[: max(landmarks, _BANDWIDTH_ROWS)])
    gamma = float(np.float32(0.5 * sharpness**2 / _median_square_distance(z[:_BANDWIDTH_ROWS])))
    return FeatureMap(mean, scale, z[:landmarks].copy(), gamma)


def _median_square_distance(z: FloatArray) -> float:
    wide = z.astype(np.float64)
    square = (wide * wide).sum(axis=1)
    distances = np.maximum(square[:, None] - 2.0 * (wide @ wide.T) + square[None, :], 0.0)
    pairs = distances[np.triu_indices(len(z), 1)]
    return float(np.median(pairs)) if pairs.size and np.median(pairs) > 0.0 else float(z.shape[1])


def whitening(fmap: FeatureMap) -> Matrix:
    """``(L, L)``: what turns kernel columns into nearly orthonormal ones, K_LL^(-1/2). Float64."""
    landmarks = fmap.landmarks.astype(np.float64)
    values, vectors = np.linalg.eigh(kernel(landmarks, landmarks, fmap.gamma).astype(np.float64))
    result: Matrix = vectors / np.sqrt(np.maximum(values, 0.0) + _RIDGE)
    return result

"""Temperature scaling (Guo et al., ICML 2017): the one number that makes a model as sure as it is right. Pure."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.features import Matrix
from tiebreak.training.learner import softmax
from tiebreak.training.targets import mean

# A discriminant of few labels in many columns is right at 10 to 30.
_COLDEST, _HOTTEST = 0.25, 32.0
_GOLDEN = (sqrt(5.0) - 1.0) / 2.0
_TINY = 1e-30


def logs_of(voters: FloatArray) -> FloatArray:
    """Of the voters' probabilities: finite."""
    return np.log(np.maximum(voters, _TINY)).astype(np.float32)


def temperature_of(logs: FloatArray, columns: NDArray[np.int64], weights: Matrix | None = None) -> float:
    """The temperature in [1/4, 32] of the lowest NLL, by golden section; ``logs`` ``(h, n, k)`` of the voters, 1 without rows."""
    if not len(columns):
        return 1.0

    def loss(log_temperature: float) -> float:
        tempered = softmax((logs / np.exp(log_temperature)).astype(np.float32))
        return nll(tempered.mean(axis=0), columns, weights)

    low, high = np.log(_COLDEST), np.log(_HOTTEST)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-2:
        # The section is golden so that one of the two inner points serves again.
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return float(np.float32(np.exp((low + high) / 2.0)))


def nll(p: FloatArray, columns: NDArray[np.int64], weights: Matrix | None = None) -> float:
    """Nats per row of ``p`` ``(n, k)``; a column of -1 is a class that the model does not know."""
    truth = np.where(columns >= 0, p[np.arange(len(p)), columns], 0.0)
    return mean(-np.log(np.maximum(truth, 1e-6)), weights)

"""Acquisition for answers that are not one class: several classes, each yes or no, and numbers. Pure, like ``acquisition.py``.

A list of classes is a row of yes-or-no questions: each is asked by the strategy's own formula over two outcomes, and the event counts
by its least certain one (margin, least confidence: Brinker 2006) or by the mean over
all (entropies, committees, gradients). Numbers have no distribution over outcomes: the spread of the committee ranks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.project import Answer
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling import acquisition
from tiebreak.sampling.acquisition import SUM_TOLERANCE, AnyFloats, Floats

BANDS = 10  # of the declared range: the classes that drift detectors see of a regressor
_BY_WORST: Mapping[str, Callable[[AnyFloats], Floats]] = {"least_confidence": acquisition.least_confidence}
_BY_MEAN: Mapping[str, Callable[[AnyFloats], Floats]] = {
    "entropy": acquisition.entropy,
    "expected_gradient_length": acquisition.expected_gradient_length,
}
_BY_COMMITTEE: Mapping[str, Callable[[AnyFloats], Floats]] = {
    "vote_entropy": acquisition.vote_entropy,
    "bald": acquisition.bald,
    "kl": acquisition.kl_to_consensus,
}


def well_formed(p: AnyFloats) -> NDArray[np.bool_]:
    """``(n,)``: which rows of ``(n, k)`` hold a probability in each place.

    >>> well_formed(np.array([[0.9, 0.8], [np.nan, 0.0], [1.5, 0.0]])).tolist()
    [True, False, False]
    """
    return np.asarray(((p >= -SUM_TOLERANCE) & (p <= 1.0 + SUM_TOLERANCE)).all(axis=-1))


def of_several(strategy: str, p: FloatArray, members: FloatArray | None) -> tuple[str, Floats]:
    """The kind of utility and ``(n,)`` of it for independent ``p`` ``(n, k)`` and ``members`` ``(m, n, k)``; 0 where malformed.

    >>> of_several("margin", np.array([[1.0, 0.5], [1.0, 0.0]], np.float32), None)[1].tolist()
    [1.0, 0.0]
    """
    n, k = p.shape
    if members is not None and len(members) > 1 and strategy in _BY_COMMITTEE:
        each = _BY_COMMITTEE[strategy](_two(members).reshape(len(members), n * k, 2)).reshape(n, k).mean(axis=1)
        return strategy, np.where(well_formed(p), each, 0.0)
    outcomes = _two(p).reshape(n * k, 2)
    if strategy in _BY_MEAN:
        return strategy, np.where(well_formed(p), _BY_MEAN[strategy](outcomes).reshape(n, k).mean(axis=1), 0.0)
    name = strategy if strategy in _BY_WORST else "margin"
    worst = _BY_WORST.get(name, acquisition.margin)(outcomes).reshape(n, k).max(axis=1)
    return name, np.where(well_formed(p), worst, 0.0)


def of_numbers(strategy: str, values: FloatArray, members: FloatArray | None) -> tuple[str, Floats]:
    """The kind of utility and ``(n,)`` of it for ``values`` ``(n,)`` and ``members`` ``(m, n, 1)``, shares of the range.

    ``variance``: twice the members' standard deviation, as query by committee for regression ranks (Burbidge, Rowland and King
    2007). ``expected_gradient_length``: twice their mean distance from what serves, the change of a linear model that a label is
    expected to bring, without the length of the features (Cai, Zhang and Zhou 2013). Without a committee: 1 throughout.

    >>> of_numbers("variance", np.array([0.5], np.float32), np.array([[[0.25]], [[0.75]]], np.float32))
    ('variance', array([0.5]))
    """
    if members is None or len(members) < 2:
        return "variance", np.ones(len(values))
    said = members.reshape(len(members), len(values)).astype(np.float64)
    if strategy == "expected_gradient_length":
        name, spread = strategy, np.abs(said - values).mean(axis=0)
    else:
        name, spread = "variance", said.std(axis=0)
    return name, np.where(np.isfinite(spread), np.clip(2.0 * spread, 0.0, 1.0), 0.0)


def shares_of(numbers: FloatArray | None, answer: Answer) -> FloatArray | None:
    """Numbers as shares of the answers' range."""
    if numbers is None:
        return None
    result: FloatArray = ((numbers - answer.least) / (answer.most - answer.least)).astype(np.float32)
    return result


def bands(shares: FloatArray) -> NDArray[np.int64]:
    """``(n,)`` in [0, :data:`BANDS`): which part of the range each is in.

    >>> bands(np.array([-1.0, 0.25, 1.0, np.nan], np.float32)).tolist()
    [0, 2, 9, 0]
    """
    return np.clip(np.nan_to_num(shares) * BANDS, 0, BANDS - 1).astype(np.int64)


def _two(p: AnyFloats) -> AnyFloats:
    return np.stack([1.0 - p, p], axis=-1)

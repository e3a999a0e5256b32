"""Acquisition functions: probabilities in, utilities out. How much a label of each event is expected to teach.

``p`` is ``(n, k)`` with rows summing to 1; ``members`` is ``(m, n, k)``, one ``(n, k)`` per committee member. The answer is ``(n,)``
float64 in [0, 1], 1 the most useful. Defined answers where there is no ranking: fewer than two classes or, for a disagreement, fewer
than two members give 0 throughout, and so does a malformed row (NaN, a negative, a sum off by more than 0.01): only the audit
slice asks about it. Another number of axes raises Invalid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.errors import Invalid

Floats = NDArray[np.float64]
AnyFloats = NDArray[np.floating]

SUM_TOLERANCE = 0.01


def well_formed(p: AnyFloats) -> NDArray[np.bool_]:
    """``(n,)``: which rows of ``(n, k)`` (or of every member of ``(m, n, k)``) are probabilities.

    >>> well_formed(np.array([[0.5, 0.5], [np.nan, 1.0], [0.9, 0.9]])).tolist()
    [True, False, False]
    """
    if p.shape[-1] == 0:
        return np.ones(p.shape[-2], dtype=np.bool_)
    # Comparisons with NaN are false, so NaN and infinities fail here without a test of their own.
    with np.errstate(invalid="ignore", over="ignore"):
        # Sums over few columns are slow row by row, and a product is not: most batches are well formed, and by a margin.
        sums = p @ np.ones(p.shape[-1], p.dtype)
        if p.ndim == 2 and p.size and float(p.min()) >= 0.0 and float(np.abs(sums - 1.0).max()) <= 0.9 * SUM_TOLERANCE:
            return np.ones(len(p), dtype=np.bool_)
        total = p.sum(axis=-1, dtype=np.float64)
        good = (np.abs(total - 1.0) <= SUM_TOLERANCE) & (p.min(axis=-1) >= -SUM_TOLERANCE)
    return np.asarray(good if p.ndim == 2 else good.all(axis=0))


def margin(p: AnyFloats) -> Floats:
    """``1 - (p1 - p2)``, the two highest probabilities (Scheffer, Decomain and Wrobel 2001).

    >>> margin(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    good = _rows(p)
    if p.shape[1] < 2:
        return np.zeros(len(p))
    top = np.partition(_clean(p, good), -2, axis=1)[:, -2:]
    return _answer(1.0 - (top[:, 1] - top[:, 0]), good)


def least_confidence(p: AnyFloats) -> Floats:
    """``(1 - p1) k / (k - 1)`` (Lewis and Gale 1994), scaled so that a uniform row gives 1.

    >>> least_confidence(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    good, k = _rows(p), p.shape[1]
    if k < 2:
        return np.zeros(len(p))
    return _answer((1.0 - _clean(p, good).max(axis=1)) * k / (k - 1), good)


def entropy(p: AnyFloats) -> Floats:
    """``-sum p ln p / ln k`` (Shannon 1948; Settles 2009, section 3.1).

    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    good, k = _rows(p), p.shape[1]
    if k < 2:
        return np.zeros(len(p))
    return _answer(_entropies(_clean(p, good)) / np.log(k), good)


def vote_entropy(members: AnyFloats) -> Floats:
    """Entropy of the members' votes over ``ln min(m, k)`` (Dagan and Engelson 1995).

    >>> vote_entropy(np.array([[[0.9, 0.1]], [[0.2, 0.8]]])).tolist()
    [1.0]
    """
    good = _committee(members)
    m, n, k = members.shape
    if m < 2 or k < 2:
        return np.zeros(n)
    votes = np.zeros((n, k))
    for winner in _clean(members, good).argmax(axis=2):
        votes[np.arange(n), winner] += 1.0 / m
    return _answer(_entropies(votes) / np.log(min(m, k)), good)


def kl_to_consensus(members: AnyFloats) -> Floats:
    """Mean Kullback-Leibler divergence of each member from the mean, over ``ln min(m, k)`` (McCallum and Nigam 1998).

    >>> kl_to_consensus(np.array([[[1.0, 0.0]], [[0.0, 1.0]]])).tolist()
    [1.0]
    """
    good = _committee(members)
    m, n, k = members.shape
    if m < 2 or k < 2:
        return np.zeros(n)
    clean = _clean(members, good)
    consensus = clean.mean(axis=0)
    ratio = np.log(np.maximum(clean, _TINY)) - np.log(np.maximum(consensus, _TINY))
    return _answer((clean * ratio).sum(axis=2).mean(axis=0) / np.log(min(m, k)), good)


def bald(members: AnyFloats) -> Floats:
    """Mutual information of label and member, ``H(mean) - mean H``, over ``ln min(m, k)`` (Houlsby et al. 2011).

    Equal to :func:`kl_to_consensus` for members of equal weight: both are kept, since people look for either name.

    >>> bald(np.array([[[1.0, 0.0]], [[0.0, 1.0]]])).tolist()
    [1.0]
    """
    good = _committee(members)
    m, n, k = members.shape
    if m < 2 or k < 2:
        return np.zeros(n)
    clean = _clean(members, good)
    spread = np.mean([_entropies(member) for member in clean], axis=0)
    return _answer((_entropies(clean.mean(axis=0)) - spread) / np.log(min(m, k)), good)


def expected_gradient_length(p: AnyFloats, features: AnyFloats | None = None) -> Floats:
    """Expected norm of the loss gradient of a softmax head, in closed form (Settles and Craven 2008).

    For label c the gradient is ``(p - e_c) x^T``, so the answer is ``|x| sum_c p_c sqrt(|p|^2 - 2 p_c + 1)``. Without ``features``
    ``(n, d)`` the factor ``|x|`` is left out and the answer is in [0, 1]; with them it is divided by the largest ``|x|``.

    >>> expected_gradient_length(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4).tolist()
    [0.7071, 0.0]
    """
    good = _rows(p)
    if p.shape[1] < 2:
        return np.zeros(len(p))
    clean = _clean(p, good)
    square = (clean * clean).sum(axis=1, keepdims=True)
    length = (clean * np.sqrt(np.maximum(0.0, square - 2.0 * clean + 1.0))).sum(axis=1)
    if features is not None and len(p):
        norms = np.nan_to_num(np.linalg.norm(features.astype(np.float64), axis=1), posinf=0.0)
        length = length * norms / max(float(norms.max()), _TINY)
    return _answer(length, good)


def random(uniform: Floats) -> Floats:
    """The baseline: a utility that is chance alone. ``uniform`` is ``(n,)`` in [0, 1).

    >>> random(np.array([0.25, 0.75])).tolist()
    [0.25, 0.75]
    """
    return np.asarray(uniform, dtype=np.float64)


_TINY = 1e-12


def _rows(p: AnyFloats) -> NDArray[np.bool_]:
    if p.ndim != 2:
        raise Invalid(f"probabilities have {p.ndim} axes, not 2 (n, k)")
    return well_formed(p)


def _committee(members: AnyFloats) -> NDArray[np.bool_]:
    if members.ndim != 3:
        raise Invalid(f"members have {members.ndim} axes, not 3 (m, n, k)")
    return well_formed(members)


def _clean(p: AnyFloats, good: NDArray[np.bool_]) -> Floats:
    if good.all():
        return np.asarray(p, dtype=np.float64)
    # A malformed row becomes certain of its first class: harmless to compute with, and overwritten by _answer.
    one_hot = np.zeros(p.shape[-1])
    one_hot[:1] = 1.0
    return np.where(good[:, None], p, one_hot).astype(np.float64)


def _answer(utilities: Floats, good: NDArray[np.bool_]) -> Floats:
    # Adding 0.0 turns the -0.0 of an empty sum into 0.0.
    return np.asarray(np.where(good, np.clip(utilities, 0.0, 1.0), 0.0) + 0.0)


def _entropies(p: Floats) -> Floats:
    return np.asarray(-(p * np.log(np.maximum(p, _TINY))).sum(axis=-1))

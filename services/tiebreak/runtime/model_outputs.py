"""From what a graph gives to what the stages speak of: probabilities, members, embedding, values. Pure array functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray
from tiebreak.runtime.model_plan import ModelPlan, ScoreKind, as_table


def probabilities(scores: NDArray[Any], plan: ModelPlan, temperature: float = 1.0) -> FloatArray:
    """``(n, k)`` probabilities of ``plan.classes`` from the score output; ``(n, 0)`` for a regressor.

    One column for two classes is the probability (or logit) of the second. Calibration is temperature scaling (Guo et al.
    2017, https://arxiv.org/abs/1706.04599): softmax of the logits divided by ``temperature``; probabilities are taken back to
    log-probabilities for it. A row that is not finite stays NaN: it is the caller's to set aside.

    >>> plan = ModelPlan((), "y", ScoreKind.LOGITS, ("a", "b"))
    >>> probabilities(np.zeros((1, 2), np.float32), plan).tolist()
    [[0.5, 0.5]]
    """
    if plan.kind is ScoreKind.VALUES:
        return np.empty((len(scores), 0), np.float32)
    table = as_table(scores)
    if plan.kind is ScoreKind.INDEPENDENT:
        return table.astype(np.float32, copy=False)  # no row is one distribution: there is nothing to rescale or temper
    narrow = table.dtype == np.float16
    table = table.astype(np.float32, copy=False)
    if plan.kind is ScoreKind.LOGITS:
        return _softmax(_two_logits(table, plan) / np.float32(temperature))
    if table.shape[1] == 1 and len(plan.classes) == 2:
        table = np.concatenate([1 - table, table], axis=1)
    if temperature != 1.0:
        return _softmax(np.log(np.maximum(table, np.float32(1e-30))) / np.float32(temperature))
    return _rescaled(table) if narrow else table


def members(scores: NDArray[Any]) -> FloatArray:
    """A committee's ``(m, n, k)`` probabilities as float32."""
    return scores.astype(np.float32, copy=False)


def embedding(vectors: NDArray[Any]) -> FloatArray:
    """``(n, d)`` float32 vectors, flattened from whatever the graph gives per event."""
    return as_table(vectors).astype(np.float32, copy=False)


def values(scores: NDArray[Any], plan: ModelPlan) -> FloatArray | None:
    """``(n,)`` values of a regressor, None for a classifier."""
    if plan.kind is not ScoreKind.VALUES:
        return None
    return scores.reshape(len(scores)).astype(np.float32, copy=False)


def unusable_rows(probs: FloatArray, numbers: FloatArray | None) -> NDArray[np.bool_]:
    """``(n,)`` True where a row has no finite answer."""
    table = probs if numbers is None else numbers[:, None]
    return np.asarray(~np.isfinite(table).all(axis=1))


def _two_logits(table: FloatArray, plan: ModelPlan) -> FloatArray:
    if table.shape[1] == 1 and len(plan.classes) == 2:
        return np.concatenate([np.zeros_like(table), table], axis=1)
    return table


def _softmax(logits: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):  # infinite logits give NaN rows, which the caller sets aside
        shifted: FloatArray = logits - logits.max(axis=1, keepdims=True)
        np.exp(shifted, out=shifted)
        shifted /= shifted.sum(axis=1, keepdims=True)
    return shifted


def _rescaled(table: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(table / table.sum(axis=1, keepdims=True), np.float32)

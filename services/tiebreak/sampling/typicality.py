"""Typical events first, while labels are few: what many of the last events resemble is worth more than what stands alone. Pure.

With a label or two for each class a question teaches most where many events are alike (TypiClust, Hacohen, Dekel and Weinshall
2022; ProbCover, Yehuda et al. 2022). What stands alone looks just as uncertain, and is often an oddity or out of scope. Later the
oddities are what is left to learn: the weight fades as labels come. How typical an event is: the mean cosine to the ``NEAREST`` of the
last ``REMEMBERED`` events, as a rank among those of late. What it is compared with is fixed per block of ``BLOCK`` events from
the start of the stream: how it is cut into batches does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray, product
from tiebreak.sampling.diversity import unit_rows
from tiebreak.sampling.neighbours import ranks

Floats = NDArray[np.float64]

BLOCK = 64
REMEMBERED = 128
NEAREST = 5
WIDE = 256  # columns from which on a cosine is one of meaning: below, it is that of a table's few large columns
WINDOW = 512  # past values that a rank is taken in
COLUMNS = 192  # at most, are compared
FLOOR = 0.1  # what stands alone keeps a part of its utility
FEW = 1.0  # labels for each class, up to which the whole weight counts


@dataclass(frozen=True, slots=True)
class Crowd:
    """``units`` ``(m, d)`` of the last events and the ``values`` ``(w,)`` of late; ``new_...``: the open block's."""

    units: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    values: Floats = field(default_factory=lambda: np.zeros(0))
    new_units: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    new_values: Floats = field(default_factory=lambda: np.zeros(0))


def weigh(crowd: Crowd, features: FloatArray) -> tuple[Floats, Crowd]:
    """``(n,)``: the logarithm of how typical each of ``(n, d)`` events is, in [ln 0.1, ln 1.1], and the crowd after them.

    The same for all until enough events have been seen.
    """
    # Wide embeddings are thinned evenly: a cosine by a part of dense columns is nearly that of all, and costs as much less.
    units = unit_rows(features[:, :: -(-features.shape[1] // COLUMNS)])
    if crowd.units.shape[1] != units.shape[1]:
        none = np.zeros((0, units.shape[1]), np.float32)
        crowd = Crowd(units=none, new_units=none)
    logs = np.full(len(units), log(0.5 + FLOOR))
    start = 0
    while start < len(units):
        if len(crowd.new_units) == BLOCK:
            crowd = _closed(crowd)
        stop = min(len(units), start + BLOCK - len(crowd.new_units))
        joined = units[start:stop]
        if len(crowd.new_units):
            joined = np.concatenate([crowd.new_units, joined])
        if len(crowd.units) >= NEAREST:
            values = _alike(crowd, joined)[len(crowd.new_units) :]
            logs[start:stop] = np.log(ranks(crowd.values, values) + FLOOR)
            crowd = replace(crowd, new_values=np.concatenate([crowd.new_values, values]))
        crowd = replace(crowd, new_units=joined)
        start = stop
    return logs, crowd


def weight(most: float, classes: int, labels: int) -> float:
    """What part of the logarithm counts with so many ``labels`` for so many ``classes``; ``most`` of it while they are few.

    >>> weight(0.5, 10, 20), weight(0.5, 10, 300)
    (0.5, 0.05)
    """
    return most * min(1.0, FEW * classes / max(1, labels))


def _alike(crowd: Crowd, units: FloatArray) -> Floats:
    """``(c,)``: the mean cosine of each row of the open block to the nearest of the crowd."""
    # A product may add in another order for another number of rows: a block always has all of its rows.
    whole = units
    if len(units) < BLOCK:
        whole = np.concatenate([units, np.zeros((BLOCK - len(units), units.shape[1]), np.float32)])
    cosines = product(whole, crowd.units.T)[: len(units)]
    nearest = np.partition(cosines, -NEAREST, axis=1)[:, -NEAREST:]
    return np.asarray(nearest.mean(axis=1), np.float64)


def _closed(crowd: Crowd) -> Crowd:
    """The open block's part joins the rest."""
    return Crowd(
        units=np.concatenate([crowd.units, crowd.new_units])[-REMEMBERED:],
        values=np.concatenate([crowd.values, crowd.new_values])[-WINDOW:],
        new_units=crowd.new_units[:0],
    )

"""Where the rows of a stream fall into blocks, and what tells their contents apart: functions of the rows, not of when they came."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from tiebreak.contracts.hashing import Words
from tiebreak.contracts.ids import unit_hash
from tiebreak.training.dataset import Row

BLOCK = 100  # rows, on average


def newest_cuts(rows: Sequence[Row], most: int, seed: int) -> list[int]:
    """Where the newest blocks of the rows in canonical order begin, at most so many of them, in ascending order.

    From the newest backwards, so that the cost does not grow with the window.
    """
    backwards = (i for i in range(len(rows) - 1, -1, -1) if unit_hash(seed, "block", rows[i].label_id) < 1.0 / BLOCK)
    return list(islice(backwards, most))[::-1]


def reach_of(window: int) -> int:
    """How many rows before a cut count for it: a quarter fewer than ``window``.

    The oldest ones of a full window change with every label: they are none of these, so what was found out about a cut stays true.
    """
    return window - window // 4


def marks(rows: Sequence[Row]) -> Words:
    """``(n,)``: what tells one row's content from another's."""
    return np.fromiter((row.mark for row in rows), np.uint64, len(rows))


def told(rows: Sequence[Row]) -> int:
    """What tells one set of rows from another, as surely as a mark tells two rows apart: the sum of their marks, modulo 2^64."""
    return int(marks(rows).sum(dtype=np.uint64))

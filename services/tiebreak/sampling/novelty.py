"""Events far from everything asked so far: which of a batch are examined, and which of them clear the level. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling import diversity, threshold
from tiebreak.sampling.appraisal import Appraisal, Scored
from tiebreak.sampling.chance import clears, gumbel
from tiebreak.sampling.diversity import Memory
from tiebreak.sampling.schedule import BLOCK

Floats = NDArray[np.float64]

EXAMINED = 0.25  # of the events: a new class sends many, and comparing each with the whole coverage costs
TEMPER = 0.1
WINDOW = 256
FLOOR = 1e-3  # what is like something asked stays comparable: ln(1e-3)


@dataclass(frozen=True, slots=True)
class _Examined:
    """The rows of a batch that are examined for novelty, and their numbers as far as they are computed: for ``coverage``, up to
    place ``until``. Ahead of need, since a few large products cost less than many small ones; anew whenever coverage grows."""

    rows: NDArray[np.int64]
    coverage: Memory
    since: int
    until: int
    bases: Floats
    scores: Floats


class Novelty:
    """Scratch of one choice: ``relevel`` for each block, ``rows`` of it, then ``window`` is the state after them.

    ``found`` has the log novelty and the score of those rows that clear the level.
    """

    def __init__(self, batch: Scored, appraisal: Appraisal, window: threshold.Window) -> None:
        self._batch, self._appraisal, self.window = batch, appraisal, window
        self._examined: _Examined | None = None
        self.found: dict[int, tuple[float, float]] = {}

    def relevel(self, share: float) -> None:
        """Fix the level of a block in which a ``share`` of the events is asked about for this."""
        self.window = threshold.relevel(self.window, share / EXAMINED)

    def none(self) -> set[int]:
        """No row of a block is examined."""
        self.found.clear()
        return set()

    def rows(self, start: int, stop: int, coverage: Memory) -> set[int]:
        """Examine a part of the rows; answer those that clear the level."""
        self.found.clear()
        if self._batch.features is None:
            return set()
        seen = self._examine(self._batch.features, start, stop, coverage)
        first, last = np.searchsorted(seen.rows, (start, stop)).tolist()
        scores = seen.scores[first - seen.since : last - seen.since]
        self.window = threshold.push(self.window, scores, WINDOW)
        if self.window.usable:
            for at in np.flatnonzero(scores >= self.window.level).tolist():
                base = float(seen.bases[first - seen.since + at])
                self.found[int(seen.rows[first + at])] = base, float(scores[at])
        return set(self.found)

    def told(self, row: int) -> tuple[float, float]:
        """The novelty of a row that was found, and what it had to reach."""
        base, drawn = self.found[row]
        return exp(base) - FLOOR, exp(self.window.level - drawn + base)

    def probability(self, coverage: Memory, unit: FloatArray) -> float:
        """The probability that a row is examined and clears the level."""
        if not self.window.usable:
            return 0.0
        novelty = 1.0 - diversity.nearest_one(coverage, unit)
        return EXAMINED * clears(log(novelty + FLOOR), self.window.level, TEMPER)

    def _examine(self, features: FloatArray, start: int, stop: int, coverage: Memory) -> _Examined:
        """The numbers of the rows examined, at least those from ``start`` to ``stop``."""
        seen = self._examined
        fresh = seen is None or seen.coverage is not coverage
        if seen is not None and not fresh and stop <= seen.until:
            return seen
        rows = np.flatnonzero(self._appraisal.draws[:, 2] < EXAMINED) if seen is None else seen.rows
        # Coverage that has just grown may grow again with the next block; one that has lasted may last.
        until = stop if fresh and seen is not None else min(len(self._batch), stop + 15 * BLOCK)
        first, last = np.searchsorted(rows, (start, until)).tolist()
        part = rows[first:last]
        units = diversity.unit_rows(features[part])
        bases = np.log(1.0 - diversity.nearest(coverage, units) + FLOOR)
        scores = bases + TEMPER * gumbel(self._appraisal.draws[part, 1])
        self._examined = _Examined(rows, coverage, first, until, bases, scores)
        return self._examined

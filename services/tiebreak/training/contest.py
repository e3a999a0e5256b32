"""Which learner, on how many of the newest labels: decided by progressive validation on the labels themselves. Pure.

Labels in their canonical order fall into blocks, cut where the hash of an id says so. For each of the newest blocks every plan
is fitted on what came before the block and judged on the block: it predicts what it has not seen, as it will have to (Blum, Kalai
and Langford, COLT 1999). Recent blocks count more. So a table of columns gets trees, a stream that moves gets a short memory, and
after a drift the plan that forgets takes over by itself. The choice is a function of the *set* of labels: what is kept between
calls saves work and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.hashing import hashes
from tiebreak.contracts.ids import unit_hash
from tiebreak.training.dataset import Row, choose, training_set
from tiebreak.training.features import Matrix
from tiebreak.training.learner import Learner, Model

_BLOCK = 100
_BLOCKS = 10
_FEWEST_BLOCKS = 2
_DECAY = 0.85
_MOST_WEIGHT = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A learner and the labels it is given: the ``newest``, at most ``limit`` of them, older ones balanced over classes."""

    name: str
    learner: Learner
    newest: int
    limit: int
    seed: int

    def select(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """Of the standing training rows in canonical order."""
        return choose(rows, self.limit, self.newest, self.seed)

    def fit(self, rows: Sequence[Row], classes: Sequence[str]) -> Model:
        """The learner on its share of the rows. Raises ValueError where there are none."""
        return self.learner.fit(training_set(self.select(rows), classes))


class Contest:
    """Plans, best guess first: the first one is taken until there are blocks to judge by, and on a tie."""

    def __init__(self, plans: Sequence[Plan], seed: int) -> None:
        if not plans:
            raise ValueError("a contest needs a plan")
        self.plans, self._seed = tuple(plans), seed
        self._scores: dict[bytes, NDArray[np.float64]] = {}

    def pick(self, rows: Sequence[Row], classes: Sequence[str]) -> Plan:
        """For the standing training rows in canonical order."""
        scores = self.scores(rows, classes)
        return self.plans[int(np.argmax(scores))] if scores is not None else self.plans[0]

    def scores(self, rows: Sequence[Row], classes: Sequence[str]) -> Matrix | None:
        """``(plans,)``: the decayed share of labels predicted right; None with one plan, or too few labels to tell."""
        cuts = self._cuts(rows) if len(self.plans) > 1 else []
        if len(cuts) <= _FEWEST_BLOCKS:
            return None
        reach = max(plan.newest for plan in self.plans)
        oldest = max(0, cuts[0] - reach)
        # Each row's mark once: the windows of the blocks overlap nearly whole.
        marks = _marks(rows[oldest:])
        named = "\0".join(classes).encode()
        found: dict[bytes, NDArray[np.float64]] = {}
        total = np.zeros((len(self.plans), 2))
        for start, end in pairwise(cuts):
            first = max(0, start - reach)
            before, block = rows[first:start], rows[start:end]
            key = blake2b(named + marks[first - oldest : end - oldest].tobytes(), digest_size=16).digest()
            score = self._scores.get(key)
            found[key] = score if score is not None else self._judge(before, block, classes)
            total = total * _DECAY + found[key]
        self._scores = found
        result: Matrix = total[:, 0] / np.maximum(total[:, 1], 1e-12)
        return result

    def _cuts(self, rows: Sequence[Row]) -> list[int]:
        # From the newest backwards, so that the cost does not grow with the window.
        backwards = (i for i in range(len(rows) - 1, -1, -1) if self._first_of_block(rows[i]))
        return list(islice(backwards, _BLOCKS + 1))[::-1]

    def _first_of_block(self, row: Row) -> bool:
        return unit_hash(self._seed, "block", row.label_id) < 1.0 / _BLOCK

    def _judge(self, before: Sequence[Row], block: Sequence[Row], classes: Sequence[str]) -> NDArray[np.float64]:
        """``(plans, 2)``: weight of what was right, and of all."""
        column = {name: i for i, name in enumerate(classes)}
        truth = np.array([column[row.value] for row in block])
        x = np.stack([row.features for row in block])
        # Selected labels stand for the events that were passed over, as far as their propensity says how many.
        weights = np.array([min(1.0 / max(row.propensity, 1e-9), _MOST_WEIGHT) for row in block])
        result = np.zeros((len(self.plans), 2))
        for i, plan in enumerate(self.plans):
            if len({row.value for row in plan.select(before)}) > 1:
                said = plan.fit(before, classes).probabilities(x).argmax(axis=1)
                result[i, 0] = weights @ (said == truth)
            result[i, 1] = weights.sum()
        return result


def _marks(rows: Sequence[Row]) -> NDArray[np.uint64]:
    """``(n,)``: what tells one row's content from another's."""
    return hashes(
        0,
        "row",
        [f"{row.label_id}\0{row.revision}\0{row.value}\0{len(row.features)}".encode() for row in rows],
    )

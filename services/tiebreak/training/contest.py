"""Which learner, on how many of the newest labels: decided by progressive validation on the labels themselves. Pure.

Labels in their canonical order fall into blocks, cut where the hash of an id says so. For each of the newest blocks, the unfinished
one among them, every plan is fitted on what came before the block and judged on the block: it predicts what it has not seen, as it
will have to (Blum, Kalai and Langford, COLT 1999). Audit labels of the same time judge too: they train nobody, and speak for the
events that were passed over, as selected ones do by their propensity. Recent blocks count more. So a table of columns gets trees, a
stream that moves gets a short memory, and after a drift the plan that forgets takes over by itself. The choice is a function of the
*set* of labels: what is kept between calls saves work and changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import Form
from tiebreak.training.bases import Bases
from tiebreak.training.blocks import BLOCK, marks, newest_cuts, reach_of, told
from tiebreak.training.dataset import Row, stands_for
from tiebreak.training.features import Matrix
from tiebreak.training.learner import Model
from tiebreak.training.plans import Plan
from tiebreak.training.targets import truth_of

_LEAST_BLOCKS, _MOST_BLOCKS = 10, 20
_FEWEST_BLOCKS = 2
_DECAY = 0.9
_WORDS = 2**64

_Key = tuple[object, ...]
Models = tuple[Model | None, ...]


class Contest:
    """Plans, best guess first: the first one is taken until there are blocks to judge by, and on a tie.

    ``refit_below``: with more rows than this a plan goes on from a base (``bases.py``); None: never.
    """

    def __init__(self, plans: Sequence[Plan], seed: int, refit_below: int | None = None) -> None:
        if not plans:
            raise ValueError("a contest needs a plan")
        self.plans, self._seed = tuple(plans), seed
        self._bases = Bases(refit_below, seed) if refit_below is not None else None
        self._scores: dict[_Key, NDArray[np.float64]] = {}
        # What judged the unfinished block will be asked of its next labels.
        self._newest: tuple[_Key, Models] = ((), ())
        self._taken: Plan | None = None
        window = max(plan.newest for plan in self.plans)
        # Of a full window blocks may lie in its newest quarter: what is before an older one changes with every label (`reach_of`).
        self._blocks = min(max(window // (4 * BLOCK), _LEAST_BLOCKS), _MOST_BLOCKS)

    def pick(self, rows: Sequence[Row], classes: Sequence[str], audit: Sequence[Row] = ()) -> Plan:
        """For the standing training rows, and audit rows as witnesses, in canonical order."""
        scores = self.scores(rows, classes, audit)
        return self.plans[int(np.argmax(scores))] if scores is not None else self.plans[0]

    def ready(
        self, rows: Sequence[Row], classes: Sequence[str], audit: Sequence[Row] = ()
    ) -> tuple[Plan, tuple[Row, ...]]:
        """The picked plan with the learner to fit with now, and the rows that are to train it."""
        if self._bases is None:
            plan = self.pick(rows, classes, audit)
            return plan, plan.select(rows)
        if self._taken is not None:
            # A plan that was taken is likely to be taken again: it is judged by its base, which is then learned but once.
            self._bases.ready(self._taken, rows, classes)
        self._taken = self.pick(rows, classes, audit)
        return self._bases.ready(self._taken, rows, classes)

    def scores(self, rows: Sequence[Row], classes: Sequence[str], audit: Sequence[Row] = ()) -> Matrix | None:
        """``(plans,)``: the decayed credit of predictions (of classes the share right); None with one plan, or too few labels."""
        cuts = newest_cuts(rows, self._blocks + 1, self._seed) if len(self.plans) > 1 else []
        if len(cuts) <= _FEWEST_BLOCKS:
            return None
        reach = reach_of(max(plan.newest for plan in self.plans))
        oldest = max(0, cuts[0] - reach)
        # Windows of blocks overlap nearly whole: they are told apart by differences of sums, at a cost that no number of blocks raises.
        sums = [0, *np.cumsum(marks(rows[oldest:]), dtype=np.uint64).tolist()]
        found: dict[_Key, NDArray[np.float64]] = {}
        total = np.zeros((len(self.plans), 2))
        newest = self._newest
        for start, end in pairwise([*cuts, len(rows)]):
            first = max(0, start - reach)
            after = rows[end] if end < len(rows) else None
            witnesses = self._answerable(_between(audit, rows[start], after), classes)
            at, cut, until = (sums[i - oldest] for i in (first, start, end))
            learned = tuple(classes), (cut - at) % _WORDS
            key = *learned, (until - cut) % _WORDS, told(witnesses)
            score = self._scores.get(key)
            if score is None:
                models = self._newest[1] if self._newest[0] == learned else self._models(rows[first:start], classes)
                score = self._judge(models, [*rows[start:end], *witnesses], classes)
                newest = (learned, models) if after is None else newest
            found[key] = score
            total = total * _DECAY + score
        self._scores, self._newest = found, newest
        result: Matrix = total[:, 0] / np.maximum(total[:, 1], 1e-12)
        return result

    def _models(self, before: Sequence[Row], classes: Sequence[str]) -> Models:
        """What each plan predicts by after these rows; None where it has nothing to tell apart."""
        return tuple(
            self._model(plan, before, classes) if len({row.value for row in plan.select(before)}) > 1 else None
            for plan in self.plans
        )

    def _model(self, plan: Plan, before: Sequence[Row], classes: Sequence[str]) -> Model:
        known = self._bases.known(plan, before, classes) if self._bases is not None else None
        return known if known is not None else plan.predictor(before, classes)

    def _answerable(self, rows: Sequence[Row], classes: Sequence[str]) -> Sequence[Row]:
        """Those whose value a plan can give: a class that only the audit slice has seen is nobody's merit or fault."""
        if self.plans[0].target.form is not Form.CLASSES:
            return rows
        known = frozenset(classes)
        return [row for row in rows if row.value in known]

    def _judge(self, models: Models, block: Sequence[Row], classes: Sequence[str]) -> NDArray[np.float64]:
        """``(plans, 2)``: weight of what was right, and of all."""
        target = self.plans[0].target
        truth = truth_of(target, [row.value for row in block], classes)
        x = np.stack([row.features for row in block])
        # Selected labels stand for the events that were passed over, as far as their propensity says how many.
        weights = np.array([stands_for(row) for row in block])
        result = np.zeros((len(self.plans), 2))
        for i, model in enumerate(models):
            if model is not None:
                result[i, 0] = weights @ target.credit(model.probabilities(x), truth)
            result[i, 1] = weights.sum()
        return result


def _between(audit: Sequence[Row], first: Row, after: Row | None) -> Sequence[Row]:
    """Audit rows settled from ``first`` on and before ``after``, or up to now."""
    start = bisect_left(audit, first.place, key=_place)
    return audit[start : bisect_left(audit, after.place, key=_place) if after is not None else None]


def _place(row: Row) -> tuple[int, str]:
    return row.place

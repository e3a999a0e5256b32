"""Which learner, on how many of the newest labels: decided by progressive validation on the labels themselves. Pure.

Labels in their canonical order fall into blocks, cut where the hash of an id says so. For each of the newest blocks, the unfinished
one among them, every plan is fitted on what came before the block and judged on the block: it predicts what it has not seen, as it
will have to (Blum, Kalai and Langford, COLT 1999). Audit labels of the same time judge too: they train nobody, and speak for the
events that were passed over, as selected ones do by their propensity. Recent blocks count more. So a table of columns gets trees, a
stream that moves gets a short memory, and after a drift the plan that forgets takes over by itself. The choice is a function of the
*set* of labels: what is kept between calls saves work and changes nothing.

A help (``Plan.without``: names of the classes, unlabelled events) has to win so, too, and audit labels alone have the last word on
it: it is off while they are against it. What a help is worth fades with every label, so while there are few, what models of far fewer
predicted says little of today's. Where a plan has a help cross-validation compares all of them up to :data:`_FEW` labels, in pairs over
all that there are: each is predicted by a fit that left it out. The plan with most help is taken that none is ahead of by more than the
standard error of the difference (the rule of one standard error: Breiman et al., Classification and Regression Trees, 1984).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress, pairwise

import numpy as np

from tiebreak.contracts.confidence import evidence_above
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
_AGAINST = 2.0  # odds, as those by which audit labels hold a challenger
_FEW = _LEAST_BLOCKS * BLOCK
_FOLDS, _FEWEST_FOR_FOLDS = 4, 24
_GROWTH = 1.2  # of the labels until the folds are fitted anew
_WORDS = 2**64
_ROUNDING = 1e-9

_Key = tuple[object, ...]
Models = tuple[Model | None, ...]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One block: its ``score`` ``(plans, 2)``, the weights of what was right and of all.

    Of its audit rows the ``credit`` ``(plans, m)``, 0 of a plan that had no model, and the ``weights`` ``(m,)``.
    """

    score: Matrix
    credit: Matrix
    weights: Matrix


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """The ``credit`` ``(plans, n)`` of training rows and, from ``first`` on, of audit rows; how many events each ``stands`` for."""

    credit: Matrix
    stands: Matrix
    weights: Matrix
    first: int


class Contest:
    """Plans, best guess first: the first one is taken until there are labels to judge by, and of blocks on a tie.

    ``refit_below``: with more rows than this a plan goes on from a base (``bases.py``); None: never.
    """

    def __init__(self, plans: Sequence[Plan], seed: int, refit_below: int | None = None) -> None:
        if not plans:
            raise ValueError("a contest needs a plan")
        self.plans, self._seed = tuple(plans), seed
        self._bases = Bases(refit_below, seed) if refit_below is not None else None
        self._judged: dict[_Key, _Judged] = {}
        # What judged the unfinished block will be asked of its next labels.
        self._newest: tuple[_Key, Models] = ((), ())
        self._folds: tuple[_Key, Sequence[Models]] = ((), ())
        self._taken: Plan | None = None
        window = max(plan.newest for plan in self.plans)
        # Of a full window blocks may lie in its newest quarter: what is before an older one changes with every label (`reach_of`).
        self._blocks = min(max(window // (4 * BLOCK), _LEAST_BLOCKS), _MOST_BLOCKS)

    def pick(self, rows: Sequence[Row], classes: Sequence[str], audit: Sequence[Row] = ()) -> Plan:
        """For the standing training rows, and audit rows as witnesses, in canonical order."""
        if self._compares(rows):
            return self._ahead(self._left_out(rows, classes, audit))
        blocks = self._blocks_of(rows, classes, audit)
        if not blocks:
            return self.plans[0]
        earned, weights = np.hstack([b.credit for b in blocks]), np.concatenate([b.weights for b in blocks])
        return self.plans[int(np.argmax(np.where(self._misled(earned, weights), -1.0, _scores(blocks))))]

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
        """``(plans,)``: the mean credit of predictions (of classes the share right); None with one plan, or too few labels."""
        if self._compares(rows):
            seen = self._left_out(rows, classes, audit)
            means: Matrix = seen.credit @ seen.stands / seen.stands.sum()
            return means
        blocks = self._blocks_of(rows, classes, audit)
        return _scores(blocks) if blocks else None

    def _blocks_of(self, rows: Sequence[Row], classes: Sequence[str], audit: Sequence[Row]) -> Sequence[_Judged]:
        """The newest blocks, oldest first; none with one plan, or too few labels."""
        cuts = newest_cuts(rows, self._blocks + 1, self._seed) if len(self.plans) > 1 else []
        if len(cuts) <= _FEWEST_BLOCKS:
            return ()
        reach = reach_of(max(plan.newest for plan in self.plans))
        oldest = max(0, cuts[0] - reach)
        # Windows of blocks overlap nearly whole: they are told apart by differences of sums, at a cost that no number of blocks raises.
        sums = [0, *np.cumsum(marks(rows[oldest:]), dtype=np.uint64).tolist()]
        found: dict[_Key, _Judged] = {}
        newest = self._newest
        for start, end in pairwise([*cuts, len(rows)]):
            first = max(0, start - reach)
            after = rows[end] if end < len(rows) else None
            witnesses = self._answerable(_between(audit, rows[start], after), classes)
            at, cut, until = (sums[i - oldest] for i in (first, start, end))
            learned = tuple(classes), (cut - at) % _WORDS
            key = *learned, (until - cut) % _WORDS, told(witnesses)
            judged = self._judged.get(key)
            if judged is None:
                models = self._newest[1] if self._newest[0] == learned else self._models(rows[first:start], classes)
                judged = self._judge(models, rows[start:end], witnesses, classes)
                newest = (learned, models) if after is None else newest
            found[key] = judged
        self._judged, self._newest = found, newest
        return tuple(found.values())

    def _compares(self, rows: Sequence[Row]) -> bool:
        """Whether labels left out choose: there are helps to judge, and few labels."""
        return _FEWEST_FOR_FOLDS <= len(rows) < _FEW and any(plan.without for plan in self.plans)

    def _left_out(self, rows: Sequence[Row], classes: Sequence[str], audit: Sequence[Row]) -> _LeftOut:
        """What was known at the last fit of the folds judges with what came since, each row by the models that left it out."""
        size = _FEWEST_FOR_FOLDS
        while int(size * _GROWTH) <= len(rows):
            size = int(size * _GROWTH)
        known = rows[:size]
        key = tuple(classes), told(known)
        if self._folds[0] != key:
            folds = marks(known) % np.uint64(_FOLDS)
            self._folds = key, [self._models(list(compress(known, folds != fold)), classes) for fold in range(_FOLDS)]
        asked = [*rows, *self._answerable(audit, classes)]
        folds, credit = marks(asked) % np.uint64(_FOLDS), np.zeros((len(self.plans), len(asked)))
        for fold, models in enumerate(self._folds[1]):
            if (out := folds == fold).any():
                credit[:, out] = self._judge(models, [], list(compress(asked, out)), classes).credit
        weights = np.array([row.weight for row in asked])
        return _LeftOut(credit, np.array([stands_for(row) for row in asked]), weights, len(rows))

    def _ahead(self, seen: _LeftOut) -> Plan:
        """Of the plans that do not mislead the one with most help that no other is ahead of by more than a standard error."""
        misled = self._misled(seen.credit[:, seen.first :], seen.weights[seen.first :])
        fit = [i for i in range(len(self.plans)) if not misled[i]]
        scores = seen.credit @ seen.stands
        best = max(fit, key=lambda i: float(scores[i]))
        for i in sorted(fit, key=lambda i: -len(self.plans[i].without)):
            lead = (seen.credit[best] - seen.credit[i]) * seen.stands
            # The error if neither were ahead: a single label on which they differ is no lead.
            if lead.sum() <= np.sqrt((lead**2).sum()) + _ROUNDING:
                return self.plans[i]
        return self.plans[best]

    def _misled(self, earned: Matrix, weights: Matrix) -> list[bool]:
        """Which plans have a help that audit labels are against: at two to one, they were right more often without it."""
        place = {plan.name: i for i, plan in enumerate(self.plans)}

        def hurts(plan: Plan, without: str) -> bool:
            lead = earned[place[without]] - earned[place[plan.name]]
            return evidence_above(lead.tolist(), 0.0, weights.tolist()) >= _AGAINST

        return [any(hurts(plan, without) for without in plan.without) for plan in self.plans]

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

    def _judge(
        self, models: Sequence[Model | None], block: Sequence[Row], witnesses: Sequence[Row], classes: Sequence[str]
    ) -> _Judged:
        target, rows = self.plans[0].target, [*block, *witnesses]
        truth = truth_of(target, [row.value for row in rows], classes)
        x = np.stack([row.features for row in rows])
        # Selected labels stand for the events that were passed over, as far as their propensity says how many.
        weights = np.array([stands_for(row) for row in rows])
        score, seen = np.zeros((len(models), 2)), np.zeros((len(models), len(witnesses)))
        for i, model in enumerate(models):
            if model is not None:
                credit = target.credit(model.probabilities(x), truth)
                score[i, 0], seen[i] = weights @ credit, credit[len(block) :]
            score[i, 1] = weights.sum()
        return _Judged(score, seen, np.array([row.weight for row in witnesses]))


def _scores(blocks: Sequence[_Judged]) -> Matrix:
    total = np.zeros_like(blocks[0].score)
    for block in blocks:
        total = total * _DECAY + block.score
    result: Matrix = total[:, 0] / np.maximum(total[:, 1], 1e-12)
    return result


def _between(audit: Sequence[Row], first: Row, after: Row | None) -> Sequence[Row]:
    """Audit rows settled from ``first`` on and before ``after``, or up to now."""
    start = bisect_left(audit, first.place, key=_place)
    return audit[start : bisect_left(audit, after.place, key=_place) if after is not None else None]


def _place(row: Row) -> tuple[int, str]:
    return row.place

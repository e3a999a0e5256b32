"""Beyond a size a step goes on from a base, so that its cost does not grow with what was ever labelled. Pure.

A base is what a plan learned up to the newest cut (``blocks.py``), fitted as well as any model of few labels. The step takes in the
labels since, some hundred at most: what that means is the learner's to say. Cut, base and step are functions of the *set* of
labels; bases are kept because that saves work, and a base that is missing is made again, the same to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tiebreak.training.blocks import newest_cuts, reach_of
from tiebreak.training.dataset import Row
from tiebreak.training.learner import Base, Continuing, Model, TrainingSet
from tiebreak.training.plans import Plan

Ready = tuple[Plan, tuple[Row, ...]]


@dataclass(frozen=True, slots=True)
class _After:
    """A Learner that begins at a base."""

    base: Base

    def fit(self, labels: TrainingSet) -> Model:
        return self.base.after(labels)


@dataclass(frozen=True, slots=True)
class _Kept:
    key: tuple[object, ...]
    base: Base
    rows: tuple[Row, ...]


class Bases:
    """The newest base of each plan that was taken. Up to ``below`` rows there is none: few labels deserve full effort."""

    def __init__(self, below: int, seed: int) -> None:
        self._below, self._seed = below, seed
        self._kept: dict[str, _Kept] = {}

    def ready(self, plan: Plan, rows: Sequence[Row], classes: Sequence[str]) -> Ready:
        """``plan`` with the learner to fit with, and which of the rows in canonical order it is to be given."""
        # A short memory is soon learned anew.
        long = min(len(rows), plan.newest) > self._below
        cuts = newest_cuts(rows, 1, self._seed) if long and isinstance(plan.learner, Continuing) else []
        if not cuts:
            return plan, plan.select(rows)
        cut = cuts[0]
        known = self._base(plan, rows[max(0, cut - reach_of(plan.newest)) : cut], classes)
        if known is None or not {row.value for row in rows[cut:]} <= {row.value for row in known.rows}:
            return plan, plan.select(rows)  # members of a base would not know the new class until the next cut
        return replace(plan, learner=_After(known.base)), (*known.rows, *rows[cut:])

    def known(self, plan: Plan, before: Sequence[Row], classes: Sequence[str]) -> Model | None:
        """What ``plan`` predicts by after these rows, where there is a base of them."""
        kept = self._kept.get(plan.name)
        return kept.base.model if kept is not None and kept.key == plan.key(before, classes) else None

    def _base(self, plan: Plan, before: Sequence[Row], classes: Sequence[str]) -> _Kept | None:
        key = plan.key(before, classes)
        kept = self._kept.get(plan.name)
        if kept is None or kept.key != key:
            rows = plan.select(before)
            if not isinstance(plan.learner, Continuing) or len({row.value for row in rows}) < 2:
                return None
            kept = self._kept[plan.name] = _Kept(key, plan.learner.base(plan.given(rows, classes)), rows)
        return kept

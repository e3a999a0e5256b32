"""Beyond a size a step goes on from a base, so that its cost does not grow with what was ever labelled. Pure.

A base is what a plan learned up to the newest cut (``blocks.py``), fitted as well as any model of few labels. The step takes in the
labels since, some hundred at most: what that means is the learner's to say. Cut, base and step are functions of the *set* of
labels; bases are kept because that saves work, and a base that is missing is made again, the same to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from tiebreak.training.blocks import marks, newest_cuts, reach_of
from tiebreak.training.dataset import Row, training_set
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
    key: bytes
    base: Base
    rows: tuple[Row, ...]


class Bases:
    """The newest base, of whichever plan. Up to ``below`` rows there is none: few labels deserve full effort."""

    def __init__(self, below: int, seed: int) -> None:
        self._below, self._seed = below, seed
        self._kept: _Kept | None = None

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

    def fitted(self, plan: Plan, before: Sequence[Row], classes: Sequence[str]) -> Model:
        """What ``plan`` predicts by after these rows: the base, where it is of the same ones."""
        known = self._kept
        model = known.base.model if known is not None and known.key == _key(plan, before, classes) else None
        return model if model is not None else plan.predictor(before, classes)

    def _base(self, plan: Plan, before: Sequence[Row], classes: Sequence[str]) -> _Kept | None:
        key = _key(plan, before, classes)
        if self._kept is None or self._kept.key != key:
            rows = plan.select(before)
            if not isinstance(plan.learner, Continuing) or len({row.value for row in rows}) < 2:
                return None
            self._kept = _Kept(key, plan.learner.base(training_set(rows, classes, plan.target)), rows)
        return self._kept


def _key(plan: Plan, before: Sequence[Row], classes: Sequence[str]) -> bytes:
    return blake2b(f"{plan.name}\0{tuple(classes)}".encode() + marks(before).tobytes(), digest_size=16).digest()

"""Floors: of the labels, at least a share for events whose predicted class is rare, and for each declared slice. Pure.

Uncertainty alone may leave a rare class or a small slice with next to nothing. What each group is owed grows with the plan and shrinks
with every question about it, whatever the reason; while it is owed something, its events are drawn by a coin of their own, fixed per
block, so that the probability of a selection stays known. Nobody is owed more than a few dozen labels: a group that was not there for a
day is no reason for a flood. Audits do not count: they never train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling.parts import SLICE, parts_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MEMORY = 4096.0  # events over which the usual shares of classes and groups are learnt
WARM = 256.0  # predictions before a class can be called rare
OWED = 25.0  # labels that a group may be owed, or be ahead by
CATCH_UP = 128.0  # events within which what is owed is asked for
RARE = "rare classes"


@dataclass(frozen=True, slots=True)
class Group:
    """``share`` of the labels, at least, for the events of a slice (input ``column`` from ``at_least`` to below ``below``), or,
    where ``column`` is -1, for those whose predicted class has less than ``rare_below`` of an even share of the predictions."""

    name: str
    share: float
    column: int = -1
    at_least: float = float("-inf")
    below: float = float("inf")
    rare_below: float = 0.0


@dataclass(frozen=True, slots=True)
class Balance:
    """``shares`` ``(k,)`` weigh the predictions of each class, ``present`` ``(g,)`` the events of each group, both of ``events`` and
    forgotten over ``MEMORY``; ``counts``, ``held`` and ``since`` are theirs of the open block. ``owed`` ``(g,)`` is in labels;
    ``coin`` ``(g,)`` the probability in the open block, and ``rare`` ``(k,)`` 1 where a class is rare in it."""

    shares: Floats = field(default_factory=lambda: np.zeros(0))
    present: Floats = field(default_factory=lambda: np.zeros(0))
    events: float = 0.0
    counts: Floats = field(default_factory=lambda: np.zeros(0))
    held: Floats = field(default_factory=lambda: np.zeros(0))
    since: int = 0
    owed: Floats = field(default_factory=lambda: np.zeros(0))
    coin: Floats = field(default_factory=lambda: np.zeros(0))
    rare: Floats = field(default_factory=lambda: np.zeros(0))


def groups_of(project: Project) -> tuple[Group, ...]:
    """The floors of a project file; empty where none is set."""
    balance = project.sampling.balance
    found = [Group(RARE, balance.rare_share, rare_below=balance.rare_below)] if balance.rare_share else []
    parts = {part.name: part for part in parts_of(project)}
    for floor in balance.slices:
        part = parts[floor.name]
        found.append(Group(SLICE + part.name, floor.share, part.column, part.at_least, part.below))
    return tuple(found)


class Floors:
    """Scratch of one choice, like the chooser that owns it: open blocks, visit rows, take; then read ``state``.

    ``predicted`` ``(n,)`` are class indices of ``classes`` classes, or None without a model; ``sound`` ``(n,)`` says which rows may be
    asked about at all; ``uniform`` ``(n,)`` is each event's own chance.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the columns of a batch
        self,
        groups: Sequence[Group],
        state: Balance,
        predicted: NDArray[np.int64] | None,
        classes: int,
        inputs: FloatArray | None,
        sound: Flags,
        uniform: Floats,
    ) -> None:
        self._groups, self._predicted, self._classes = groups, predicted, classes
        self._uniform, self._sound = uniform, sound
        self._member = np.zeros((len(uniform), len(groups)), dtype=np.bool_)
        for column, group in enumerate(groups):
            if group.column >= 0 and inputs is not None:
                value = inputs[:, group.column]
                self._member[:, column] = (value >= group.at_least) & (value < group.below) & sound
        none = np.zeros(len(groups))
        s = state if len(state.owed) == len(groups) else Balance(present=none, held=none, owed=none, coin=none)
        if predicted is not None and len(s.shares) != classes:
            # Another model may know other classes: which of them are rare is learnt anew.
            s = Balance(np.zeros(classes), s.present, s.events, np.zeros(classes), s.held, s.since, s.owed, s.coin)
        self._shares, self._present, self._events = s.shares, s.present, s.events
        self._counts, self._held, self._since = s.counts.copy(), s.held.copy(), s.since
        self._owed, self._coin = s.owed.copy(), s.coin
        self._rare = s.rare if len(s.rare) == len(s.shares) else np.zeros(len(s.shares))

    def open_block(self, share: float, length: int) -> None:
        """Fix the coins of the next ``length`` events, of which ``share`` are asked about."""
        kept = exp(-self._since / MEMORY)
        self._shares, self._present = self._shares * kept + self._counts, self._present * kept + self._held
        self._events = self._events * kept + self._since
        self._counts, self._held, self._since = np.zeros_like(self._counts), np.zeros_like(self._held), 0
        self._rare = self._rarity()
        floor = np.array([group.share for group in self._groups])
        self._owed = np.clip(self._owed + floor * share * length, -OWED, OWED)
        present = self._present / max(1.0, self._events)
        # A group never seen yet: whoever comes first of it is asked about.
        within = np.maximum(present * max(CATCH_UP, float(length)), 1e-9)
        self._coin = np.clip(self._owed / within, 0.0, 1.0)

    def part(self) -> float:
        """The part of the open block's events that the coins are expected to draw."""
        return float((self._coin * self._present).sum() / max(1.0, self._events))

    def rows(self, start: int, stop: int) -> set[int]:
        """Count a block's events; answer those whose coin fell."""
        part = slice(start, stop)
        if self._predicted is not None:
            self._counts += np.bincount(self._predicted[part], minlength=self._classes)
            for column, group in enumerate(self._groups):
                if group.column < 0:
                    rare = self._rare[self._predicted[part]] > 0.0
                    self._member[part, column] = rare & self._sound[part]
        self._held += self._member[part].sum(axis=0)
        self._since += stop - start
        if not self._coin.any():
            return set()
        drawn = self._uniform[part] < self._chances(self._member[part])
        return set((np.flatnonzero(drawn) + start).tolist())

    def chance(self, row: int) -> float:
        """The probability that the row's coin falls, in [0, 1]."""
        return float(self._chances(self._member[row : row + 1])[0])

    def name(self, row: int) -> str:
        """The group that is owed most of those the row belongs to."""
        owed = np.where(self._member[row], self._owed, -np.inf)
        return self._groups[int(owed.argmax())].name

    def took(self, row: int) -> None:
        """The row is asked about: its groups are owed one label less."""
        self._owed = np.clip(self._owed - self._member[row], -OWED, OWED)

    def state(self) -> Balance:
        """The state after the rows visited."""
        return Balance(
            self._shares,
            self._present,
            self._events,
            self._counts,
            self._held,
            self._since,
            self._owed,
            self._coin,
            self._rare,
        )

    def _chances(self, member: Flags) -> Floats:
        return np.asarray(1.0 - np.where(member, 1.0 - self._coin, 1.0).prod(axis=1))

    def _rarity(self) -> Floats:
        total = float(self._shares.sum())
        below = next((group.rare_below for group in self._groups if group.column < 0), 0.0)
        if total < WARM:
            return np.zeros(len(self._shares))
        return (self._shares < below * total / len(self._shares)).astype(np.float64)

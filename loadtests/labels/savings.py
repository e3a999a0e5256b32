"""Savings: how many labels fewer than random a strategy needs for the same figure. Pure.

``1 - L / L_random``: ``L`` are the labels really spent, ``L_random`` those at which random's curve, made monotone over the means
of its budgets, reaches the figure that ``L`` bought. Between two budgets the curve is straight over ``ln L``: learning curves bend, and
a straight line over ``L`` would flatter. Past the last budget of random, ``L_random`` is that budget: the saving is at least as large.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.labels.cells import Cell, Result

T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # Student's t for so many seeds, two-sided 95 %


@dataclass(frozen=True, slots=True)
class Curve:
    """Random's labels (ascending) and the figure they buy (never falling)."""

    labels: tuple[float, ...]
    figure: tuple[float, ...]

    def labels_for(self, figure: float) -> float:
        """How many labels random needs.

        >>> Curve((10.0, 100.0), (0.5, 0.7)).labels_for(0.5)
        10.0
        """
        if figure <= self.figure[0]:
            # Left of the first budget nothing was measured: proportional labels would be a guess in our favour.
            return self.labels[0]
        at = next((i for i, value in enumerate(self.figure) if value >= figure), len(self.figure))
        if at == len(self.figure):
            return self.labels[-1]
        low, high = self.figure[at - 1], self.figure[at]
        part = (figure - low) / (high - low)
        return float(np.exp(np.log(self.labels[at - 1]) * (1.0 - part) + np.log(self.labels[at]) * part))


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds and half of its 95 % interval (NaN for one seed)."""

    mean: float
    half: float
    seeds: int


def chance(arm: str, asked: Collection[str] = ()) -> str:
    """Random with the learner of ``arm``: what it is measured against. Names of the classes are no part of a learner, but where random

    with the same names was ``asked`` for as an arm.

    >>> chance("tiebreak+auto+names+along"), chance("tiebreak")
    ('random+auto+along', 'random')
    >>> chance("tiebreak+auto+names+along", ("random+auto+names+along",))
    'random+auto+names+along'
    """
    with_names = "random" + "".join(flag for flag in ("+auto", "+names", "+along") if flag in arm)
    return with_names if with_names in asked and "+wrong" not in arm else with_names.replace("+names", "")


def spread(values: Sequence[float]) -> Spread:
    """Mean and interval."""
    n = len(values)
    mean = float(np.mean(values)) if n else float("nan")
    half = float(T95.get(n, 2.26) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Spread(mean, half, n)


def curve_of(results: Iterable[Result], figure: str) -> Curve:
    """Random's curve for one stream; ``figure`` names a number of a result."""
    by_budget: dict[float, list[Result]] = {}
    for result in results:
        by_budget.setdefault(result.cell.budget, []).append(result)
    points = sorted(
        (float(np.mean([r.labels for r in some])), float(np.mean([getattr(r, figure) for r in some])))
        for some in by_budget.values()
    )
    best = np.maximum.accumulate([value for _, value in points])
    return Curve(tuple(labels for labels, _ in points), tuple(best.tolist()))


def saving(curve: Curve, labels: float, figure: float) -> float:
    """The share of random's labels that was not needed; negative when more were."""
    return 1.0 - labels / curve.labels_for(figure)


@dataclass(frozen=True, slots=True)
class Book:
    """All results of a run, and the savings they amount to. ``arms``: those that were asked for."""

    results: dict[Cell, Result]
    arms: tuple[str, ...] = ()

    def of(self, stream: str, arm: str, budget: float, delay: int = 0, error: float = 0.0) -> list[Result]:
        """The results of one row of the table, a result per seed."""
        wanted = (stream, arm, budget, delay, error)
        return [r for c, r in self.results.items() if (c.stream, c.arm, c.budget, c.delay, c.error) == wanted]

    def curve(self, stream: str, figure: str, delay: int = 0, error: float = 0.0, arm: str = "random") -> Curve:
        """Random's curve under the same conditions, or another arm's; without points where it has no cells."""
        wanted = (stream, arm, delay, error)
        mine = [r for c, r in self.results.items() if (c.stream, c.arm, c.delay, c.error) == wanted]
        return curve_of(mine, figure)

    def saving(
        self, stream: str, arm: str, budget: float, figure: str = "score", variant: tuple[int, float] = (0, 0.0)
    ) -> Spread:
        """Mean over seeds of the saving, each seed against the mean curve of random with the same learner; of no seed without one."""
        curve = self.curve(stream, figure, *variant, arm=chance(arm, self.arms))
        if not curve.labels:
            return spread([])
        return spread([saving(curve, r.labels, getattr(r, figure)) for r in self.of(stream, arm, budget, *variant)])

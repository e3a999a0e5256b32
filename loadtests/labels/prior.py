"""Labels to 95 % of full accuracy with the names of the classes as a prior: the row whose baseline must be named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

from rich.console import Console
from rich.table import Table

from loadtests.labels.savings import Book, Curve, spread
from loadtests.labels.tables import Figure, figure

BUDGETS = (0.02, 0.05, 0.075, 0.1, 0.2, 0.35)
ALL = 1.0
PART = 0.95  # of the accuracy that all labels give without the prior
HELP = (
    "+auto+names+along"  # all that guards itself: names and unlabelled events, each on while the contest says it helps
)
ARMS = ("random", "random+names", "tiebreak", "tiebreak+names", "random+auto", f"random{HELP}", f"tiebreak{HELP}")
BESIDE = (f"random{HELP}", "random+auto")
GOAL_STREAM, GOAL = "clinc150_lt", 0.75


@dataclass(frozen=True, slots=True)
class Row:
    """Of one stream: ``full`` accuracy of all labels (NaN: without a cell), and the labels to 95 % of it per arm (NaN: not within
    its budgets)."""

    stream: str
    full: float
    labels: dict[str, float]

    def saved(self, arm: str, against: str = "random") -> float:
        """The share of the labels of ``against`` that an arm does without."""
        return 1.0 - self.labels[arm] / self.labels[against]


def reached(curve: Curve, target: float) -> float:
    """The labels at which a curve reaches ``target``, straight over their logarithm; at least its first, NaN beyond its last
    and where there is no curve or no target.

    >>> round(reached(Curve((10.0, 1000.0), (0.4, 0.8)), 0.6)), reached(Curve((10.0,), (0.4,)), 0.6)
    (100, nan)
    """
    return curve.labels_for(target) if curve.figure and target <= curve.figure[-1] else nan


def figures(book: Book, streams: Sequence[str]) -> list[Row]:
    """A row for each stream on which any arm has names."""
    rows = []
    for stream in streams:
        curves = {arm: book.curve(stream, "score", arm=arm) for arm in ARMS}
        if not any(curve.labels for arm, curve in curves.items() if "+names" in arm):
            continue
        full = spread([r.score for r in book.of(stream, "random", ALL)]).mean
        rows.append(Row(stream, full, {arm: reached(curve, PART * full) for arm, curve in curves.items()}))
    return rows


def print_prior(console: Console, rows: Sequence[Row]) -> None:
    """Labels, and what is saved of plain random's; ours with all help beside random with the same, and with its learners alone."""
    if not rows:
        return
    table = Table(
        title=f"Labels to {100 * PART:g} % of the accuracy of all labels (saved of plain random's, in per cent); names: the prior"
    )
    for name in ("stream", "all labels", *ARMS, *(f"saved of {arm}" for arm in BESIDE)):
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        cells = [
            "not reached" if isnan(row.labels[arm]) else f"{row.labels[arm]:.0f} ({100 * row.saved(arm):+.0f})"
            for arm in ARMS
        ]
        beside = [row.saved(f"tiebreak{HELP}", arm) for arm in BESIDE]
        full = "no cell" if isnan(row.full) else f"{100 * row.full:.1f}"
        table.add_row(row.stream, full, *cells, *("" if isnan(saved) else f"{100 * saved:+.0f}" for saved in beside))
    console.print(table)


def goal(rows: Sequence[Row]) -> list[Figure]:
    """The figure with a reach."""
    name = f"labels saved to {100 * PART:g} % of full accuracy with names, {GOAL_STREAM}, against plain random"
    found = [row.saved(f"tiebreak{HELP}") for row in rows if row.stream == GOAL_STREAM]
    return [figure(name, value, GOAL) for value in found]

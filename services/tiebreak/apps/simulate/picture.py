"""The simulation's picture: accuracy per label, and over the stream the accuracy, the thresholds and the bursts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tiebreak.apps.simulate.arms import UNIFORM, Arm, grouped
from tiebreak.apps.simulate.replay import Outcome
from tiebreak.apps.simulate.report import figure
from tiebreak.contracts.errors import ConfigError

# Okabe and Ito's colours: apart for every kind of colour vision, and in print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
_GREY = "#7A7A7A"
_SETTINGS = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tiebreak",
}


def save(arms: Sequence[Arm], outcomes: Sequence[Outcome], title: str, path: Path, credit: str = "accuracy") -> None:
    """Write the picture of a ``credit``; its suffix says the format. Raises ConfigError without matplotlib, or for a bad path."""
    try:
        matplotlib = import_module("matplotlib")
        figures = import_module("matplotlib.figure")
    except ImportError as missing:
        raise ConfigError("A picture needs matplotlib.", fix="pip install 'tiebreak[demo]'") from missing
    with matplotlib.rc_context(_SETTINGS):
        drawn = figures.Figure(figsize=(11.0, 9.0), layout="constrained")
        per_label, over, level = drawn.subplots(3, 1, height_ratios=(3.0, 2.2, 1.4))
        drawn.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        policies = list(dict.fromkeys(arm.policy for arm in arms))
        for policy in policies:
            colour = _GREY if policy == UNIFORM else _COLOURS[policies.index(policy) % len(_COLOURS)]
            _per_label(per_label, arms, outcomes, policy, colour)
            _over_the_stream(over, level, _largest(arms, outcomes, policy), policy, colour)
        _finish((per_label, over, level), outcomes, credit)
        try:
            drawn.savefig(path, dpi=130)
        except (OSError, ValueError) as error:
            raise ConfigError(f"Cannot write {path}: {str(error).splitlines()[0]}") from error


def _per_label(axes: Any, arms: Sequence[Arm], outcomes: Sequence[Outcome], policy: str, colour: str) -> None:
    points = []
    for (name, _), places in grouped(arms).items():
        if name == policy:
            mine = [outcomes[place] for place in places]
            values = [figure(one) for one in mine]
            points.append((np.mean([len(one.asked) for one in mine]), np.mean(values), min(values), max(values)))
    labels, mean, low, high = np.array(sorted(points)).T
    axes.plot(labels, mean, color=colour, marker="o", markersize=4, linewidth=1.8, label=policy)
    axes.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)


def _largest(arms: Sequence[Arm], outcomes: Sequence[Outcome], policy: str) -> Outcome:
    """The first seed at the largest budget: one run can be looked at, a mean of thresholds cannot."""
    mine = [(arm.budget, -arm.seed, place) for place, arm in enumerate(arms) if arm.policy == policy]
    return outcomes[max(mine)[2]]


def _over_the_stream(over: Any, level: Any, outcome: Outcome, policy: str, colour: str) -> None:
    over.plot([p.events for p in outcome.curve], [p.recent for p in outcome.curve], color=colour, linewidth=1.8)
    for at in outcome.bursts.opened:
        over.axvline(at, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
    for at, (why, low, high) in zip(outcome.bursts.closed, outcome.bursts.ended, strict=True):
        over.axvline(at, color=colour, linewidth=0.8, linestyle=(0, (1, 2)))
        told = f"{why}: {100 * low:.0f} to {100 * high:.0f} % wrong"
        over.annotate(told, (at, 0.02), xycoords=("data", "axes fraction"), color=colour, fontsize=7, rotation=90)
    if outcome.thresholds:
        asked, values = zip(*outcome.thresholds, strict=True)
        level.plot(asked, values, color=colour, marker=".", markersize=2.5, linestyle="none", alpha=0.6, label=policy)


def _finish(drawn: tuple[Any, Any, Any], outcomes: Sequence[Outcome], credit: str) -> None:
    per_label, over, level = drawn
    events = len(outcomes[0].predicted)
    held = not np.isnan(outcomes[0].held_out)
    per_label.set_xscale("log")
    per_label.set_xlabel("labels asked for (band: lowest to highest seed)")
    per_label.set_ylabel(f"{credit}, held-out rows" if held else f"{credit} before the label is known")
    per_label.legend(frameon=False)
    over.set_ylabel(f"{credit} since the last point")
    over.set_xlim(0, events)
    level.set_xlim(0, events)
    level.set_ylim(0.0, 1.02)
    level.set_ylabel("threshold reached")
    level.set_xlabel("events (dashed: a burst opens, dotted: it ends, and why; largest budget, first seed)")
    for axes in (per_label, over, level):
        axes.grid(color="#E6E6E6", linewidth=0.8)
        axes.set_axisbelow(True)

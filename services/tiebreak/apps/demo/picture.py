"""The demo's picture: accuracy over the stream, Tiebreak against random, with the drift, the bursts and the models marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiebreak.apps.demo.extras import extra

Curve = NDArray[np.float64]

# Okabe and Ito's colours: apart for every kind of colour vision, and in print.
ACTIVE, RANDOM, MORE, DRIFT, BURST, MODELS, INK = (
    "#0072B2",
    "#7A7A7A",
    "#B0B0B0",
    "#D55E00",
    "#E69F00",
    "#009E73",
    "#333333",
)
_WIDTH, _HEIGHT = 12.0, 6.75
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "tiebreak",
}


@dataclass(frozen=True, slots=True)
class More:
    """A random arm with more labels: ``curve`` ``(n,)``, ``share`` times as many."""

    share: float
    curve: Curve


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn. Curves ``(n,)`` are prequential accuracies over ``window`` events, NaN where no model answered.

    ``random`` ``(seeds, n)`` has the control's curves, ``asked`` the events that people were asked about, in order.
    """

    title: str
    subtitle: str
    window: int
    drift: int
    active: Curve
    random: Curve
    more: More | None
    asked: Sequence[int]
    bursts: Sequence[tuple[int, int]]
    alarms: Sequence[int]
    promotions: Sequence[int]


def save(picture: Picture, folder: Path) -> tuple[Path, Path]:
    """Write ``demo.svg`` and ``demo.png`` into ``folder``; their paths. Raises ConfigError when matplotlib is not installed."""
    matplotlib = extra("matplotlib")
    svg, png = folder / "demo.svg", folder / "demo.png"
    with matplotlib.rc_context(_SETTINGS):
        figure = _figure(picture)
        figure.savefig(svg, metadata={"Date": None})
        figure.savefig(png, dpi=130)
    return svg, png


def _figure(picture: Picture) -> Any:
    # No pyplot: it would look for a display and keep every figure for ever.
    figure = extra("matplotlib.figure").Figure(figsize=(_WIDTH, _HEIGHT))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4.6, 1.0))
    figure.subplots_adjust(left=0.065, right=0.82, top=0.82, bottom=0.085, hspace=0.16)
    figure.text(0.02, 0.94, picture.title, fontsize=17, fontweight="bold")
    figure.text(0.02, 0.895, picture.subtitle, fontsize=11, color="#666666")
    _accuracy(top, picture)
    _labels(bottom, picture)
    _events(top, bottom, picture)
    return figure


def _accuracy(axes: Any, picture: Picture) -> None:
    n = len(picture.active)
    at = np.arange(n)
    low, mean, high = _band(picture.random)
    if picture.more is not None:
        axes.plot(at, picture.more.curve, color=MORE, linewidth=1.1, linestyle=(0, (4, 2)))
    axes.fill_between(at, low, high, color=RANDOM, alpha=0.25, linewidth=0)
    axes.plot(at, mean, color=RANDOM, linewidth=1.8)
    axes.plot(at, picture.active, color=ACTIVE, linewidth=2.4)
    floor = _floor([picture.active, low])
    axes.set_ylim(floor, 1.015)
    axes.set_xlim(0, n)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(f"share right, of the last {picture.window:,} events", loc="left", fontsize=10.5, color="#666666")
    axes.tick_params(axis="x", length=0)
    _name_lines(axes, picture, (floor, 1.015))


def _band(random: Curve) -> tuple[Curve, Curve, Curve]:
    mean = random.mean(axis=0)
    spread = random.std(axis=0, ddof=1) if len(random) > 1 else np.zeros_like(mean)
    return mean - spread, mean, mean + spread


def _floor(curves: Sequence[Curve]) -> float:
    known = np.concatenate([curve[~np.isnan(curve)] for curve in curves])
    lowest = float(known.min()) if len(known) else 0.0
    return float(max(0.0, np.floor(lowest * 20 - 0.5) / 20))


def _name_lines(axes: Any, picture: Picture, span: tuple[float, float]) -> None:
    """A name at the right end of each line, kept apart from its neighbours."""
    names = [(_last(picture.active), ACTIVE, "Tiebreak", "bold")]
    names.append((_last(picture.random.mean(axis=0)), RANDOM, "random, as many\nlabels", "normal"))
    if picture.more is not None:
        names.append(
            (_last(picture.more.curve), "#909090", f"random, {picture.more.share:g} times\nthe labels", "normal")
        )
    names.sort(key=lambda entry: -entry[0])
    step = (span[1] - span[0]) * 0.095
    heights = [height for height, *_ in names]
    for i in range(1, len(heights)):
        heights[i] = min(heights[i], heights[i - 1] - step)
    for height, (value, colour, name, weight) in zip(heights, names, strict=True):
        axes.annotate(
            f"{100 * value:.0f} %  {name}",
            (len(picture.active), height),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            fontweight=weight,
            va="center",
            annotation_clip=False,
        )


def _last(curve: Curve) -> float:
    known = curve[~np.isnan(curve)]
    return float(known[-1]) if len(known) else 0.0


def _labels(axes: Any, picture: Picture) -> None:
    n = len(picture.active)
    steps = np.concatenate([[0], np.sort(np.asarray(picture.asked, int)), [n]])
    counts = np.concatenate([np.arange(len(picture.asked) + 1), [len(picture.asked)]])
    axes.step(steps, counts, where="post", color=ACTIVE, linewidth=1.6)
    axes.set_ylim(0, max(1, len(picture.asked)) * 1.1)
    axes.set_title("questions put to people", loc="left", fontsize=10.5, color="#666666", pad=4)
    axes.set_xlabel("events")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.annotate(
        f"{len(picture.asked):,} of {n:,} events",
        (n, len(picture.asked)),
        xytext=(8, 0),
        textcoords="offset points",
        color=ACTIVE,
        va="center",
        annotation_clip=False,
    )


def _events(top: Any, bottom: Any, picture: Picture) -> None:
    """The drift, the bursts, and a tick for each model that went into service."""
    for axes in (top, bottom):
        axes.axvline(picture.drift, color=DRIFT, linewidth=1.4)
        for first, last in picture.bursts:
            axes.axvspan(first, max(last, first + 60), color=BURST, alpha=0.22, linewidth=0)
    transform = top.get_xaxis_transform()
    _note(top, picture.drift, 0.03, "the world drifts: images turned\nand noisier, and a new class", (DRIFT, "right"))
    if picture.alarms:
        top.plot(
            picture.alarms,
            [0.985] * len(picture.alarms),
            "v",
            color=DRIFT,
            markersize=7,
            transform=transform,
            clip_on=False,
        )
        _note(top, picture.alarms[-1], 0.955, "noticed", (DRIFT, "left"))
    if picture.bursts:
        _note(bottom, picture.bursts[-1][1], 0.08, "a burst: asks more", ("#A86F00", "left"))
    if picture.promotions:
        top.plot(picture.promotions, [0.0] * len(picture.promotions), "|", color=MODELS, markersize=9,
                 markeredgewidth=1.5, transform=transform, clip_on=False)  # fmt: skip
        top.annotate(f"{len(picture.promotions)} models\nwent live", (1.0, 0.0), xycoords="axes fraction", xytext=(8, 0),
                     textcoords="offset points", color=MODELS, va="center", fontsize=10, annotation_clip=False)  # fmt: skip


def _note(axes: Any, x: float, height: float, words: str, look: tuple[str, str]) -> None:
    """Words beside event ``x`` on the side that ``look`` says, at ``height`` in parts of the axes."""
    colour, side = look
    offset = (8, 0) if side == "left" else (-8, 0)
    axes.annotate(words, (x, height), xycoords=axes.get_xaxis_transform(), xytext=offset, textcoords="offset points",
                  color=colour, ha=side, va="bottom", fontsize=10)  # fmt: skip

"""The tables of the label benchmark, and its figures beside the reaches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import isnan

import numpy as np
from rich.console import Console
from rich.table import Table

from loadtests.labels.panel import SATURATED, TUNED_ON
from loadtests.labels.savings import Book, chance, spread

Figure = dict[str, object]

OURS = "tiebreak"
# Stream, budget in per cent, reach: from the project's goals.
REACHES = (
    ("clinc150_lt", 10, 0.55),
    ("clinc150_lt", 20, 0.65),
    ("hwu64", 10, 0.42),
    ("hwu64", 20, 0.52),
    ("nslkdd", 10, 0.60),
    ("nslkdd", 20, 0.70),
    ("outdoor", 5, 0.20),
    ("outdoor", 10, 0.45),
    ("outdoor", 20, 0.70),
)


def print_panel(
    console: Console, book: Book, streams: Sequence[str], arms: Sequence[str], budgets: Sequence[float]
) -> None:
    """Savings of every strategy, a row per stream and budget."""
    title = "Labels saved against random with the same learner at the same figure"
    table = Table(title=f"{title}, in per cent (mean over seeds, ± half of the 95 % interval)")
    table.add_column("stream")
    table.add_column("budget", justify="right")
    for arm in arms:
        table.add_column(arm.removeprefix("ska-"), justify="right", overflow="fold")
    for stream in streams:
        for budget in budgets:
            cells = [_percent(book, stream, arm, budget) for arm in arms]
            if any(cells):
                mark = " *" if stream in TUNED_ON else ""
                table.add_row(f"{stream}{mark}", f"{100 * budget:g} %", *cells)
    for name, pick in (("mean", np.mean), ("worst", np.min)):
        row = [savings(book, streams, arm, budgets) for arm in arms]
        table.add_row(name, "", *(f"{100 * pick(values):+.0f}" if values else "" for values in row))
    console.print(table)
    console.print(
        "* defaults were picked on these. Means leave out saturated streams: " + ", ".join(sorted(SATURATED)) + "."
    )


def print_scores(
    console: Console, book: Book, streams: Sequence[str], arms: Sequence[str], budgets: Sequence[float]
) -> None:
    """What the savings are made of, a row per stream, budget and arm, random's own included."""
    table = Table(
        title="Right, F1 of the rarest fifth, labels out of scope, in per cent; labels spent (mean over seeds)"
    )
    names = ("stream", "budget", "arm", "seeds", "spent", "of", "right", "rare F1", "saved at equal rare F1", "outside")
    for name in names:
        table.add_column(name, justify="left" if name in {"stream", "arm"} else "right")
    beside = dict.fromkeys(name for arm in arms for name in (chance(arm, arms), arm))
    for stream, budget, arm in product(streams, budgets, beside):
        found = book.of(stream, arm, budget)
        if found:
            rare = book.saving(stream, arm, budget, "rare")
            saved = f"{100 * rare.mean:+.0f}" + ("" if isnan(rare.half) else f" ±{100 * rare.half:.0f}")
            spent, granted = np.mean([(r.labels, budget * r.events) for r in found], axis=0)
            right, f1, outside = (_mean([getattr(r, name) for r in found]) for name in ("score", "rare", "outside"))
            table.add_row(
                stream,
                f"{100 * budget:g} %",
                arm,
                str(len(found)),
                f"{spent:.0f}",
                f"{granted:.0f}",
                right,
                f1,
                saved if f1 else "",
                outside,
            )
    console.print(table)


def print_pairs(
    console: Console, book: Book, streams: Sequence[str], arms: Sequence[str], budgets: Sequence[float]
) -> None:
    """What the first arm gets right beyond each other one, seed by seed: pairs share the stream's order, and with it much of chance."""
    table = Table(
        title=f"{arms[0]} beyond the others: points of the share right, by seed (mean ± half of the 95 % interval)"
    )
    for name in ("stream", "budget", "against", "seeds", "beyond", "of each seed"):
        table.add_column(name, justify="left" if name in {"stream", "against"} else "right")
    for stream, budget, arm in product(streams, budgets, arms[1:]):
        mine, theirs = ({r.cell.seed: r.score for r in book.of(stream, one, budget)} for one in (arms[0], arm))
        beyond = [100 * (mine[seed] - theirs[seed]) for seed in sorted(mine.keys() & theirs.keys())]
        if beyond:
            found = spread(beyond)
            half = "" if isnan(found.half) else f" ±{found.half:.1f}"
            each = ", ".join(f"{points:+.1f}" for points in beyond)
            table.add_row(stream, f"{100 * budget:g} %", arm, str(found.seeds), f"{found.mean:+.1f}{half}", each)
    if table.row_count:
        console.print(table)


def _mean(shares: Sequence[float]) -> str:
    return "" if any(map(isnan, shares)) else f"{100 * float(np.mean(shares)):.1f}"


def savings(book: Book, streams: Sequence[str], arm: str, budgets: Sequence[float]) -> list[float]:
    """Of the cells that are there and tell something."""
    values = [book.saving(s, arm, b).mean for s in streams if s not in SATURATED for b in budgets]
    return [value for value in values if not isnan(value)]


def print_variants(
    console: Console,
    book: Book,
    streams: Sequence[str],
    variants: Sequence[tuple[int, float]],
    budgets: Sequence[float],
) -> None:
    """Late answers and wrong answers, each against random under the same conditions; what is there is printed."""
    table = Table(title="Savings with late and with wrong answers, in per cent (share right)")
    for name in ("stream", "delay", "wrong", "arm", *(f"{100 * b:g} %" for b in budgets)):
        table.add_column(name, justify="left" if name == "arm" else "right")
    arms = dict.fromkeys(
        cell.arm
        for cell in book.results
        if (cell.delay, cell.error) in variants and cell.arm != chance(cell.arm, book.arms)
    )
    for stream, (delay, error), arm in product(streams, variants, arms):
        cells = []
        for budget in budgets:
            found = book.of(stream, arm, budget, delay, error)
            if not found:
                cells.append("")
                continue
            right = _mean([r.score for r in found])
            saved = book.saving(stream, arm, budget, variant=(delay, error))
            half = "" if isnan(saved.half) else f" ±{100 * saved.half:.0f}"
            cells.append(f"{100 * saved.mean:+.0f}{half} ({right})")
        if any(cells):
            table.add_row(stream, f"{delay} events", f"{100 * error:g} %", arm, *cells)
    if table.row_count:
        console.print(table)


def figures(book: Book, streams: Sequence[str], arms: Sequence[str], budgets: Sequence[float]) -> list[Figure]:
    """Every figure with a reach that this run can speak of: of the first arm that is ours, with whatever learner it has."""
    own = next((arm for arm in arms if arm.partition("+")[0] == OURS), OURS)
    rows: list[Figure] = []
    for stream, per_cent, reach in REACHES:
        found = book.saving(stream, own, per_cent / 100)
        if found.seeds:
            rows.append(figure(f"saving, {stream} at {per_cent} %", found.mean, reach, found.half))
    for per_cent, reach in ((10, 0.60), (20, 0.70)):
        mine = book.of("clinc150_lt", own, per_cent / 100)
        rare = book.saving("clinc150_lt", own, per_cent / 100, "rare")
        if rare.seeds:
            rows.append(
                figure(
                    f"saving at equal F1 of the rarest fifth, clinc150_lt at {per_cent} %", rare.mean, reach, rare.half
                )
            )
            rows.append(
                figure(f"F1 of the rarest fifth, clinc150_lt at {per_cent} %", float(np.mean([r.rare for r in mine])))
            )
    ours = savings(book, streams, own, budgets)
    if ours:
        rows.append(figure("saving, mean over the panel", float(np.mean(ours)), 0.55))
        rows.append(figure("saving, worst cell", float(np.min(ours)), -0.05))
    theirs = {arm: savings(book, streams, arm, budgets) for arm in arms if arm.startswith("ska-")}
    full = {arm: values for arm, values in theirs.items() if len(values) == len(ours)}
    if full:
        best = max(full, key=lambda arm: float(np.mean(full[arm])))
        ahead = float(np.mean(ours)) - float(np.mean(full[best]))
        rows.append(figure(f"points ahead of the best of scikit-activeml ({best.removeprefix('ska-')})", ahead, 0.20))
    swap = savings(book, ["rbf_abrupt"], own, budgets)
    if swap:
        rows.append(figure("saving after an abrupt swap, worst budget (rbf_abrupt)", float(np.min(swap)), 0.0))
    return rows + _spending(book, own)


def cost_figure(us: float, reach: float) -> Figure:
    """What a decision costs, in microseconds per event."""
    name = "a decision, batches of 1,024, 64 classes, 384-wide embeddings"
    return figure(name, us, reach, smaller=True) | {"unit": "us"}


def _spending(book: Book, arm: str) -> list[Figure]:
    ours = {cell: result for cell, result in book.results.items() if cell.arm == arm}
    rows: list[Figure] = []
    if ours:
        # Labels are whole: on a short stream one of them is more than a per cent.
        off = max(max(0.0, abs(r.labels - c.budget * r.events) - 1.0) / (c.budget * r.events) for c, r in ours.items())
        rows.append(
            figure("budget spent against granted, largest relative gap beyond one label", off, 0.01, smaller=True)
        )
    outside = [r.outside for r in book.of("clinc150_lt", arm, 0.1) if not isnan(r.outside)]
    if outside:
        rows.append(
            figure(
                "labels spent on out-of-scope traffic, clinc150_lt at 10 %", float(np.mean(outside)), 0.08, smaller=True
            )
        )
    return rows


def print_figures(console: Console, rows: Sequence[Figure]) -> None:
    """The figures, their reach, and whether they are there."""
    table = Table(title="Figures and reaches")
    for name in ("figure", "value", "±", "reach", ""):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for row in rows:
        scale, unit = (1.0, " µs") if row["unit"] == "us" else (100.0, " %")
        shown = [
            f"{scale * float(str(row[name])):.1f}{unit}" if row[name] is not None else none
            for name, none in (("value", "not reached"), ("half", ""), ("reach", ""))
        ]
        table.add_row(str(row["figure"]), *shown, {True: "yes", False: "no", None: ""}[row["ok"]])  # type: ignore[index]
    console.print(table)


def figure(
    name: str, value: float, reach: float | None = None, half: float | None = None, *, smaller: bool = False
) -> Figure:
    """A row of the table of figures: a value (NaN: nothing was reached that could be measured), its reach, and whether it is there."""
    ok = None if reach is None else (value <= reach if smaller else value >= reach)
    kept = None if half is None or isnan(half) else half
    return {
        "figure": name,
        "value": None if isnan(value) else value,
        "half": kept,
        "reach": reach,
        "unit": "share",
        "ok": None if ok is None else bool(ok),
    }


def _percent(book: Book, stream: str, arm: str, budget: float) -> str:
    found = book.saving(stream, arm, budget)
    if not found.seeds:
        return ""
    return f"{100 * found.mean:+.0f}" + ("" if isnan(found.half) else f" ±{100 * found.half:.0f}")

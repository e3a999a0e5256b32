"""Labels saved against random and the library peers, on real streams: DATA=folder of .npz, or what packages carry; QUICK=1 is short."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from loadtests.labels import panel, peers
from loadtests.labels.cells import Cell, Store
from loadtests.labels.cost import REACH_US, decision_us
from loadtests.labels.prior import ALL, goal, print_prior
from loadtests.labels.prior import ARMS as PRIOR_ARMS
from loadtests.labels.prior import BUDGETS as PRIOR_BUDGETS
from loadtests.labels.prior import figures as prior_figures
from loadtests.labels.savings import Book, chance
from loadtests.labels.tables import (
    cost_figure,
    figures,
    print_figures,
    print_pairs,
    print_panel,
    print_scores,
    print_variants,
)

BUDGETS = (0.02, 0.05, 0.1, 0.2)
CURVE = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
VARIANTS = ((200, 0.0), (0, 0.05))
VARIANT_BUDGETS = (0.05, 0.1)
PRIOR_CELLS = [
    (arm, budget)
    for arm in PRIOR_ARMS
    # Of all learners there is no cell with all labels: the accuracy to come near to is that of plain random.
    for budget in (PRIOR_BUDGETS if "tiebreak" in arm else CURVE if "+auto" in arm else (*CURVE, ALL))
]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a run was asked for, by environment: DATA, QUICK, SEEDS, STREAMS, ARMS, WORKERS, CACHE; CACHED=1: only what is there.

    ``LARGE=0`` leaves out the last point of random's curve, all labels. ``DELAYS='0 200'``, ``ERRORS='0 0.05'``: every arm with answers
    that come so many events later, of which such a part is wrong, each with each; not set: ours with either, two seeds. ``PRIOR=1``:
    the labels that 95 % of full accuracy takes with the names of the classes, and without, on streams that have names.
    """

    data: Path | None
    quick: bool
    seeds: int
    streams: tuple[str, ...]
    arms: tuple[str, ...]
    workers: int
    cache: Path
    cached_only: bool
    large: bool
    variants: tuple[tuple[int, float], ...] | None
    prior: bool

    @classmethod
    def read(cls, environment: dict[str, str]) -> Ask:
        """From the environment, with defaults."""
        data = Path(environment["DATA"]).resolve() if environment.get("DATA") else None
        quick = environment.get("QUICK", "") not in {"", "0"}
        names = tuple(panel.entries(data))
        streams = tuple(environment.get("STREAMS", "").split()) or (names[:2] if quick else names)
        own = ("tiebreak", "periodic", "river", "pool")
        library = peers.SKACTIVEML_SHORT if quick else peers.SKACTIVEML
        theirs = tuple(f"ska-{name}" for name in library) if peers.have_skactiveml() else ()
        return cls(
            data=data,
            quick=quick,
            seeds=int(environment.get("SEEDS", "1" if quick else "5")),
            streams=streams,
            arms=tuple(environment.get("ARMS", "").split()) or (*own, *theirs),
            workers=int(environment.get("WORKERS", str(os.cpu_count() or 1))),
            cache=Path(environment.get("CACHE", ".cache/bench_labels")),
            cached_only=environment.get("CACHED", "") not in {"", "0"},
            large=environment.get("LARGE", "1") != "0",
            variants=_variants(environment),
            prior=environment.get("PRIOR", "") not in {"", "0"},
        )


def _variants(environment: dict[str, str]) -> tuple[tuple[int, float], ...] | None:
    delays, errors = environment.get("DELAYS", "").split(), environment.get("ERRORS", "").split()
    if not delays and not errors:
        return None
    found = [(int(delay), float(error)) for delay in delays or ["0"] for error in errors or ["0"]]
    for delay, error in found:
        if delay < 0 or not 0.0 <= error < 1.0:
            raise ValueError(f"DELAYS are events, ERRORS shares below 1: {delay} and {error:g} are not")
    return tuple(one for one in found if one != (0, 0.0))


def cells(ask: Ask) -> Iterator[Cell]:
    """The grid, cheapest and most telling first: one seed of everything before the next seed of anything."""
    budgets = BUDGETS[1:3] if ask.quick else BUDGETS
    for seed in range(ask.seeds):
        for stream in ask.streams:
            for baseline in _baselines(ask.arms):
                yield from (Cell(stream, baseline, budget, seed) for budget in (*CURVE, *([ALL] if ask.large else ())))
            for arm in ask.arms:
                if arm == "pool" and not panel.entry(ask.data, stream).held_out:
                    continue
                yield from (Cell(stream, arm, budget, seed) for budget in budgets)
    yield from _variant_cells(ask)
    if ask.prior:
        for seed in range(ask.seeds):
            for stream in ask.streams:
                yield from (Cell(stream, arm, budget, seed) for arm, budget in PRIOR_CELLS)


def _baselines(arms: Sequence[str]) -> Sequence[str]:
    """Random, and random with each other learner that an arm has."""
    return list(dict.fromkeys(["random", *(chance(arm, arms) for arm in arms)]))


def _variant_cells(ask: Ask) -> Iterator[Cell]:
    asked = ask.variants is not None
    arms = [arm for arm in ask.arms if arm != "pool"] if asked else ["tiebreak"]
    for seed in range(ask.seeds if asked else 0 if ask.quick else min(2, ask.seeds)):
        for stream in ask.streams:
            for delay, error in VARIANTS if ask.variants is None else ask.variants:
                for baseline in _baselines(arms):
                    yield from (Cell(stream, baseline, budget, seed, delay, error) for budget in CURVE)
                for arm in arms:
                    yield from (Cell(stream, arm, budget, seed, delay, error) for budget in VARIANT_BUDGETS)


def main() -> int:
    """Compute what is missing, print the tables, write the figures. 1 when a figure misses its reach."""
    ask = Ask.read(dict(os.environ))
    console = Console(width=150)
    if not peers.have_skactiveml():
        console.print("scikit-activeml is not installed: its rows are left out (pip install scikit-activeml==1.0.1).")
    wanted = list(dict.fromkeys(cells(ask)))
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("cells", total=len(wanted))
        store = Store(ask.cache)
        wanted = [cell for cell in wanted if store.get(cell)] if ask.cached_only else wanted
        found = store.all(wanted, ask.data, ask.workers, lambda _: progress.advance(bar))
    book = Book(found, ask.arms)
    print_panel(console, book, ask.streams, ask.arms, BUDGETS)
    print_scores(console, book, ask.streams, ask.arms, BUDGETS)
    print_pairs(console, book, ask.streams, ask.arms, BUDGETS)
    variants = VARIANTS if ask.variants is None else ask.variants
    print_variants(console, book, ask.streams, variants, VARIANT_BUDGETS)
    prior = prior_figures(book, ask.streams) if ask.prior else []
    print_prior(console, prior)
    rows = [*figures(book, ask.streams, ask.arms, BUDGETS), *goal(prior), cost_figure(decision_us(), REACH_US)]
    print_figures(console, rows)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "labels.json").write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2, default=float))
    missed = [row for row in rows if row["ok"] is False]
    judged = [row for row in rows if row["ok"] is not None]
    console.print(f"{len(judged) - len(missed)} of {len(judged)} figures within reach; seeds: {ask.seeds}.")
    return 1 if missed and not ask.quick else 0


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())

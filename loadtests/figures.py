"""Figures and what they must reach: ``thresholds.toml`` in, a table and a JSON file out. Shared by the benchmarks."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: ``reach`` is what was asked in words, ``ok`` None where nobody judges; ``how`` says what it was made of."""

    figure: str
    value: float | None
    reach: str
    ok: bool | None
    how: str = ""


def judged(section: str, name: str, value: float | None, how: str = "", *, judge: bool = True) -> Figure:
    """``value`` against its entry in ``thresholds.toml``. Without a value, or with ``judge`` False, it is not judged."""
    limits = tomllib.loads((HERE / "thresholds.toml").read_text(encoding="utf-8"))[section][name]
    low, high = limits.get("least", float("-inf")), limits.get("most", float("inf"))
    reach = f">= {low:g}" if "least" in limits else f"<= {high:g}"
    ok = low <= value <= high if judge and value is not None else None
    return Figure(name, value, reach, ok, how)


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table(title=title, show_lines=False)
    for column in ("figure", "value", "reach", "", "how"):
        table.add_column(column, overflow="fold")
    for figure in figures:
        value = (
            "-" if figure.value is None else f"{figure.value:,.3g}" if figure.value < 1000 else f"{figure.value:,.0f}"
        )
        mark = {True: "[green]reached[/]", False: "[red]below[/]", None: "not judged"}[figure.ok]
        table.add_row(figure.figure, value, figure.reach, mark if figure.reach else "", figure.how)
    Console(width=150).print(table)


def save(name: str, figures: Sequence[Figure]) -> Path:
    """Write ``results/<name>.json``: a list of ``{"figure", "value", "reach", "ok", "how"}``."""
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n", encoding="utf-8")
    return path

"""The last screen: the summary as a table."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from tiebreak.apps.demo.summary import Against, Summary, headline

Row = tuple[str, str, str]


def table_of(summary: Summary, picture: Path) -> Table:
    """Tiebreak beside random labelling, then what the loop did."""
    table = Table(title=headline(summary), title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("Tiebreak", justify="right", style="bold blue")
    table.add_column(f"random (mean of {summary.seeds})", justify="right", style="dim")
    for row in _compared(summary):
        table.add_row(*row)
    table.add_section()
    for row in _done(summary):
        table.add_row(*row)
    table.add_section()
    table.add_row("picture", str(picture), "")
    return table


def _compared(s: Summary) -> list[Row]:
    return [
        ("labels", f"{s.used:,}", f"{s.used:,}"),
        _accuracy("right, all events", s.overall),
        _accuracy("right, before the drift", s.before),
        _accuracy("right, after the drift", s.after),
        _accuracy("right, last tenth", s.last),
        _accuracy("right on the new class", s.new_class),
        ("labels for that accuracy", f"{s.used:,}", _needed(s)),
        ("events until one of it was labelled", _or_none(s.discovery), _or_none(s.random_discovery)),
    ]


def _accuracy(name: str, a: Against) -> Row:
    return name, f"{100 * a.active:.1f} %", f"{100 * a.random:.1f} ± {100 * a.spread:.1f} %"


def _needed(s: Summary) -> str:
    found, labels = s.needed, s.used
    if found.estimate is not None:
        return f"about {found.estimate * labels:,.0f} ({found.estimate:.1f} times)"
    if found.high is None:
        return f"more than {found.low * labels:,.0f} ({found.low:g} times)"
    return f"{found.high * labels:,.0f} or fewer"


def _or_none(value: float | None) -> str:
    return "never" if value is None else f"{value:,.0f}"


def _done(s: Summary) -> list[Row]:
    alarm = "no alarm" if s.first_alarm is None else f"alarm {s.first_alarm:,} events after it"
    live = "-" if s.label_to_live_s is None else f"{s.label_to_live_s:.1f} s"
    rows = [
        ("events predicted", f"{s.predicted:,} of {s.events:,}", ""),
        ("events per second", f"{s.rate:,.0f}", ""),
        ("questions put to people", f"{s.questions:,} ({100 * s.questions / max(1, s.events):.1f} %)", ""),
        ("labels", f"{s.labels:,}", ""),
        ("drift", f"{alarm}, {s.bursts} burst(s)", ""),
        ("models", f"{s.models} promoted, {s.held} held back", ""),
        ("hot swaps", f"{s.swaps}", ""),
        ("answer to live model, median", live, ""),
        ("walked off with a task", f"{s.walked_off}, {s.recovered} labelled by others", ""),
        ("dead letters", f"{s.dead}", ""),
    ]
    if s.by_hand:
        rows.insert(4, ("labelled by you", f"{s.by_hand}", ""))
    return rows

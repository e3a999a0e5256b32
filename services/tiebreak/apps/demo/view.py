"""The live screen: one picture of the loop, drawn again a few times a second from what is known. Pure but for the drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.align import Align
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tiebreak.apps.demo.journal import Journal, Known
from tiebreak.apps.demo.recording import Recording
from tiebreak.contracts.messages import DriftEvent, ModelEvent, Reason

_BLOCKS = "▁▂▃▄▅▆▇█"
_WINDOW = 1000
_LINE = 30
_SHOWN = 6
_DRIFTS = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """What the screen shows. ``rates`` are events per second of the last moments, oldest first; ``note`` says what goes on."""

    recording: Recording
    journal: Journal
    rates: Sequence[float]
    open_tasks: int
    page: str
    note: str


def render(scene: Scene) -> RenderableType:
    """The whole screen."""
    return Group(
        _header(scene),
        _side_by_side(_loop(scene), Group(_models(scene.recording), _drift(scene.recording))),
        Text.assemble(("  Label beside them:  ", "bold"), (scene.page, "cyan")),
    )


def _side_by_side(left: RenderableType, right: RenderableType) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(ratio=3)
    grid.add_column(ratio=2)
    grid.add_row(left, right)
    return grid


def _header(scene: Scene) -> RenderableType:
    n = len(scene.recording.world)
    phase = "before the drift" if scene.recording.newest < scene.recording.world.drift else "the world has drifted"
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column()
    grid.add_column(ratio=1)
    grid.add_column(justify="right")
    grid.add_row(
        Text("Tiebreak", style="bold"),
        ProgressBar(total=n, completed=scene.recording.predicted),
        f"{scene.recording.predicted:,} of {n:,} events, {phase}",
    )
    return Panel(grid, subtitle=scene.note, subtitle_align="left", border_style="blue")


def _loop(scene: Scene) -> RenderableType:
    r = scene.recording
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value, line in (
        ("events per second", f"{scene.rates[-1]:,.0f}" if scene.rates else "-", sparkline(scene.rates)),
        ("right, last 1,000", _percent(_recent(r)), sparkline(_course(r))),
        ("uncertainty", f"{_uncertainty(r)[-1]:.3f}" if r.newest >= 0 else "-", sparkline(_uncertainty(r))),
        ("asked", f"{len(r.asked):,}", _reasons(r)),
        ("waiting for people", f"{scene.open_tasks:,}", ""),
        ("answered", f"{scene.journal.count('submit', Known.OK) + _by_hand(scene):,}", _answers(scene)),
        ("labels", f"{len(r.settled):,}", ""),
        ("dead letters", f"{r.dead}", ""),
    ):
        table.add_row(Text(name, style="dim"), Align.right(Text(value, style="bold")), Text(line, style="blue"))
    return Panel(table, title="the loop", title_align="left", border_style="bright_black")


def _models(r: Recording) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    verdicts = [m for m in r.models if m.event in {ModelEvent.PROMOTED, ModelEvent.HELD, ModelEvent.ROLLED_BACK}]
    for model in verdicts[-_SHOWN:]:
        promoted = model.event is not ModelEvent.HELD
        serving = promoted and model.version == r.versions[-1]
        style = "bold green" if serving else "green" if promoted else "yellow"
        said = "serving" if serving else model.event.value
        made_from = Text(f"data set {model.dataset_version}")
        table.add_row(Text(model.version, style=style), made_from, Text(said, style=style))
    if not verdicts:
        table.add_row(Text("none yet: the first questions are chosen by chance", style="dim"))
    return Panel(table, title=f"models ({len(verdicts)})", title_align="left", border_style="bright_black")


def _drift(r: Recording) -> RenderableType:
    words = {
        DriftEvent.WARNING: ("warning", "yellow"),
        DriftEvent.ALARM: ("drift", "bold red"),
        DriftEvent.BURST_OPENED: ("burst opened", "bold yellow"),
        DriftEvent.BURST_CLOSED: ("burst over", "dim"),
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for record in r.drift[-_DRIFTS:]:
        word, style = words[record.event]
        at = r.where(record)
        where = f"at {at:,}" if at is not None else ""
        told = f"{record.detector} {record.signal}".strip()
        if record.ended:
            told = f"{record.ended}: {100 * record.error_low:.0f} to {100 * record.error_high:.0f} % wrong"
        table.add_row(Text(word, style=style), where, Text(told, style="dim"))
    if not r.drift:
        table.add_row(Text("quiet", style="dim"))
    return Panel(table, title="drift", title_align="left", border_style="bright_black")


def line_of(scene: Scene) -> str:
    """The screen as one line, for a log."""
    r = scene.recording
    return (
        f"{r.predicted:>6,} of {len(r.world):,} events  right {_percent(_recent(r))}  asked {len(r.asked):,}  "
        f"labels {len(r.settled):,}  models {len(r.versions) - 1}  bursts {len(r.bursts())}  {scene.note}"
    )


def sparkline(values: Sequence[float]) -> str:
    """The last values as blocks, the largest the highest, zero the lowest.

    >>> sparkline([0.0, 1.0, 2.0])
    '▁▄█'
    """
    shown = [max(0.0, v) for v in values[-_LINE:]]
    top = max(shown, default=0.0)
    return "".join(_BLOCKS[int(v / top * (len(_BLOCKS) - 1) + 1e-9)] if top else _BLOCKS[0] for v in shown)


def _recent(r: Recording) -> float | None:
    start = max(0, r.newest + 1 - _WINDOW)
    counted = r.modelled[start : r.newest + 1]
    return float(r.right[start : r.newest + 1][counted].mean()) if counted.any() else None


def _course(r: Recording) -> list[float]:
    """Accuracy in equal steps from the first event to the newest."""
    return [
        float(r.right[part][r.modelled[part]].mean()) if r.modelled[part].any() else 0.0
        for part in np.array_split(np.arange(max(0, r.newest + 1)), _LINE)
    ]


def _uncertainty(r: Recording) -> list[float]:
    parts = np.array_split(np.arange(max(0, r.newest + 1)), _LINE)
    return [float(r.uncertainty[part][r.modelled[part]].mean()) if r.modelled[part].any() else 0.0 for part in parts]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _reasons(r: Recording) -> str:
    counts = dict.fromkeys(Reason, 0)
    for asked in list(r.asked.values()):
        counts[asked.reason] += 1
    return "  ".join(f"{reason.value.replace('_', ' ')} {count}" for reason, count in counts.items() if count)


def _answers(scene: Scene) -> str:
    by_hand, gone = _by_hand(scene), scene.journal.count("walk_off")
    parts = [f"{gone} walked off" if gone else "", f"{by_hand} by you" if by_hand else ""]
    return "  ".join(part for part in parts if part)


def _by_hand(scene: Scene) -> int:
    return scene.recording.by_others({e.annotator for e in scene.journal.entries})

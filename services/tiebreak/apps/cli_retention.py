"""`tiebreak retention`: how long things are kept, and how far that has come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.table import Table

from tiebreak.apps import cli_options as o
from tiebreak.apps.auditing import open_trail
from tiebreak.apps.wiring import specs_of
from tiebreak.contracts.project import Project
from tiebreak.contracts.retention import horizons_in
from tiebreak.contracts.topics import DAY_MS, Topic
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options

_HOLDS: Mapping[Topic, str] = {
    Topic.EVENTS: "what producers sent, unmasked",
    Topic.PREDICTIONS: "what the model said",
    Topic.DEAD: "what could not be read, unmasked",
    Topic.TASKS: "what people are shown; the queue and gold too",
    Topic.ANNOTATIONS: "what people said; their histories too",
    Topic.LABELS: "what it came to, with features; the ledger and exports too",
}


def retention(project: o.ProjectFile, kafka: o.Kafka = None, redis: o.Redis = None, data: o.Data = None) -> None:
    """How long everything that may be about people is kept (`privacy.retention`), and before which moment it is gone.

    The topics end by themselves. What is built from them (queue, ledger, exports) heeds the audit trail, on which `tiebreak label`
    and `tiebreak train` put each moment that is due, while they run; nothing older comes back from the topics.

    [bold]Example[/bold]

        tiebreak retention project.yaml
    """
    loaded, settings = load_project(project), o.settings_of(Options(kafka, redis, data))

    async def gone() -> Mapping[Topic, int]:
        async with open_trail(loaded, settings, SystemClock()) as trail:
            return horizons_in(await trail.sound())

    ordered = o.run(gone())
    table = Table("topic", "kept", "gone before", "holds")
    for topic, holds in _HOLDS.items():
        table.add_row(topic.value, _kept(loaded, topic), _when(ordered.get(topic)), holds)
    Console().print(table)
    late = [
        t.value for t, due in loaded.privacy.retention.horizons(SystemClock().wall()).items() if due > ordered.get(t, 0)
    ]
    if late:
        typer.echo(
            f"Due and not ordered yet: {', '.join(late)}. `tiebreak label` and `tiebreak train` do it within a minute."
        )


def _kept(project: Project, topic: Topic) -> str:
    ordered = project.privacy.retention.ordered_ms().get(topic)
    spec = next(spec for spec in specs_of(project) if spec.name == topic.of(project.project))
    kept_ms = spec.retention_ms if ordered is None else ordered
    return "for ever" if kept_ms is None else f"{kept_ms / DAY_MS:.4g} days"


def _when(before_ms: int | None) -> str:
    return "" if before_ms is None else datetime.fromtimestamp(before_ms / 1000, UTC).isoformat(timespec="minutes")

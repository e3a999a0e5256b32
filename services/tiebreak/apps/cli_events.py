"""Commands about events and what became of them: `produce`, `predictions`, `dead`, `explain`."""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tiebreak.apps import cli_options as o
from tiebreak.apps.journey import Journey, story
from tiebreak.apps.producing import Pace, Produced, produce
from tiebreak.apps.row_files import Format, Row, RowFile, open_rows
from tiebreak.apps.scanning import readable, scan, tail
from tiebreak.apps.stream import MODELS_FOLDER
from tiebreak.apps.wiring import open_log
from tiebreak.contracts.codec import decode_dead, decode_prediction
from tiebreak.contracts.errors import ModelRefused, NotFound
from tiebreak.contracts.log import Log, Record
from tiebreak.contracts.messages import DeadLetter, Prediction
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.files import FileModelStore
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, Settings

_SHOWN_BAD = 20


def produce_command(
    project: o.ProjectFile,
    file: Annotated[
        str, typer.Argument(help="CSV, JSON Lines or Parquet; - reads standard input.", show_default=False)
    ],
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
    format: Annotated[Format | None, typer.Option(help="Instead of what the suffix says.")] = None,  # noqa: A002
    rate: Annotated[
        float, typer.Option(min=0, help="Events per second at most; 0: as fast as the log takes them.")
    ] = 0.0,
    limit: Annotated[int, typer.Option(min=0, help="Stop after this many events; 0: all.")] = 0,
) -> None:
    """Write events from a file or from standard input.

    [bold]Examples[/bold]

        tiebreak produce project.yaml events.jsonl
        tiebreak produce project.yaml payments.csv --rate 200
        cat events.jsonl | tiebreak produce project.yaml -

    `tiebreak project check` prints an event of your project as a line of JSON; a table has its parts in columns.

    A bad line is named by its number and skipped; the exit code is 1 if there was one. The same file again is a replay and
    changes nothing. When the log acknowledges nothing for half a minute it ends with exit code 3 and says how far it came;
    what comes from standard input cannot be read again, so it is kept and sent once the log is well.
    """
    loaded = load_project(project)
    settings = o.settings_of(Options(kafka, redis, data))
    pace = Pace(rate, limit)
    if file == "-":
        pace = replace(pace, patience_s=math.inf)
    with open_rows(file, format, loaded, sys.stdin.buffer) as rows:
        produced = o.run(_produce(loaded, settings, rows, pace))
    Console(stderr=True).print(f"{produced.sent} events written, {produced.bad} bad lines skipped.", highlight=False)
    if produced.bad:
        raise typer.Exit(1)


async def _produce(project: Project, settings: Settings, rows: RowFile, pace: Pace) -> Produced:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[sent]} events"),
    )
    async with open_log(settings) as log:
        writer = log.writer()
        await writer.start()
        with Progress(*columns, TimeElapsedColumn(), console=console, disable=not o.interactive()) as bar:
            task = bar.add_task("producing", total=rows.total, sent=0)

            def tell(produced: Produced, bad: Row | None) -> None:
                bar.update(task, completed=produced.done, sent=produced.sent)
                if bad is not None and produced.bad <= _SHOWN_BAD:
                    more = " (further ones are only counted)" if produced.bad == _SHOWN_BAD else ""
                    console.print(
                        f"line {bad.number}: {bad.event}{more}", highlight=False, markup=False, soft_wrap=True
                    )

            try:
                return await produce(rows.rows, project, writer, SystemClock(), pace, tell)
            finally:
                await writer.close(5.0)


def predictions(
    project: o.ProjectFile,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
    all_: Annotated[
        bool, typer.Option("--all", help="What is there already, then stop, instead of what comes.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Stop after this many; 0: never.")] = 0,
    selected: Annotated[bool, typer.Option("--selected", help="Only events that people are asked about.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """Watch predictions as they come; --all shows those that are there.

    [bold]Examples[/bold]

        tiebreak predictions project.yaml --all
        tiebreak predictions project.yaml
        tiebreak predictions project.yaml --all --json | jq .label
    """
    loaded = load_project(project)
    settings = o.settings_of(Options(kafka, redis, data))
    wanted: Callable[[Prediction], bool] = (lambda p: p.selected) if selected else (lambda _p: True)

    async def work() -> None:
        async with open_log(settings) as log:
            shown = 0
            if not all_:
                typer.echo("Waiting for what comes from now on; --all shows what is there. Ctrl-C ends this.", err=True)
            async for record in _records(log, loaded, Topic.PREDICTIONS, all_):
                prediction = readable(decode_prediction, record)
                if prediction is None or not wanted(prediction):
                    continue
                typer.echo(_as_json(prediction) if as_json else _prediction_line(prediction))
                shown += 1
                if shown == limit:
                    return
            if not shown:
                typer.echo("There are none yet. `tiebreak stream` and `tiebreak up` make them of events.", err=True)

    o.run(work())


def dead(
    project: o.ProjectFile,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
    limit: Annotated[int, typer.Option(min=0, help="Stop after this many; 0: all.")] = 100,
    as_json: o.AsJson = False,
) -> None:
    """Show the records that could not be processed, with the reason and where they came from.

    [bold]Examples[/bold]

        tiebreak dead project.yaml
        tiebreak dead project.yaml --json | jq -r .raw | base64 -d     # the bytes as they came
    """
    loaded = load_project(project)
    settings = o.settings_of(Options(kafka, redis, data))

    async def work() -> None:
        async with open_log(settings) as log:
            shown = 0
            async for record in scan(log, loaded.project, [Topic.DEAD]):
                letter = readable(decode_dead, record)
                if letter is None:
                    continue
                typer.echo(_as_json(letter) if as_json else _dead_line(letter))
                shown += 1
                if shown == limit:
                    return
            if not shown:
                typer.echo("Nothing was set aside.", err=True)

    o.run(work())


def explain(
    project: o.ProjectFile,
    event_id: Annotated[str, typer.Argument(help="The producer's id, or TOPIC/PARTITION/OFFSET.", show_default=False)],
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Tell one event's whole journey: score, threshold, reason, propensity, task, votes, label, models trained on it.

    [bold]Example[/bold]

        tiebreak explain project.yaml digit-000041
    """
    loaded = load_project(project)
    settings = o.settings_of(Options(kafka, redis, data))
    journey = o.run(_journey(loaded, settings, event_id))
    if not journey.known:
        raise NotFound(
            f"No topic of project {loaded.project} knows event {event_id!r}.", fix="Was it produced, and kept?"
        )
    for what, words in story(journey):
        typer.echo(f"{what:>10}  {words}")


async def _journey(project: Project, settings: Settings, event_id: str) -> Journey:
    journey = Journey(project.project, event_id, project.labeling)
    topics = [Topic.PREDICTIONS, Topic.TASKS, Topic.ANNOTATIONS, Topic.LABELS, Topic.MODELS, Topic.DEAD]
    async with open_log(settings) as log:
        async for record in scan(log, project.project, topics):
            journey.take(record)
    store = FileModelStore(settings.data_dir / MODELS_FOLDER)
    for version in await store.versions(project.project):
        try:
            journey.take_manifest(await store.manifest(project.project, version))
        except (NotFound, ModelRefused):
            continue  # damaged or just removed: the others still tell
    return journey


def _records(log: Log, project: Project, topic: Topic, past: bool) -> AsyncIterator[Record]:
    return scan(log, project.project, [topic]) if past else tail(log, project.project, topic)


def _as_json(message: Any) -> str:
    return json.dumps(asdict(message), default=_plain, separators=(",", ":"))


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _clock(time_ms: int) -> str:
    text = o.moment(time_ms, "milliseconds")
    return text[11:23] if "T" in text else text


def _prediction_line(p: Prediction) -> str:
    best = f"{p.label} {max(p.probabilities):.3f}" if p.probabilities else "-"
    asked = "  asked" if p.selected else ""
    return f"{_clock(p.time_ms)}  {p.event_id}  {best}  {p.uncertainty_kind} {p.uncertainty:.4f}  {p.model_version or '-'}{asked}"


def _dead_line(d: DeadLetter) -> str:
    return (
        f"{_clock(d.time_ms)}  {d.topic}/{d.partition}/{d.offset}  {d.reason.value}: {d.detail}  ({len(d.raw)} bytes)"
    )

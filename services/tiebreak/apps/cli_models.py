"""Commands about models: `tiebreak models list | at | show | diff | promote | rollback | pin | unpin`."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tiebreak.apps import cli_options as o
from tiebreak.apps.auditing import on_record
from tiebreak.apps.deploying import open_deployer, store_of
from tiebreak.contracts.audit import Action
from tiebreak.contracts.errors import Invalid, NotFound
from tiebreak.contracts.messages import Manifest, ModelRecord
from tiebreak.deployment.registry import Registry, served_at
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options

models_app = typer.Typer(no_args_is_help=True, help="What was trained, what serves, and your word on it.")

Version = Annotated[str, typer.Argument(help="A version, as `models list` shows it.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why: it is kept with the decision.")]
By = Annotated[str, typer.Option(help="Who decides. [default: your user name]")]


@models_app.command("list")
def list_models(
    project: o.ProjectFile,
    at: Annotated[
        str, typer.Option(help="Only say what served at this time (ISO 8601, UTC unless it says otherwise).")
    ] = "",
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Every decision about models, oldest first; the one that serves is marked.

    [bold]Example[/bold]

        tiebreak models list project.yaml
        tiebreak models list project.yaml --at 2026-11-23T14:00
    """
    registry = _registry(project, Options(kafka, redis, data))
    if at:
        _say_served(registry, at)
        return
    newest = served_at(registry.history)
    for record in registry.history:
        typer.echo(_line(record, "*" if record is newest else " "))
    if not registry.history:
        typer.echo("No model yet: the trainer makes the first one from the first labels.", err=True)
    if registry.pinned:
        typer.echo(f"{registry.champion} is pinned by {registry.pinned}.", err=True)


@models_app.command("at")
def at_time(
    project: o.ProjectFile,
    time: Annotated[str, typer.Argument(help="ISO 8601, UTC unless it says otherwise.", show_default=False)],
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Which model served at a time, since when, and by whose decision.

    [bold]Example[/bold]

        tiebreak models at project.yaml 2026-11-26T10:00
    """
    _say_served(_registry(project, Options(kafka, redis, data)), time)


@models_app.command("show")
def show(
    project: o.ProjectFile,
    version: Version,
    as_json: o.AsJson = False,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """One model: what it was made from, how it did and against whom, and every decision about it with its reasons.

    [bold]Example[/bold]

        tiebreak models show project.yaml v000120-1f2e3d4c
    """
    options = Options(kafka, redis, data)
    registry = _registry(project, options)
    manifest = _manifest(project, options, version)
    records = [record for record in registry.history if record.version == version]
    report: dict[str, Any] = next((json.loads(r.report) for r in reversed(records) if r.report), {})
    if as_json:
        said = {
            "manifest": asdict(manifest),
            "report": report,
            "decisions": [asdict(r) | {"report": ""} for r in records],
        }
        typer.echo(json.dumps(said, ensure_ascii=False))
        return
    console = Console()
    table = Table(title=f"{version}{' (serves)' if version == registry.champion else ''}", show_header=False)
    for name, value in {**_facts(manifest), **_figures(report)}.items():
        table.add_row(name, value)
    console.print(table)
    for record in records:
        typer.echo(_line(record, " "))


@models_app.command("diff")
def diff(
    project: o.ProjectFile,
    one: Version,
    other: Version,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Two models side by side: labels that only one of them learned from, and every figure.

    [bold]Example[/bold]

        tiebreak models diff project.yaml v000120-1f2e3d4c v000145-5a6b7c8d
    """
    options = Options(kafka, redis, data)
    left, right = _manifest(project, options, one), _manifest(project, options, other)
    table = Table("", one, other)
    for name, value in _facts(left).items():
        table.add_row(name, value, _facts(right)[name])
    only_left, only_right = set(left.label_ids) - set(right.label_ids), set(right.label_ids) - set(left.label_ids)
    table.add_row("labels only here", str(len(only_left)), str(len(only_right)))
    for name in sorted({*left.metrics, *right.metrics}):
        table.add_row(name, _number(left.metrics.get(name)), _number(right.metrics.get(name)))
    Console().print(table)


@models_app.command("promote")
def promote(
    project: o.ProjectFile,
    version: Version,
    reason: Reason = "by hand",
    by: By = "",
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Let this version serve, whatever the gate said. It takes effect at the scorers' next batch.

    [bold]Example[/bold]

        tiebreak models promote project.yaml v000120-1f2e3d4c --reason "the audit labels were wrong"
    """
    loaded, settings = load_project(project), o.settings_of(Options(kafka, redis, data))

    async def work() -> None:
        async with open_deployer(loaded, settings) as deployer:
            await on_record(loaded, settings, by, Action.MODEL_PROMOTED, version, reason)
            await deployer.promote(version, by or getpass.getuser(), reason)

    o.run(work())
    typer.echo(f"{version} serves.")


@models_app.command("rollback")
def rollback(
    project: o.ProjectFile,
    reason: Reason = "by hand",
    by: By = "",
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Let the model before the present one serve again, from the next batch on: the scorers still have it in memory.

    [bold]Example[/bold]

        tiebreak models rollback project.yaml --reason "complaints since noon"
    """
    loaded, settings = load_project(project), o.settings_of(Options(kafka, redis, data))

    async def work() -> str:
        async with open_deployer(loaded, settings) as deployer:
            await on_record(loaded, settings, by, Action.MODEL_ROLLED_BACK, loaded.project, reason)
            return await deployer.rollback(by or getpass.getuser(), reason)

    typer.echo(f"{o.run(work())} serves again.")


@models_app.command("pin")
def pin(
    project: o.ProjectFile,
    reason: Reason = "by hand",
    by: By = "",
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Keep what serves until `models unpin`: candidates are judged and held, and nothing rolls back by itself.

    [bold]Example[/bold]

        tiebreak models pin project.yaml --reason "demo today"
    """
    _mark(project, Options(kafka, redis, data), (by, reason), pinned=True)


@models_app.command("unpin")
def unpin(
    project: o.ProjectFile,
    reason: Reason = "by hand",
    by: By = "",
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Let the gate decide again.

    [bold]Example[/bold]

        tiebreak models unpin project.yaml
    """
    _mark(project, Options(kafka, redis, data), (by, reason), pinned=False)


def _mark(project: o.ProjectFile, options: Options, word: tuple[str, str], *, pinned: bool) -> None:
    loaded, settings = load_project(project), o.settings_of(options)
    who, reason = word[0] or getpass.getuser(), word[1]

    async def work() -> str:
        async with open_deployer(loaded, settings) as deployer:
            deed = Action.MODEL_PINNED if pinned else Action.MODEL_UNPINNED
            await on_record(loaded, settings, who, deed, loaded.project, reason)
            return await (deployer.pin(who, reason) if pinned else deployer.unpin(who, reason))

    version = o.run(work())
    typer.echo(f"{version} is pinned." if pinned else f"{version} serves until the gate decides otherwise.")


def _say_served(registry: Registry, at: str) -> None:
    found = registry.served_at(_milliseconds(at))
    if found is None:
        raise NotFound(f"No model served at {at}.")
    typer.echo(_line(found, "*"))


def _registry(project: o.ProjectFile, options: Options) -> Registry:
    loaded, settings = load_project(project), o.settings_of(options)

    async def work() -> Registry:
        async with open_deployer(loaded, settings) as deployer:
            return await deployer.registry()

    return o.run(work())


def _manifest(project: o.ProjectFile, options: Options, version: str) -> Manifest:
    loaded, settings = load_project(project), o.settings_of(options)
    return o.run(store_of(settings).manifest(loaded.project, version))


def _line(record: ModelRecord, mark: str) -> str:
    why = "; ".join(record.reasons)
    who = f"by {record.decided_by}" if record.decided_by else ""
    parts = (_when(record.time_ms), record.version, record.event.value, f"data set {record.dataset_version}", who, why)
    return f"{mark} {'  '.join(part for part in parts if part)}"


def _facts(manifest: Manifest) -> dict[str, str]:
    return {
        "made": _when(manifest.created_ms),
        "data set version": str(manifest.dataset_version),
        "labels that trained it": str(len(manifest.label_ids)),
        "compared with": manifest.parent or "nothing",
        "classes": str(len(manifest.classes)),
        "bytes": str(manifest.size_bytes),
        "sha256": manifest.sha256[:16],
    }


def _figures(report: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    names = {
        "accuracy": "accuracy (audit)",
        "left_out_accuracy": "accuracy (left out)",
        "champion_accuracy": "champion (audit)",
    }
    for key, name in names.items():
        interval = report.get(key)
        if interval and interval["n"]:
            found[name] = _interval(interval)
    for name, interval in report.get("per_class", {}).items():
        found[f"class {name}"] = _interval(interval)
    return found | {name: _number(value) for name, value in report.get("metrics", {}).items()}


def _interval(interval: Mapping[str, float]) -> str:
    return f"{interval['estimate']:.3f}  ({interval['low']:.3f} to {interval['high']:.3f}, {interval['n']:g} labels)"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _when(time_ms: int) -> str:
    return o.moment(time_ms)


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is not a time.", fix="Write it like 2026-11-23T14:00.") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)

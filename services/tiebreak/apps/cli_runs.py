"""Commands about training runs: `tiebreak runs list | show | compare`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Column, Table

from tiebreak.apps import cli_options as o
from tiebreak.apps.deploying import open_deployer
from tiebreak.apps.recording_runs import RUNS_FOLDER
from tiebreak.contracts.errors import ConfigError, Invalid, Unreachable
from tiebreak.deployment.files_runs import RunFiles, audit_labels
from tiebreak.deployment.outcomes import Outcomes
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options

_VERSION_WIDTH = len("v000001-12345678")
runs_app = typer.Typer(no_args_is_help=True, help="What was trained: parameters, figures, curves, model cards.")
_CURVES = ("accuracy", "nll", "entropy", "calibration_error")

Run = Mapping[str, Any]


@runs_app.command("list")
def list_runs(project: o.ProjectFile, kafka: o.Kafka = None, redis: o.Redis = None, data: o.Data = None) -> None:
    """Every run, oldest first: labels, and on audit labels accuracy, NLL, and how far entropy fell against the champion.

    Then what became of them: which came to serve, retrain success, deployment regret, the promoted models' NLL and entropy drop.

    [bold]Example[/bold]

        tiebreak runs list project.yaml
    """
    # A version that is cut short cannot be given to `runs show`: on 80 columns the figures' heads fold instead.
    heads = ("", "labels", "audit", "accuracy", "nll", "entropy", "entropy drop")
    table = Table(
        Column("version", min_width=_VERSION_WIDTH, no_wrap=True),
        *heads,
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    found = _runs(project, data)
    outcomes = _outcomes(project, Options(kafka, redis, data)) if found else None
    for run in found:
        drop = _drop(run["report"]["metrics"])
        cells = [_number(_figure(run, name)) for name in _CURVES[:3]]
        fate = _fate(outcomes, run["version"])
        table.add_row(run["version"], fate, str(run["labels"]), str(audit_labels(run)), *cells, _percent(drop))
    Console().print(table)
    for line in _said(outcomes) if outcomes is not None else ():
        typer.echo(line)


@runs_app.command("show")
def show(
    project: o.ProjectFile,
    version: Annotated[str, typer.Argument(help="A run, as `runs list` shows it.", show_default=False)],
    data: o.Data = None,
) -> None:
    """The model card of one run.

    [bold]Example[/bold]

        tiebreak runs show project.yaml v000120-1f2e3d4c
    """
    files, name = _files(project, data)
    Console().print(Markdown(files.card(name, version)))


@runs_app.command("compare")
def compare(
    project: o.ProjectFile,
    versions: Annotated[
        list[str] | None, typer.Argument(help="The runs to compare. [default: all]", show_default=False)
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this .png or .svg.")] = None,
    data: o.Data = None,
) -> None:
    """Runs side by side: the parameters that differ, every figure, and their curves over the labels.

    [bold]Example[/bold]

        tiebreak runs compare project.yaml v000120-1f2e3d4c v000145-5a6b7c8d
        tiebreak runs compare project.yaml --plot curves.png
    """
    found = _runs(project, data, versions or ())
    if not found:
        raise Invalid("There are no runs yet.", fix="The trainer records one with each candidate.")
    table = Table("", *(run["version"] for run in found))
    parameters = sorted({name for run in found for name in run["parameters"]})
    for name in parameters:
        values = [str(run["parameters"].get(name)) for run in found]
        if len(set(values)) > 1:
            table.add_row(name, *values)
    for name in sorted({"accuracy", *(name for run in found for name in run["report"]["metrics"])}):
        table.add_row(name, *(_number(_figure(run, name)) for run in found))
    Console().print(table)
    if plot is not None:
        draw(found, plot)
        typer.echo(f"Curves drawn in {plot}.")


def draw(runs: Sequence[Run], out: Path) -> None:
    """Each figure over the labels in the data set. Raises ConfigError without matplotlib, or for a format that it has not."""
    try:
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ConfigError("Drawing needs matplotlib.", fix="Install the extra `demo`, or leave --plot out.") from error
    figure, axes = pyplot.subplots(1, len(_CURVES), figsize=(4.2 * len(_CURVES), 3.2), layout="constrained")
    for axis, name in zip(axes, _CURVES, strict=True):
        points = [(run["dataset_version"], value) for run in runs if (value := _figure(run, name)) is not None]
        axis.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3)
        axis.set_title(name.replace("_", " "))
        axis.set_xlabel("data set version")
    try:
        figure.savefig(out)
    except ValueError as error:
        raise ConfigError(f"Cannot draw {out}: {error}.", fix="Call it .png or .svg.") from error
    finally:
        pyplot.close(figure)


def _figure(run: Run, name: str) -> float | None:
    report = run["report"]
    if name == "accuracy":
        return float(report["accuracy"]["estimate"]) if report["accuracy"]["n"] else None
    value = report["metrics"].get(name)
    return None if value is None else float(value)


def _drop(metrics: Mapping[str, float]) -> float | None:
    before, after = metrics.get("champion_entropy"), metrics.get("entropy")
    return None if not before or after is None else 1.0 - after / before


def _outcomes(project: Path, options: Options) -> Outcomes | None:
    loaded, settings = load_project(project), o.settings_of(options)

    async def work() -> Outcomes:
        async with open_deployer(loaded, settings) as deployer:
            return await deployer.outcomes()

    try:
        return o.run(work())
    except Unreachable as error:
        # The runs are files and can be read all the same.
        typer.echo(f"What became of them is not known: {error}", err=True)
        return None


def _fate(outcomes: Outcomes | None, version: str) -> str:
    if outcomes is None or version not in outcomes.judged | outcomes.served:
        return ""
    if version == outcomes.serving:
        return "serves"
    if version in outcomes.regretted:
        return "taken back"
    return "served" if version in outcomes.served else "held"


def _said(outcomes: Outcomes) -> Iterator[str]:
    served, judged = outcomes.served, outcomes.judged | outcomes.served
    if outcomes.retrain_success is not None:
        yield f"Retrain success: {outcomes.retrain_success:.1%} ({len(served)} of {len(judged)} models came to serve)."
    if outcomes.regret is not None:
        yield f"Deployment regret: {outcomes.regret:.1%} ({len(outcomes.regretted)} of {len(served)} were taken back)."
    drops = sum(1 for one in outcomes.promoted if one.entropy_drop is not None)
    if drops:
        yield f"Median entropy drop per promoted model: {_percent(outcomes.median_entropy_drop)} of {drops}."
    newest = outcomes.promoted[-1] if outcomes.promoted else None
    if newest is not None and newest.nll is not None:
        yield f"Held-out NLL of the newest promoted model, {newest.version}: {newest.nll:.4g} nats."


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _files(project: Path, data: str | None) -> tuple[RunFiles, str]:
    loaded = load_project(project)
    return RunFiles(o.settings_of(Options(data=data)).data_dir / RUNS_FOLDER), loaded.project


def _runs(project: Path, data: str | None, versions: Sequence[str] = ()) -> list[Run]:
    files, name = _files(project, data)
    return [files.read(name, version) for version in versions or files.versions(name)]

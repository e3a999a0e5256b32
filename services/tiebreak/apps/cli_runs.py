"""Commands about training runs: `tiebreak runs list | show | compare`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from tiebreak.apps import cli_options as o
from tiebreak.apps.recording_runs import RUNS_FOLDER
from tiebreak.contracts.errors import ConfigError, Invalid
from tiebreak.deployment.files_runs import RunFiles
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options

runs_app = typer.Typer(no_args_is_help=True, help="What was trained: parameters, figures, curves, model cards.")
_CURVES = ("accuracy", "nll", "entropy", "calibration_error")

Run = Mapping[str, Any]


@runs_app.command("list")
def list_runs(project: o.ProjectFile, data: o.Data = None) -> None:
    """Every run, oldest first: labels, and on audit labels accuracy, NLL, and how far entropy fell against the champion.

    [bold]Example[/bold]

        tiebreak runs list project.yaml
    """
    table = Table("version", "labels", "audit", "accuracy", "nll", "entropy", "entropy drop")
    drops = []
    for run in _runs(project, data):
        metrics = run["report"]["metrics"]
        drop = _drop(metrics)
        drops += [] if drop is None else [drop]
        audit = run["report"]["accuracy"]["n"]
        cells = [_number(_figure(run, name)) for name in _CURVES[:3]]
        table.add_row(run["version"], str(run["labels"]), str(audit), *cells, "" if drop is None else f"{drop:.1%}")
    Console().print(table)
    if drops:
        typer.echo(
            f"Median entropy drop against the champion: {sorted(drops)[len(drops) // 2]:.1%} of {len(drops)} runs."
        )


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


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _files(project: Path, data: str | None) -> tuple[RunFiles, str]:
    loaded = load_project(project)
    return RunFiles(o.settings_of(Options(data=data)).data_dir / RUNS_FOLDER), loaded.project


def _runs(project: Path, data: str | None, versions: Sequence[str] = ()) -> list[Run]:
    files, name = _files(project, data)
    return [files.read(name, version) for version in versions or files.versions(name)]

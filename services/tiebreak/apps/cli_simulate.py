"""`tiebreak simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tiebreak.apps import cli_options as o
from tiebreak.apps.simulate import picture
from tiebreak.apps.simulate.answers import KINDS
from tiebreak.apps.simulate.arms import DEFAULT, UNIFORM, Arm, checked
from tiebreak.apps.simulate.files import load_stream
from tiebreak.apps.simulate.replay import Pace, People
from tiebreak.apps.simulate.report import Line, lines, measure_of, share
from tiebreak.apps.simulate.run import Trial, run_arms
from tiebreak.apps.simulate.stream import Schema, Stream, held_back, shuffled
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import AnswerKind, Classes, Input, Labeling, Project, TensorSpec
from tiebreak.runtime.class_vectors_file import load_class_vectors
from tiebreak.runtime.project_file import load_project
from tiebreak.training.given import Given


def simulate(
    file: Annotated[
        Path, typer.Argument(help="Labelled events: .csv, .jsonl, .parquet or .npz (X, y).", show_default=False)
    ],
    project: Annotated[
        Path | None, typer.Option(help="Project file, for its sampling, drift, training and class vectors.")
    ] = None,
    label: Annotated[str, typer.Option(help="The column with the answer.")] = "label",
    answer: Annotated[
        str,
        typer.Option(
            help="What an answer is: single, ordinal, multi (a list of classes), numeric. A project file says it itself."
        ),
    ] = "",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="Strategy with changed keys, STRATEGY[:key=value,...]; default, uniform, periodic; "
            "fixed, variable, randomised, split, biqf (published rules). Repeatable."
        ),
    ] = None,
    budget: Annotated[list[float] | None, typer.Option(help="Share of the events to ask about. Repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Runs per policy and budget.")] = 2,
    delay: Annotated[int, typer.Option(min=0, help="Events between a question and its answer.")] = 0,
    error_rate: Annotated[float, typer.Option(min=0.0, max=0.9, help="The share of answers that are wrong.")] = 0.0,
    held_out: Annotated[
        float,
        typer.Option(min=0.0, max=0.9, help="Share of events kept out to judge models by; 0: judge on the stream."),
    ] = 0.0,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Mix the events: their order means nothing.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
    save: Annotated[Path | None, typer.Option(help="Write the picture here (.svg, .png, .pdf).")] = None,
    json: o.AsJson = False,
) -> None:
    """Replay a labelled file through the real policy and trainer; compare policies and budgets before asking anybody.

    Savings are against `uniform` at the same accuracy, counted in labels really asked for, and are left open where uniform's
    budgets do not span that accuracy. Without a project file there is no audit slice; with one, its own is kept.

    [bold]Examples[/bold]

        tiebreak simulate tickets.csv --label team
        tiebreak simulate prices.csv --label price --answer numeric --policy variance --policy uniform
        tiebreak simulate events.jsonl --project project.yaml --budget 0.02 --budget 0.1 --save budgets.svg
        tiebreak simulate stream.npz --policy uniform --policy margin --policy margin:novelty=false --delay 200 --error-rate 0.05
    """
    stream, settings = _read(file, label, answer, project)
    policies = tuple(dict.fromkeys(policy or (DEFAULT, UNIFORM)))
    budgets = tuple(sorted(dict.fromkeys(budget or (0.02, 0.05, 0.1, 0.2))))
    checked(settings, policies, budgets)
    names = Given(names=load_class_vectors(settings)).names_for(stream.x.shape[1], settings.classes)
    stream = replace(held_back(shuffled(stream, 0) if shuffle else stream, held_out, 0), vectors=names)
    arms = [Arm(name, share, seed) for name in policies for share in budgets for seed in range(seeds)]
    trial = Trial(stream, settings, People(delay, error_rate), Pace(held_out_curve=False))
    with Progress(console=Console(stderr=True), disable=not o.interactive()) as progress:
        bar = progress.add_task(f"{len(arms)} runs", total=len(arms) * len(stream))
        outcomes = run_arms(trial, arms, workers, lambda events: progress.advance(bar, events))
    found = lines(arms, outcomes)
    if json:
        for line in found:
            typer.echo(orjson.dumps(asdict(line)))
    else:
        Console().print(_table(found, stream))
    if save is not None:
        picture.save(arms, outcomes, told(stream), save, measure_of(stream).drawn)
        typer.echo(f"Picture: {save}", err=True)


def _read(file: Path, label: str, said: str, path: Path | None) -> tuple[Stream, Project]:
    """The file, and the project that it is replayed for. Raises ConfigError."""
    if said and said not in set(KINDS):
        raise ConfigError(f"--answer {said}: is none of {', '.join(KINDS)}.")
    if path is None:
        stream = load_stream(file, label, Schema(AnswerKind(said or AnswerKind.SINGLE)))
        return stream, _made(stream)
    loaded = load_project(path)
    if loaded.model.source != "trainer":
        raise ConfigError(
            f"{path.name}: model.source is {loaded.model.source!r}: nothing learns from the labels there."
        )
    own, kind = loaded.labeling.answer, _kind_of(loaded)
    if kind not in KINDS:
        raise ConfigError(f"{path.name}: labeling.answer.kind is {own.kind}: no model learns from such answers.")
    if said and said != kind:
        raise ConfigError(f"--answer {said}: {path.name} asks for {kind} answers.")
    return load_stream(file, label, Schema(kind, own, loaded.classes.names)), loaded


def _kind_of(project: Project) -> AnswerKind:
    # Which of two is better is one class of two or three.
    kind = project.labeling.answer.kind
    return AnswerKind.SINGLE if kind is AnswerKind.PAIRWISE else kind


def _made(stream: Stream) -> Project:
    tensor = TensorSpec(name="input", shape=(stream.x.shape[1],))
    single = stream.answer.kind is AnswerKind.SINGLE
    classes = Classes(open=True) if single else Classes(names=stream.classes)
    made = Project(
        project="simulated", input=Input(tensors=(tensor,)), classes=classes, labeling=Labeling(answer=stream.answer)
    )
    return made.model_copy(update={"sampling": made.sampling.model_copy(update={"audit_share": 0.0})})


def told(stream: Stream) -> str:
    """A stream in a few words."""
    answer, classes = stream.answer, f"{len(stream.classes)} classes"
    if answer.kind is AnswerKind.NUMERIC:
        classes = f"numbers from {answer.least:g} to {answer.most:g}"
    elif answer.kind is not AnswerKind.SINGLE:
        classes = f"{answer.kind}, {classes}"
    return f"{stream.name}: {len(stream):,} events, {classes}"


def _table(found: Sequence[Line], stream: Stream) -> Table:
    table = Table(title=f"{told(stream)}; per cent, mean ± half of the 95 % interval")
    table.add_column("policy", overflow="fold", min_width=12)
    measure = measure_of(stream)
    accuracy = f"held-out {measure.name}" if len(stream.held_y) else measure.name
    for name in ("budget", "labels", "spent", accuracy, "rare F1", "saved", "bursts", "µs/event"):
        table.add_column(name, justify="right")
    for line in found:
        table.add_row(
            line.policy,
            f"{100 * line.budget:g} %",
            f"{line.labels.value:,.0f}",
            f"{100 * line.spent:.0f} %",
            measure.told(line.accuracy),
            share(line.rare_f1),
            share(line.saved),
            f"{line.bursts:g}",
            f"{line.decide_us:.0f}",
        )
    return table

"""What the sections share: full topics, the pipeline's runs, and how runs are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from loadtests.speed import worker
from loadtests.speed.clocked import Measured
from loadtests.speed.ground import Ground, fill_now
from loadtests.speed.models import SMALL_LAYERS, perceptron, project
from tiebreak.contracts.project import Project


def filled(where: Ground, name: str, kind: str, events: int) -> Project:
    """A project with the small model and ``events`` events of ``kind`` in its topic."""
    made = project(name, str(model(where, "small", SMALL_LAYERS)), fields=kind == "json")
    fill_now(where, made, events, kind)
    return made


def model(where: Ground, name: str, layers: tuple[int, ...]) -> Path:
    """The file of a perceptron."""
    path = where.folder / f"{name}.onnx"
    if not path.exists():
        path.write_bytes(perceptron(layers))
    return path


def pipeline(where: Ground, made: Project, events: int, group: str, core: int | None = None) -> Measured:
    """One run over ``events`` events. Raises RuntimeError where events were set aside, or have no prediction each."""
    run = worker.measure(
        "pipeline",
        core=core,
        kafka=where.kafka,
        redis=where.redis,
        project_json=made.model_dump_json(),
        events=events,
        group=group,
    )
    if run.notes["dead"]:
        raise RuntimeError(f"{run.notes['dead']:.0f} events were set aside: the figures mean nothing")
    if run.notes["predictions"] < events:
        raise RuntimeError(f"{run.notes['predictions']:.0f} predictions for {events} events: the figures mean nothing")
    return run


def rate(runs: Sequence[Measured]) -> str:
    """The median rate."""
    return f"{median(run.rate for run in runs):,.0f}"


def micros(runs: Sequence[Measured]) -> float:
    """The median of processor time per event in microseconds."""
    return median(1e6 * run.cpu_seconds / run.events for run in runs)

"""`tiebreak demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tiebreak.apps import cli_options as o
from tiebreak.apps.demo.options import DemoOptions
from tiebreak.apps.demo.run import run_demo


def demo(
    events: Annotated[int, typer.Option(help="How many events the stream has.")] = 30_000,
    seconds: Annotated[float, typer.Option(help="How long the stream lasts.")] = 75.0,
    seed: Annotated[int, typer.Option(help="Of the world, the people and the sampler.")] = 7,
    annotators: Annotated[int, typer.Option(help="Simulated people.")] = 16,
    error_rate: Annotated[float, typer.Option(help="The share of their answers that are wrong.")] = 0.05,
    out: Annotated[Path, typer.Option(help="Folder for the picture, the summary, the journal and the logs.")] = Path(
        "demo-out"
    ),
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    port: Annotated[int, typer.Option(help="Port of the annotators' page; 0: any free one.")] = 0,
    wait: Annotated[bool, typer.Option(help="Stay up afterwards, on a terminal, until Ctrl-C.")] = True,
) -> None:
    """See the whole loop in about two minutes: a drifting stream, simulated people, models that learn from them.

    Handwritten digits stream by; half way they are rotated and noisier, and a class appears that was never seen. Needs
    nothing but Python: Redis is embedded, and the log is on it.

    [bold]Examples[/bold]

        tiebreak demo
        tiebreak demo --events 60000 --seconds 120 --annotators 20 --error-rate 0.1
        tiebreak demo --kafka localhost:9092 --redis redis://localhost:6379
    """
    options = DemoOptions(
        out=out.expanduser().resolve(),
        events=events,
        seconds=seconds,
        seed=seed,
        annotators=annotators,
        error_rate=error_rate,
        kafka=kafka or "",
        redis=redis or "",
        port=port,
        wait=wait,
    )
    raise typer.Exit(int(o.run(run_demo(options, Console()))))

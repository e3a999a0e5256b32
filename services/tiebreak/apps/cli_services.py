"""Commands that run until they are stopped: `up`, `stream`, `label`, `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiebreak.apps import cli_options as o
from tiebreak.apps.admitting import admit
from tiebreak.apps.label import LabelRole, label_as
from tiebreak.apps.stream import assemble_stream
from tiebreak.apps.train import assemble_train
from tiebreak.apps.up import Running, run_up
from tiebreak.apps.wiring import Assemble, run_process
from tiebreak.contracts.project import Project
from tiebreak.labeling.access import Role
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.logs import configure_logs
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options

LABEL_PORT, STREAM_PORT, TRAIN_PORT = 8080, 8081, 8082
_TOKEN_HOURS = 12.0


def up(
    project: o.ProjectFile,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
    host: o.Host = None,
    port: o.Port = None,
    stop_timeout: o.StopTimeout = None,
    tls_cert: o.TlsCert = None,
    tls_key: o.TlsKey = None,
    behind_proxy: o.BehindProxy = None,
) -> None:
    """Run everything on this machine: scoring, labeling, training, and Redis where none is named.

    [bold]Examples[/bold]

        tiebreak up examples/digits/project.yaml
        tiebreak up project.yaml --port 9000 --data /var/lib/tiebreak
        tiebreak up project.yaml --kafka localhost:9092 --redis redis://localhost:6379

    A process that dies is started again. Ctrl-C stops all of them in order: what was accepted is finished first.
    """
    loaded = load_project(project)
    options = Options(kafka, redis, data, host, port, stop_timeout, tls_cert, tls_key, behind_proxy)
    settings = o.settings_of(options, LABEL_PORT)
    configure_logs("up")

    async def announce(running: Running) -> None:
        await _announce(running, loaded)

    raise typer.Exit(o.run(run_up(loaded, project.resolve(), settings, announce)))


def stream(
    project: o.ProjectFile,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
    host: o.Host = None,
    port: o.Port = None,
    stop_timeout: o.StopTimeout = None,
) -> None:
    """Score events and choose the few that people should see.

    Reads topic [cyan]events[/cyan]; writes [cyan]predictions[/cyan], [cyan]tasks[/cyan] and [cyan]drift[/cyan]. Run as
    many as the project has partitions.

    [bold]Example[/bold]

        tiebreak stream project.yaml --kafka kafka:9092 --redis redis://redis:6379
    """
    _serve("stream", project, Options(kafka, redis, data, host, port, stop_timeout), STREAM_PORT, assemble_stream)


def label(
    project: o.ProjectFile,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
    host: o.Host = None,
    port: o.Port = None,
    stop_timeout: o.StopTimeout = None,
    tls_cert: o.TlsCert = None,
    tls_key: o.TlsKey = None,
    behind_proxy: o.BehindProxy = None,
    role: Annotated[
        LabelRole, typer.Option(help="Only the API (api), only intake and settling (settle), or both (all).")
    ] = LabelRole.ALL,
) -> None:
    """Hand questions to people and settle their answers: the API and the page.

    Reads topics [cyan]tasks[/cyan] and [cyan]annotations[/cyan]; writes [cyan]annotations[/cyan] and [cyan]labels[/cyan].

    [bold]Examples[/bold]

        tiebreak label project.yaml --kafka kafka:9092 --redis redis://redis:6379
        tiebreak token create project.yaml --name ann        # then open http://127.0.0.1:8080 with it
        tiebreak label project.yaml --role settle --port 8083  # many people: settling beside `--role api` processes
    """
    options = Options(kafka, redis, data, host, port, stop_timeout, tls_cert, tls_key, behind_proxy)
    _serve("label", project, options, LABEL_PORT, label_as(role))


def train(
    project: o.ProjectFile,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
    host: o.Host = None,
    port: o.Port = None,
    stop_timeout: o.StopTimeout = None,
) -> None:
    """Learn from labels and put better models into service, one trainer per project.

    Reads topic [cyan]labels[/cyan]; keeps the ledger under --data; writes [cyan]models[/cyan].

    [bold]Example[/bold]

        tiebreak train project.yaml --kafka kafka:9092 --redis redis://redis:6379 --data /var/lib/tiebreak
    """
    _serve("train", project, Options(kafka, redis, data, host, port, stop_timeout), TRAIN_PORT, assemble_train)


def _serve(name: str, project_file: Path, options: Options, default_port: int, assemble: Assemble) -> None:
    project = load_project(project_file)
    settings = o.settings_of(options, default_port)
    configure_logs(name)
    raise typer.Exit(o.run(run_process(name, project, settings, assemble)))


async def _announce(up: Running, project: Project) -> None:
    """Where everything is, once it answers. A token is shown to a person at a terminal alone: a log file would keep it."""
    lines = [f"{name:>7}  {child.part.address}/health/ready" for name, child in up.children.items()]
    page = up.children["label"].part.address
    if o.interactive():
        token, _ = await admit(project, up.settings, "you", Role.MANAGER, _TOKEN_HOURS, SystemClock())
        lines.append(f"   page  {page}  with token {token}  (name: you, valid {_TOKEN_HOURS:g} h)")
    else:
        lines.append(f"   page  {page}  (make a token with `tiebreak token create`)")
    typer.echo("\n".join(["Everything is up. Ctrl-C stops it.", *lines]), err=True)

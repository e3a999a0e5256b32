"""Commands that set up and look: `project check`, `topics create`, `token create`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from tiebreak.apps import cli_options as o
from tiebreak.apps.admitting import admit
from tiebreak.apps.up import ensure_topics
from tiebreak.contracts.topics import specs_for
from tiebreak.labeling.access import Role
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options

project_app = typer.Typer(no_args_is_help=True, help="Look at project files.")
topics_app = typer.Typer(no_args_is_help=True, help="The project's topics.")
token_app = typer.Typer(no_args_is_help=True, help="Who may use the API and the page.")


@project_app.command("check")
def check(project: o.ProjectFile) -> None:
    """Validate a project file: every mistake is one line with the key and the range; exit code 2 if there is one.

    [bold]Example[/bold]

        tiebreak project check examples/digits/project.yaml
    """
    loaded = load_project(project)
    classes = ", ".join(loaded.classes.names) or "none yet"
    typer.echo(f"{project}: project {loaded.project} is valid ({len(loaded.classes.names)} classes: {classes}).")


@topics_app.command("create")
def create_topics(project: o.ProjectFile, kafka: o.Kafka = None, redis: o.Redis = None, data: o.Data = None) -> None:
    """Create the project's topics where they are missing; existing ones stay as they are.

    [bold]Example[/bold]

        tiebreak topics create project.yaml --kafka localhost:9092
    """
    loaded = load_project(project)
    o.run(ensure_topics(loaded, o.settings_of(Options(kafka, redis, data))))
    for spec in specs_for(loaded.project, loaded.partitions):
        kept = "for ever" if spec.retention_ms is None else f"{spec.retention_ms // 86_400_000} days"
        typer.echo(f"{spec.name}  {spec.partitions} partition(s), kept {kept}")


@token_app.command("create")
def create_token(
    project: o.ProjectFile,
    name: Annotated[str, typer.Option(help="Whose token: the name on their answers.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.ANNOTATOR,
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="Valid for this long.")] = 24.0 * 30,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Make a token. It is shown once: only its hash is kept.

    [bold]Example[/bold]

        tiebreak token create project.yaml --name ann --role reviewer --hours 12
    """
    loaded = load_project(project)
    settings = o.settings_of(Options(redis=redis, data=data))
    text, record = o.run(admit(loaded, settings, name, role, hours, SystemClock()))
    typer.echo(text)
    until = datetime.fromtimestamp(record.expires_ms / 1000, UTC).isoformat(timespec="minutes")
    typer.echo(f"{name} is {role.value} of project {loaded.project} until {until}. Shown once: keep it.", err=True)

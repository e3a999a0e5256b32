"""Commands that set up and look: `project check`, `topics create`, `token create | revoke | list`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from tiebreak.apps import cli_options as o
from tiebreak.apps.admitting import admit, open_door
from tiebreak.apps.auditing import open_trail, warn_of, whoever_runs_this
from tiebreak.apps.rows import example_line
from tiebreak.apps.up import ensure_topics
from tiebreak.apps.wiring import specs_of
from tiebreak.contracts.audit import Chain
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import AuditRecord
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import Form
from tiebreak.contracts.topics import DAY_MS
from tiebreak.labeling.access import Role
from tiebreak.labeling.tokens import no_tokens, standing_tokens
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.masking import check_privacy
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
    try:
        masking = check_privacy(loaded.privacy)
    except ConfigError as error:
        raise ConfigError(f"{project.name}: {error.message}", fix=error.fix) from error
    classes = ", ".join(loaded.classes.names) or "none yet"
    typer.echo(f"{project}: project {loaded.project} is valid ({len(loaded.classes.names)} classes: {classes}).")
    typer.echo(_learning(loaded))
    if masking:
        typer.echo(masking)
    typer.echo(f"An event is a line such as {example_line(loaded)}")


def _learning(project: Project) -> str:
    """Whether a model learns from the answers, and what the rest are for."""
    kind = project.labeling.answer.kind
    if project.model.source != "trainer":
        return (
            f"Training is off (model.source: {project.model.source}): {kind} answers are asked, settled and exported."
        )
    if not kind.trains:
        return f"Training is off: no model learns from {kind} answers. They are asked, settled and exported."
    given = {
        Form.CLASSES: "one distribution over the classes",
        Form.MULTI: "a probability for each class",
        Form.VALUES: f"a number from {project.labeling.answer.least:g} to {project.labeling.answer.most:g}",
    }[kind.form]
    return f"Training is on: models learn from {kind} answers and give {given}."


@topics_app.command("create")
def create_topics(project: o.ProjectFile, kafka: o.Kafka = None, redis: o.Redis = None, data: o.Data = None) -> None:
    """Create the project's topics where they are missing; existing ones get the retention that `privacy.retention` asks for.

    [bold]Example[/bold]

        tiebreak topics create project.yaml --kafka localhost:9092
    """
    loaded = load_project(project)
    o.run(ensure_topics(loaded, o.settings_of(Options(kafka, redis, data))))
    for spec in specs_of(loaded):
        kept = "for ever" if spec.retention_ms is None else f"{spec.retention_ms / DAY_MS:.4g} days"
        typer.echo(f"{spec.name}  {spec.partitions} partition(s), kept {kept}")


@token_app.command("create")
def create_token(
    project: o.ProjectFile,
    name: Annotated[str, typer.Option(help="Whose token: the name on their answers.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.ANNOTATOR,
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="Valid for this long.")] = 24.0 * 30,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Make a token. It is shown once: only its hash is kept.

    [bold]Example[/bold]

        tiebreak token create project.yaml --name ann --role reviewer --hours 12
    """
    loaded = load_project(project)
    settings = o.settings_of(Options(kafka, redis, data))
    text, record = o.run(admit(loaded, settings, name, role, hours, SystemClock()))
    typer.echo(text)
    until = o.moment(record.expires_ms, "minutes")
    typer.echo(f"{name} is {role.value} of project {loaded.project} until {until}. Shown once: keep it.", err=True)


@token_app.command("revoke")
def revoke_tokens(
    project: o.ProjectFile,
    name: Annotated[str, typer.Option(help="Whose tokens end, all of them.")],
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """End all tokens of a person, at once and for good.

    [bold]Example[/bold]

        tiebreak token revoke project.yaml --name ann
    """
    loaded, settings = load_project(project), o.settings_of(Options(kafka, redis, data))

    async def work() -> int:
        async with open_door(loaded, settings, SystemClock()) as door:
            return await door.revoke(name, whoever_runs_this())

    typer.echo(f"{o.run(work())} token(s) of {name} ended.")


@token_app.command("list")
def list_tokens(project: o.ProjectFile, kafka: o.Kafka = None, redis: o.Redis = None, data: o.Data = None) -> None:
    """Whose tokens are good, as the audit trail has it: name, role, from and until when. No token is shown.

    What is wrong with the trail is told on standard error. Where records are missing, one of them may have ended a token.

    [bold]Example[/bold]

        tiebreak token list project.yaml
    """
    loaded, settings, clock = load_project(project), o.settings_of(Options(kafka, redis, data)), SystemClock()

    async def work() -> tuple[Sequence[AuditRecord], Chain]:
        async with open_trail(loaded, settings, clock) as trail:
            return await trail.read()

    records, chain = o.run(work())
    warn_of(chain)
    if odd := no_tokens(records):
        shown = ", ".join(map(str, odd[:20]))
        typer.echo(f"{len(odd)} record(s) of the trail describe no token and give none: sequence {shown}.", err=True)
    for record in standing_tokens(records, int(clock.wall() * 1000)):
        span = " to ".join(o.moment(ms, "minutes") for ms in (record.created_ms, record.expires_ms))
        typer.echo(f"{record.name}  {record.role.value}  {span}")

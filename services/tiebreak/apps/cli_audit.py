"""Commands about who did what: `tiebreak audit verify | tail`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tiebreak.apps import cli_options as o
from tiebreak.apps.auditing import open_trail
from tiebreak.contracts.audit import Broken, Chain, Head
from tiebreak.contracts.codec import to_json
from tiebreak.contracts.errors import Invalid
from tiebreak.contracts.messages import AuditRecord
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, Settings

audit_app = typer.Typer(
    no_args_is_help=True, help="Who did what to what, and whether anybody changed the record of it."
)

HEADS_FOLDER = "audit"
_HEAD = re.compile(r"([0-9]{1,15}):([0-9a-f]{64})")


@audit_app.command("verify")
def verify(
    project: o.ProjectFile,
    expect: Annotated[
        str, typer.Option(help="SEQUENCE:DIGEST of an earlier run, kept where nobody who writes the log can reach it.")
    ] = "",
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Check every record of the audit topic against the one before it. Exit code 1 and the first broken record if there is one.

    What was changed, left out, put in or moved breaks the chain. That the end was cut off shows against the head of an
    earlier run: the one you give, and the one that the last run kept under --data.

    [bold]Example[/bold]

        tiebreak audit verify project.yaml --expect 41:9f2c...
    """
    loaded, settings = load_project(project), o.settings_of(Options(kafka, redis, data))
    known = [head for head in (_given(expect), _kept(settings, loaded.project)) if head is not None]
    try:
        links, chain = _read(project, settings)
    except Broken as error:
        typer.echo(f"BROKEN  {error}")
        raise typer.Exit(1) from error
    lost = [head for head in known if not chain.holds(head)]
    if lost:
        typer.echo(
            f"BROKEN  The record with sequence {lost[0].sequence} that was there before is gone or is another one."
        )
        typer.echo(f"If you know why, remove {_file(settings, loaded.project)}.")
        raise typer.Exit(1)
    _keep(settings, loaded.project, chain.head)
    typer.echo(
        f"ok  {len(links)} records, {chain.superseded} superseded, head {chain.head.sequence}:{chain.head.digest}"
    )


@audit_app.command("tail")
def tail(
    project: o.ProjectFile,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100_000, help="How many, the newest.")] = 20,
    as_json: o.AsJson = False,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """The newest records, one line each: when, who, what, to what, why. Of a broken trail those that are whole; exit code 1.

    [bold]Example[/bold]

        tiebreak audit tail project.yaml -n 5
    """
    settings, broken = o.settings_of(Options(kafka, redis, data)), None
    try:
        links, _ = _read(project, settings)
    except Broken as error:
        links, broken = _whole(project, settings), error
    for link in links[-count:]:
        typer.echo(to_json(link).decode() if as_json else _line(link))
    if broken:
        typer.echo(f"BROKEN  {broken}", err=True)
        raise typer.Exit(1)


def _read(project: Path, settings: Settings) -> tuple[Sequence[AuditRecord], Chain]:
    loaded = load_project(project)

    async def work() -> tuple[Sequence[AuditRecord], Chain]:
        async with open_trail(loaded, settings, SystemClock()) as trail:
            return await trail.read()

    return o.run(work())


def _whole(project: Path, settings: Settings) -> Sequence[AuditRecord]:
    loaded = load_project(project)

    async def work() -> Sequence[AuditRecord]:
        async with open_trail(loaded, settings, SystemClock()) as trail:
            return await trail.sound()

    return o.run(work())


def _line(link: AuditRecord) -> str:
    when = datetime.fromtimestamp(link.time_ms / 1000, UTC).isoformat(timespec="seconds")
    # A newline in a reason would look like another record.
    said = " ".join(part for part in (link.target, link.detail) if part)
    return f"{link.sequence:>6}  {when}  {link.actor}  {link.action}  {''.join(c if c.isprintable() else ' ' for c in said)}"


def _given(text: str) -> Head | None:
    if not text:
        return None
    found = _HEAD.fullmatch(text)
    if not found:
        raise Invalid(f"--expect: {text[:80]!r} is not SEQUENCE:DIGEST.", fix="`tiebreak audit verify` prints it.")
    return Head(int(found[1]), found[2])


def _file(settings: Settings, project: str) -> Path:
    return settings.data_dir / HEADS_FOLDER / f"{project}.head"


def _kept(settings: Settings, project: str) -> Head | None:
    file = _file(settings, project)
    return _given(file.read_text("ascii").strip()) if file.is_file() else None


def _keep(settings: Settings, project: str, head: Head) -> None:
    if not head.sequence:
        return
    file = _file(settings, project)
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{head.sequence}:{head.digest}\n", "ascii")
    fresh.replace(file)

"""Commands about who did what: `tiebreak audit verify | accept | tail`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tiebreak.apps import cli_options as o
from tiebreak.apps.auditing import open_trail, told_of, whoever_runs_this
from tiebreak.contracts.audit import Action, Chain, Fault, Head, target_of
from tiebreak.contracts.codec import to_json
from tiebreak.contracts.errors import Invalid, NotFound
from tiebreak.contracts.messages import AuditRecord
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, Settings

audit_app = typer.Typer(
    no_args_is_help=True, help="Who did what to what, and whether anybody changed the record of it."
)

HEADS_FOLDER = "audit"
_OFFSETS = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,15}))?")
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
    """Check every record of the audit topic against the one before it. Exit code 1 if one is wrong: each is named, and why.

    What was changed, left out, put in or moved breaks the chain. That the end was cut off shows against the head of an
    earlier run: the one you give, and the one that the last run kept under --data. What somebody accepted
    (`tiebreak audit accept`) is named with who and why, and no reason for exit code 1.

    [bold]Example[/bold]

        tiebreak audit verify project.yaml --expect 41:9f2c...
    """
    loaded, settings = load_project(project), o.settings_of(Options(kafka, redis, data))
    known = [head for head in (_given(expect), _kept(settings, loaded.project)) if head is not None]
    links, chain = _read(project, settings)
    for fault in chain.faults:
        if fault.accepted:
            typer.echo(f"accepted  {fault} By {_line(fault.accepted)}")
    wrong = [f"BROKEN  {line}" for line in told_of(chain)]
    if wrong:
        wrong += ["If you know why: `tiebreak audit accept` puts that on record, and what is whole goes on."]
    lost = [head for head in known if not chain.holds(head)]
    if lost:
        wrong += [
            f"BROKEN  The record with sequence {lost[0].sequence} that was there before is gone or is another one.",
            f"If you know why, remove {_file(settings, loaded.project)}.",
        ]
    if wrong:
        typer.echo("\n".join(wrong))
        raise typer.Exit(1)
    _keep(settings, loaded.project, chain.head)
    typer.echo(
        f"ok  {len(links)} records, {chain.superseded} superseded, head {chain.head.sequence}:{chain.head.digest}"
    )


@audit_app.command("accept")
def accept(
    project: o.ProjectFile,
    offsets: Annotated[str, typer.Option(help="OFFSET or FIRST-LAST of what `tiebreak audit verify` names.")],
    reason: Annotated[str, typer.Option(help="What they are, and why they may stay.")],
    by: Annotated[str, typer.Option(help="Who says so; without it, the user of this machine.")] = "",
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Put on record that you know of broken records of the trail, by what they hold. `verify` goes on naming them.

    Nothing is taken out, and what broke later is not covered. Where records are missing, tokens come back from the
    trail after a loss of Redis only once that is accepted: look first whose tokens may have been ended by them.

    [bold]Example[/bold]

        tiebreak audit accept project.yaml --offsets 17-23 --reason "a producer was pointed at the wrong topic"
    """
    loaded, settings = load_project(project), o.settings_of(Options(kafka, redis, data))
    first, last = _range(offsets)
    if not reason.strip():
        raise Invalid("--reason: is empty.", fix="Say what the records are.")

    async def work() -> Sequence[Fault]:
        async with open_trail(loaded, settings, SystemClock()) as trail:
            _, chain = await trail.read()
            found = chain.within(first, last)
            if not any(fault.accepted is None for fault in found):
                raise NotFound(
                    f"There is no broken record from offset {first} to {last} that is not accepted.",
                    fix="`tiebreak audit verify` names them.",
                )
            await trail.append(whoever_runs_this(by), Action.FAULTS_ACCEPTED, target_of(found), reason)
            return found

    typer.echo(f"{len(o.run(work()))} broken record(s) accepted, on the audit trail.")


def _range(text: str) -> tuple[int, int]:
    found = _OFFSETS.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise Invalid(
            f"--offsets: {text[:80]!r} is not OFFSET or FIRST-LAST.", fix="`tiebreak audit verify` names them."
        )
    return first, last


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
    links, chain = _read(project, o.settings_of(Options(kafka, redis, data)))
    for link in links[-count:]:
        typer.echo(to_json(link).decode() if as_json else _line(link))
    if wrong := told_of(chain):
        typer.echo("\n".join(f"BROKEN  {line}" for line in wrong), err=True)
        raise typer.Exit(1)


def _read(project: Path, settings: Settings) -> tuple[Sequence[AuditRecord], Chain]:
    loaded = load_project(project)

    async def work() -> tuple[Sequence[AuditRecord], Chain]:
        async with open_trail(loaded, settings, SystemClock()) as trail:
            return await trail.read()

    return o.run(work())


def _line(link: AuditRecord) -> str:
    when = o.moment(link.time_ms)
    # A newline in a reason would look like another record.
    said = " ".join(part for part in (link.target, link.detail) if part)
    line = f"{link.sequence:>6}  {when}  {link.actor}  {link.action}  {said}"
    return "".join(c if c.isprintable() else " " for c in line)


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

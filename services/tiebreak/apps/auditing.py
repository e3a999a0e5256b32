"""The audit trail for commands: what somebody does by hand is on record before it is done."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import typer

from tiebreak.apps.wiring import open_log
from tiebreak.contracts.audit import Action, Chain
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import TiebreakError
from tiebreak.contracts.messages import AuditRecord
from tiebreak.contracts.project import Project
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.settings import Settings


def whoever_runs_this(named: str = "") -> str:
    """The actor of a command: ``named``, else the user of the machine."""
    return named or getpass.getuser()


@asynccontextmanager
async def open_trail(project: Project, settings: Settings, clock: Clock) -> AsyncIterator[AuditTrail]:
    """The project's audit trail; its topic is made where it is missing. Raises Unreachable."""
    async with open_log(settings) as stream_log:
        trail = AuditTrail(stream_log, project.project, clock)
        await trail.ensure_topic()
        yield trail


SHOWN = 20


def told_of(chain: Chain) -> Sequence[str]:
    """What is wrong with the trail that nobody has accepted, a line each; of very many the first and how many there are."""
    found = chain.open_faults
    more = [f"And {len(found) - SHOWN} more, up to offset {found[-1].offset}."] if len(found) > SHOWN else []
    return [*map(str, found[:SHOWN]), *more]


def warn_of(chain: Chain) -> None:
    """Say on standard error what is wrong with the trail: for commands that go on with what is whole."""
    for line in told_of(chain):
        typer.echo(f"warning: {line}", err=True)


async def on_record(project: Project, settings: Settings, by: str, action: Action, target: str, detail: str) -> None:
    """One deed, on record when it returns. Raises Unreachable or PublishFailed: then it must not be done."""
    async with open_trail(project, settings, SystemClock()) as trail:
        await trail.append(whoever_runs_this(by), action, target, detail)


async def on_record_if_possible(
    project: Project, settings: Settings, by: str, action: Action, target: str, detail: str
) -> None:
    """As :func:`on_record`, for deeds on local files, which need no server: without one a line says that it is not on record."""
    try:
        await on_record(project, settings, by, action, target, detail)
    except TiebreakError as error:
        typer.echo(f"Not on the audit trail: {error}", err=True)


async def trail_if_possible(project: Project, settings: Settings) -> Sequence[AuditRecord]:
    """All that is on record, for deeds on local files, which need no server: without one a line says what that means."""
    try:
        async with open_trail(project, settings, SystemClock()) as trail:
            return await trail.sound()
    except TiebreakError as error:
        typer.echo(f"The audit trail was not read: {error}", err=True)
        typer.echo("What it says to forget is heeded as far as the trainer had come.", err=True)
        return ()

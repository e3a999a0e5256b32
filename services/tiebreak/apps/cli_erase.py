"""`tiebreak erase`: somebody asks to be forgotten."""

from __future__ import annotations

from typing import Annotated

import typer

from tiebreak.apps import cli_options as o
from tiebreak.apps.erasing import Order, Place, on_trail, places
from tiebreak.contracts.errors import Invalid, TiebreakError
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options


def erase(
    project: o.ProjectFile,
    subject: Annotated[str, typer.Option(help="The subject as events name it; what masking made of it is found too.")],
    reason: Annotated[str, typer.Option(help="Why: it is kept.")] = "on request",
    by: Annotated[str, typer.Option(help="Who decides. [default: your user name]")] = "",
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Forget a person: their tasks leave the queue, their labels the ledger and every export made from now on.

    First the erasure is put on the audit trail, by a digest that does not name the person; if that cannot be done, nothing is.
    From then on every process heeds it, also when it was stopped, or its store was lost, meanwhile: nothing about the person is
    taken in again. What is found in each place, and what cannot be reached, is said line by line. May be repeated.

    [bold]Example[/bold]

        tiebreak erase project.yaml --subject customer-17 --reason "request of 3 May"
    """
    loaded, settings = load_project(project), o.settings_of(Options(kafka, redis, data))
    if not subject:
        raise Invalid("--subject: is empty.", fix="Give the subject as events name it.")
    order = Order(subject, by, reason)

    async def work() -> list[Place]:
        try:
            records = await on_trail(loaded, settings, order)
        except TiebreakError:
            typer.echo("Nothing was erased here: the audit trail must have it first, and cannot take it.", err=True)
            raise
        typer.echo("On the audit trail.")
        told = list[Place]()
        async for place in places(loaded, settings, order, records):
            typer.echo(f"{place.name:<8} {place.said}.")
            told.append(place)
        return told

    for place in o.run(work()):
        if place.trouble is not None:
            raise place.trouble

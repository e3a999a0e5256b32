"""The command line: `tiebreak`, or `python -m tiebreak.apps.cli`."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from tiebreak import __version__
from tiebreak.apps import cli_admin, cli_audit, cli_dataset, cli_events, cli_gold, cli_models, cli_runs, cli_services
from tiebreak.apps.cli_demo import demo
from tiebreak.apps.cli_erase import erase
from tiebreak.apps.cli_retention import retention
from tiebreak.apps.cli_simulate import simulate
from tiebreak.contracts.errors import TiebreakError
from tiebreak.runtime.lifecycle import exit_code_of
from tiebreak.runtime.logs import configure_logs

_RUN, _DATA, _MODELS, _SETUP = "Run", "Events and answers", "Labels and models", "Set up and look"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tiebreak {__version__}")
        raise typer.Exit


def _root(
    _version_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Real-time active learning on streams: score events, ask people about the near-ties, ship a better model.

    [bold]In three steps[/bold]

        tiebreak up examples/digits/project.yaml
        tiebreak produce examples/digits/project.yaml events.jsonl
        tiebreak predictions examples/digits/project.yaml --all

    `tiebreak demo` shows the whole loop with simulated people, in about two minutes.
    """


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        no_args_is_help=True, rich_markup_mode="rich", add_completion=True, pretty_exceptions_enable=False
    )
    app.callback()(_root)
    for command in (cli_services.up, cli_services.stream, cli_services.label, cli_services.train, demo, simulate):
        app.command(rich_help_panel=_RUN)(command)
    app.command("produce", rich_help_panel=_DATA)(cli_events.produce_command)
    for shown in (cli_events.predictions, cli_events.explain, cli_events.dead):
        app.command(rich_help_panel=_DATA)(shown)
    app.add_typer(cli_admin.project_app, name="project", rich_help_panel=_SETUP)
    app.add_typer(cli_admin.topics_app, name="topics", rich_help_panel=_SETUP)
    app.add_typer(cli_admin.token_app, name="token", rich_help_panel=_SETUP)
    app.add_typer(cli_audit.audit_app, name="audit", rich_help_panel=_SETUP)
    app.add_typer(cli_models.models_app, name="models", rich_help_panel=_MODELS)
    app.add_typer(cli_gold.gold_app, name="gold", rich_help_panel=_DATA)
    app.add_typer(cli_dataset.dataset_app, name="dataset", rich_help_panel=_MODELS)
    app.add_typer(cli_dataset.ledger_app, name="ledger", rich_help_panel=_MODELS)
    app.command("erase", rich_help_panel=_MODELS)(erase)
    app.command("retention", rich_help_panel=_SETUP)(retention)
    app.add_typer(cli_runs.runs_app, name="runs", rich_help_panel=_MODELS)
    return app


def main() -> None:
    """Run the command line. An error of ours is one clear line per mistake, and its own exit code."""
    # Before anything speaks: the logger's own default is standard output, where a token or JSON for programs goes.
    configure_logs("tiebreak", level="warning", json=False)
    # What it says of a broker that is away our one line says again. The long-running commands turn it on.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        build()()
    except TiebreakError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        sys.exit(int(exit_code_of(error)))


if __name__ == "__main__":
    main()

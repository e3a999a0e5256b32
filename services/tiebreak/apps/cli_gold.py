"""Commands of a reviewer: `tiebreak gold list | accept | decline`. They ask the API, as the page does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tiebreak.apps import cli_options as o
from tiebreak.client import ApiError, Client, Payload, Proposal, Unavailable
from tiebreak.contracts.errors import ConfigError, Invalid, NotFound, Unreachable
from tiebreak.runtime.project_file import load_project

gold_app = typer.Typer(
    no_args_is_help=True, help="Tasks whose answer is certain: what could be made of them, and your word on it."
)
_MOST = 100
_SHOWN = 60

Url = Annotated[
    str, typer.Option(envvar="TIEBREAK_URL", help="Where `tiebreak label` or `tiebreak up` serves the API.")
]
Tasks = Annotated[
    list[str], typer.Argument(help="Task ids, as `gold list` shows them.", metavar="TASK", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Why: it is kept on the audit trail, with your name.")]
_HERE = "http://127.0.0.1:8080"


@gold_app.command("list")
def list_proposals(
    project: o.ProjectFile,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="The newest so many.")] = 20,
    as_json: o.AsJson = False,
    url: Url = _HERE,
) -> None:
    """What gold could be made of, the newest first: settled tasks with several answers, all the same.

    "Sure" is `labeling.gold.sure`. What you accept is put before other people now and then, unannounced, to see how well they do.

    Those who answered the task, and you, never get it. The token of a reviewer is in TIEBREAK_TOKEN, or typed when you are asked.

    [bold]Example[/bold]

        export TIEBREAK_TOKEN=$(tiebreak token create project.yaml --name rita --role reviewer)
        tiebreak gold list project.yaml
        tiebreak gold list project.yaml --json --limit 100
    """
    with _api(project, url) as api:
        found = api.gold_proposals(limit)
    if as_json:
        for proposal in found:
            said = asdict(proposal)
            said["payload"] = {"kind": proposal.payload.kind, "text": _words(proposal.payload)}
            typer.echo(json.dumps(said, ensure_ascii=False))
        return
    table = Table("task", "answer", "votes", "confidence", "what people saw")
    for p in found:
        table.add_row(p.task_id, p.answer, str(p.votes), f"{p.confidence:.3f}", _short(_words(p.payload)))
    if found:
        Console(markup=False).print(table)
    else:
        typer.echo(
            "Nothing is proposed: no settled task is sure enough that is not gold or declined already.", err=True
        )


@gold_app.command("accept")
def accept(
    project: o.ProjectFile,
    tasks: Tasks,
    reason: Reason = "",
    answer: Annotated[
        str,
        typer.Option(help="For a task that is not proposed: its certain answer."),
    ] = "",
    url: Url = _HERE,
) -> None:
    """Make gold of tasks. It cannot be taken back, so look at what people saw first. Said again it is the same piece.

    [bold]Example[/bold]

        tiebreak gold accept project.yaml 0f3a9c5e7b1d4f62a8c0e9d7b6f5a431 --reason "nobody could say dog"
        tiebreak gold accept project.yaml 0f3a9c5e7b1d4f62a8c0e9d7b6f5a431 --answer cat
    """
    with _api(project, url) as api:
        proposed = {} if answer else {p.task_id: p for p in api.gold_proposals(_MOST)}
        chosen = [(task, answer or _proposed(proposed, task).answer) for task in tasks]
        for task, value in chosen:
            typer.echo(f"{task} is gold now, with the answer {value}: {api.keep_gold(task, value, reason)}")


@gold_app.command("decline")
def decline(project: o.ProjectFile, tasks: Tasks, reason: Reason = "", url: Url = _HERE) -> None:
    """Make no gold of tasks that are proposed, for good: they are not proposed again. Said again: no change.

    [bold]Example[/bold]

        tiebreak gold decline project.yaml 0f3a9c5e7b1d4f62a8c0e9d7b6f5a431 --reason "two answers would do"
    """
    with _api(project, url) as api:
        for task in tasks:
            api.decline_gold(task, reason)
            typer.echo(f"{task} is declined.")


def _proposed(proposed: dict[str, Proposal], task: str) -> Proposal:
    if task not in proposed:
        fix = "See `tiebreak gold list`; gold of any other task needs --answer."
        raise NotFound(f"{task} is not among the newest {_MOST} proposals.", fix=fix)
    return proposed[task]


@contextmanager
def _api(project: Path, url: str) -> Iterator[Client]:
    """The API as whoever has the token; what it says no with is an error of ours, and so one clear line."""
    name = load_project(project).project
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--url: {url!r} is no address.", fix="It begins with http:// or https://.")
    try:
        with Client(url, token=_token(), project=name) as api:
            yield api
    except Unavailable as error:
        fix = "" if error.status else "Is `tiebreak label` or `tiebreak up` running there? --url says where to ask."
        raise Unreachable(f"{url}: {error.detail}", fix=fix) from error
    except ApiError as error:
        raise Invalid(str(error)) from error


def _token() -> str:
    """Not an option: every user of a machine sees the command lines on it."""
    token = os.environ.get("TIEBREAK_TOKEN", "").strip()
    if not token and o.interactive():
        token = str(typer.prompt("Token", hide_input=True, err=True)).strip()
    if not token:
        fix = "`tiebreak token create PROJECT --name NAME --role reviewer` makes one."
        raise ConfigError("TIEBREAK_TOKEN: there is no token.", fix=fix)
    return token


def _words(payload: Payload) -> str:
    match payload.kind:
        case "text":
            return payload.text
        case "table":
            return ", ".join(f"{name}: {value}" for name, value in payload.columns)
        case "image":
            return f"a picture ({payload.media_type}, {len(payload.image)} bytes)"
        case _:
            return "no payload"


def _short(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…"

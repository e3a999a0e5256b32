"""Commands about labels: `tiebreak dataset list | show | diff | export` and `tiebreak ledger retract`."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tiebreak.apps import cli_options as o
from tiebreak.apps.auditing import on_record_if_possible, trail_if_possible
from tiebreak.apps.deploying import learned_from
from tiebreak.apps.exporting import Form, export_labels, labels_on_topic
from tiebreak.apps.train import ledger_path
from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import decode_label
from tiebreak.contracts.erasure import erased_in
from tiebreak.contracts.errors import Invalid, NotFound
from tiebreak.contracts.messages import AuditRecord, Label
from tiebreak.contracts.retention import horizons_in
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, Settings
from tiebreak.training.datasheet import Datasheet, changes, datasheet, standing
from tiebreak.training.retraction import Struck
from tiebreak.training.sqlite import Ledger
from tiebreak.training.sqlite_changes import Change, Kind, Retraction

dataset_app = typer.Typer(no_args_is_help=True, help="The labels that models are made from, version by version.")
ledger_app = typer.Typer(no_args_is_help=True, help="Take labels back.")

_SHOWN = 20
VersionOption = Annotated[int | None, typer.Option("--version", min=0, help="A version. [default: the newest]")]


@dataset_app.command("list")
def list_versions(project: o.ProjectFile, data: o.Data = None) -> None:
    """Every version a model was fitted on: how many labels trained it, how many audited it, the digest of its weights.

    What was taken back is a version, too.

    [bold]Example[/bold]

        tiebreak dataset list project.yaml
    """
    with _ledger(project, _at(data)) as ledger:
        table = Table("version", "trained", "audited", "weights", "taken back")
        rows = [
            (version, str(trained), str(audited), digest[:12], "")
            for version, digest, trained, audited in ledger.steps()
        ]
        rows += [(change.version, "", "", "", _told(change)) for change in ledger.changes()]
        for version, *rest in sorted(rows, key=lambda row: (row[0], not row[4])):
            table.add_row(str(version), *rest)
        Console().print(table)
        kept = ledger.aside()
        typer.echo(f"The newest version is {ledger.dataset_version()}; {len(kept)} labels are kept aside.")
        for one in kept[-_SHOWN:]:
            typer.echo(
                f"  {one.partition.topic}/{one.partition.index} at {one.position}: {one.reason.value}, {one.detail}"
            )
        if len(kept) > _SHOWN:
            typer.echo(f"  and {len(kept) - _SHOWN} more")


@dataset_app.command("show")
def show(project: o.ProjectFile, version: VersionOption = None, data: o.Data = None) -> None:
    """The datasheet of a version: classes, why its events were chosen, who answered, how far people agreed.

    [bold]Example[/bold]

        tiebreak dataset show project.yaml --version 120
    """
    with _ledger(project, _at(data)) as ledger:
        at = ledger.dataset_version() if version is None else version
        sheet = datasheet(_labels(ledger, at, ledger.struck(at)))
        gone = ", ".join(r.annotator for r in ledger.retractions(at))
        vectors = [pinned.digest for pinned in ledger.vectors() if pinned.since <= at]
    table = Table(title=f"Data set version {at}", show_header=False)
    for name, value in _facts(sheet).items():
        table.add_row(name, value)
    if gone:
        table.add_row("retracted annotators", gone)
    if vectors:
        table.add_row("class vectors", vectors[-1][:12] or "none any more")
    Console().print(table)


@dataset_app.command("diff")
def diff(
    project: o.ProjectFile,
    before: Annotated[int, typer.Argument(help="A version.", min=0)],
    after: Annotated[int, typer.Argument(help="The version to compare it with.", min=0)],
    data: o.Data = None,
) -> None:
    """What came, what was answered anew, what was taken back between two versions, in either order.

    [bold]Example[/bold]

        tiebreak dataset diff project.yaml 100 145
    """
    with _ledger(project, _at(data)) as ledger:
        old, new = (list(_labels(ledger, at, ledger.struck(at))) for at in (before, after))
        taken_back = ledger.changes(min(before, after), max(before, after))
    found, known, newest = changes(old, new), standing(old), standing(new)
    for word, ids in (("added", found.added), ("revised", found.revised), ("removed", found.removed)):
        typer.echo(f"{word}: {len(ids)}")
        for label in ids[:_SHOWN]:
            was = known[label].value if label in known else ""
            now = newest[label].value if word != "removed" else ""
            event = (newest | known)[label].event_id
            typer.echo(f"  {event}  {' -> '.join(part for part in (was, now) if part)}")
        if len(ids) > _SHOWN:
            typer.echo(f"  and {len(ids) - _SHOWN} more")
    if found.reweighted:
        typer.echo(f"the same answer from other votes: {len(found.reweighted)}")
    for change in taken_back:
        typer.echo(f"taken back in version {change.version}: {_told(change)}")


@dataset_app.command("export")
def export(
    project: o.ProjectFile,
    out: Annotated[Path, typer.Argument(help="A .parquet or .jsonl file, or a folder.", show_default=False)],
    form: Annotated[
        Form, typer.Option("--format", help="`auto` goes by the name; `delta` writes a Delta table.", show_default=True)
    ] = Form.BY_NAME,
    version: VersionOption = None,
    kafka: o.Kafka = None,
    redis: o.Redis = None,
    data: o.Data = None,
) -> None:
    """Write the standing labels of a version, with features, votes and how each event was chosen; no vote of a retracted annotator.

    They come from the trainer's ledger; where a project has no trainer (spans, boxes, a model of your own), from topic `labels`.

    [bold]Example[/bold]

        tiebreak dataset export project.yaml labels.parquet --version 120
        tiebreak dataset export project.yaml labels --format delta
    """
    loaded, settings = load_project(project), o.settings_of(Options(kafka, redis, data))
    if loaded.has_trainer:
        with _ledger(project, settings) as ledger:
            struck = _struck(ledger, o.run(trail_if_possible(loaded, settings)))
            found = standing(_labels(ledger, version, struck))
            at = f"version {ledger.dataset_version() if version is None else version}"
    elif version is not None:
        raise Invalid(
            "--version: there are versions where a trainer keeps a ledger, and this project has none.",
            fix="Leave it out: all that is on topic `labels` is written.",
        )
    else:
        found, at = o.run(labels_on_topic(loaded, settings)), "all labels"
    kept = [label for label in found.values() if not label.withdrawn]
    said = (Action.DATASET_EXPORTED, at, f"{len(kept)} labels to {out.name}")
    o.run(on_record_if_possible(loaded, settings, "", *said))
    if export_labels(kept, out, form):
        typer.echo(
            "The table was there before: its earlier versions stay until VACUUM removes them, people erased since included.",
            err=True,
        )
    typer.echo(f"{len(kept)} labels written to {out}.")


@ledger_app.command("retract")
def retract(
    project: o.ProjectFile,
    annotator: Annotated[str, typer.Option(help="Whose votes no longer count.")],
    reason: Annotated[str, typer.Option(help="Why: it is kept.")] = "by hand",
    by: Annotated[str, typer.Option(help="Who decides. [default: your user name]")] = "",
    data: o.Data = None,
) -> None:
    """Take an annotator's votes out of every label, list the models they touched, and let the trainer fit without them.

    What other people said stands; a label with no other vote is withdrawn. A trainer that runs takes it up at once, a
    stopped one when it starts. What serves stays until a model without these votes passes the gate, or you promote one.

    [bold]Example[/bold]

        tiebreak ledger retract project.yaml --annotator bob --reason "answered without looking"
    """
    settings = _at(data)
    with _ledger(project, settings) as ledger:
        known = standing(decode_label(label.wire) for label in ledger.labels())
        touched = {
            label.label_id for label in known.values() if any(vote.annotator == annotator for vote in label.votes)
        }
        if not touched:
            raise NotFound(f"No label has a vote of {annotator!r}.")
        o.run(on_record_if_possible(load_project(project), settings, by, Action.LABELS_RETRACTED, annotator, reason))
        now_ms = int(SystemClock().wall() * 1000)
        new = ledger.retract(Retraction(annotator, by or getpass.getuser(), reason, now_ms))
        at = ledger.dataset_version()
    typer.echo(
        f"{annotator}: {len(touched)} labels, {f'retracted: data set version {at}' if new else 'retracted before'}."
    )
    for model in o.run(learned_from(load_project(project).project, settings, touched)):
        typer.echo(f"  {model} learned from them")


@contextmanager
def _ledger(project: Path, settings: Settings) -> Iterator[Ledger]:
    loaded = load_project(project)
    path = ledger_path(loaded.project, settings)
    if not path.is_file():
        made = "The trainer makes it: is --data the one of `tiebreak train`?"
        none = "The trainer makes it, and this project has none: `tiebreak dataset export` reads topic `labels` then."
        raise NotFound(f"There is no ledger {path}.", fix=made if loaded.has_trainer else none)
    ledger = Ledger(path)
    try:
        yield ledger
    finally:
        ledger.close()


def _at(data: str | None) -> Settings:
    return o.settings_of(Options(data=data))


def _struck(ledger: Ledger, said: Sequence[AuditRecord]) -> Struck:
    """What may not be shown, by the ledger and by what else the trail has ``said``: the trainer may not have come to it yet."""
    known = ledger.struck()
    before_ms = max(known.before_ms, horizons_in(said).get(Topic.LABELS, 0))
    return replace(known, subjects=known.subjects | erased_in(said), before_ms=before_ms)


def _labels(ledger: Ledger, version: int | None, struck: Struck) -> Iterator[Label]:
    newest = ledger.dataset_version()
    if version is not None and version > newest:
        raise NotFound(f"There is no data set version {version}: the newest is {newest}.")
    return (struck.apply(decode_label(label.wire)) for label in ledger.labels(version))


def _told(change: Change) -> str:
    match change.kind:
        case Kind.RETRACTED:
            return f"the votes of {change.target}, by {change.by}: {change.reason}"
        case Kind.ERASED:
            return f"{change.labels} labels about {change.target[:12]} overwritten, by {change.by}: {change.reason}"
        case Kind.ENDED:
            return f"{change.labels} labels settled before {_time(int(change.target))} overwritten: {change.reason}"


def _time(ms: int) -> str:
    return o.moment(ms)


def _facts(sheet: Datasheet) -> dict[str, str]:
    when = [_time(ms) for ms in (sheet.first_ms, sheet.last_ms)]
    return {
        "labels that train": str(sheet.train),
        "labels that audit": str(sheet.audit),
        "withdrawn": str(sheet.withdrawn),
        "settled": " to ".join(when) if sheet.last_ms else "",
        "agreement": f"{sheet.agreement:.3f}",
        "classes": _shares(sheet.classes),
        "chosen because": _shares(sheet.reasons),
        "settled by": _counts(sheet.methods),
        "annotators": _counts(sheet.annotators),
    }


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return ", ".join(f"{name} {n} ({n / total:.0%})" for name, n in counts.items())


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())

"""`tiebreak dataset` and `tiebreak ledger`: what models are made from can be read, compared, exported and taken back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import deltalake
import pyarrow.parquet
import pytest

from tests.support.command_line import CommandLine, Ended
from tests.support.labels import blob_labels, make_label
from tests.support.training import Running, log_for, publish_labels
from tiebreak.apps.striking import heed_trail
from tiebreak.contracts.audit import Action
from tiebreak.contracts.log import Partition
from tiebreak.contracts.messages import Label, Vote
from tiebreak.deployment.files import FileModelStore
from tiebreak.events.memory import MemoryLog
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.training.dataset import Aside
from tiebreak.training.datasheet import Changes, changes
from tiebreak.training.retraction import without
from tiebreak.training.sqlite import AsideLabel, Ledger, LedgerLabel, Step
from tiebreak.training.sqlite_changes import Erasure, Retraction

TEXT = """\
project: tests
input: {tensors: [{name: x, shape: [2]}]}
classes: {names: [a, b, c]}
training: {min_labels: 10, committee: 3, step_s: 0.05, step_labels: 10}
"""


def voted(labels: Sequence[Label], *votes: tuple[str, str, float]) -> list[Label]:
    """The labels with these votes (annotator, value or empty for the label's own, weight)."""
    return [
        replace(x, votes=tuple(Vote(f"{x.label_id}-{who}", who, value or x.value, 1, w) for who, value, w in votes))
        for x in labels
    ]


def ledger_of(data: Path) -> Path:
    return data / "ledger" / "tests.sqlite"


async def trained(project: Path, data: Path) -> tuple[list[Label], MemoryLog]:
    """60 labels: ann voted on all, bob alone on the last 20. The last model is in the store."""
    loaded = load_project(project)
    labels = voted(blob_labels(40), ("ann", "", 1.0)) + voted(blob_labels(20, seed=1), ("bob", "", 1.0))
    log = await log_for(loaded)
    async with Running(loaded, log, ledger_of(data)) as run:
        await publish_labels(log, loaded, labels[:40])
        await run.trains(40)
        await publish_labels(log, loaded, labels[40:])
        await run.trains(60)
    last = run.candidates[-1]
    await FileModelStore(data / "models").put(last.manifest, last.model)
    return labels, log


async def retract(tiebreak: CommandLine, project: Path, data: Path, who: str, *more: str) -> Ended:
    """The command in a thread: it has an event loop of its own."""
    return await asyncio.to_thread(tiebreak, "ledger", "retract", project, "--annotator", who, *more, "--data", data)


async def test_versions_are_listed_shown_and_compared(project: Path, tmp_path: Path, tiebreak: CommandLine) -> None:
    """Classes, reasons, people and agreement of any version, and what the next one added."""
    await trained(project, tmp_path)
    listed = tiebreak("dataset", "list", project, "--data", tmp_path).out
    assert "The newest version is 60; 0 labels are kept aside." in listed
    shown = tiebreak("dataset", "show", project, "--data", tmp_path).out
    assert "a 21 (35%), b 20 (33%), c 19 (32%)" in shown
    assert "ann 40, bob 20" in shown
    assert "uncertain 48 (80%), audit 12 (20%)" in shown
    assert (
        "a 14 (35%), b 13 (32%), c 13 (32%)"
        in tiebreak("dataset", "show", project, "--version", 40, "--data", tmp_path).out
    )
    compared = tiebreak("dataset", "diff", project, 40, 60, "--data", tmp_path).out.splitlines()
    assert (compared[0], compared[-2:]) == ("added: 20", ["revised: 0", "removed: 0"])
    backwards = tiebreak("dataset", "diff", project, 60, 40, "--data", tmp_path).out.splitlines()
    assert backwards == ["added: 0", "revised: 0", "removed: 20", *compared[1:21]]


def test_what_is_kept_aside_is_listed_with_its_reason(project: Path, tmp_path: Path, tiebreak: CommandLine) -> None:
    """Where each stands in the topic, and what it lacks: nobody reads a metric to learn which label it was."""
    with closing(Ledger(ledger_of(tmp_path))) as ledger:
        ledger.commit(
            Step(aside=[AsideLabel(Partition("t", 1), n, Aside.UNKNOWN_CLASS, f"no {n}", b"") for n in range(22)])
        )
    said = tiebreak("dataset", "list", project, "--data", tmp_path).out.splitlines()
    assert "22 labels are kept aside." in said[-22]
    assert (said[-21], said[-1]) == ("  t/1 at 2: unknown_class, no 2", "  and 2 more")


async def test_a_version_that_is_not_there_yet_is_none(project: Path, tmp_path: Path, tiebreak: CommandLine) -> None:
    """No command passes the newest version off as another; nothing is written."""
    await trained(project, tmp_path)
    asked: list[tuple[object, ...]] = [
        ("show", project, "--version", 61),
        ("diff", project, 60, 61),
        ("export", project, tmp_path / "l.jsonl", "--version", 61),
    ]
    for arguments in asked:
        ended = await asyncio.to_thread(tiebreak, "dataset", *arguments, "--data", tmp_path)
        assert "There is no data set version 61: the newest is 60." in ended.err
    assert not (tmp_path / "l.jsonl").exists()


def test_the_datasheet_names_the_vectors_of_the_class_names(
    project: Path, tmp_path: Path, tiebreak: CommandLine
) -> None:
    """The digest that a version's models were made with; nothing where there never were any."""
    ledger = Ledger(ledger_of(tmp_path))
    assert "class vectors" not in tiebreak("dataset", "show", project, "--data", tmp_path).out
    ledger.pin_vectors("0123456789abcdef")
    assert "0123456789ab" in tiebreak("dataset", "show", project, "--data", tmp_path).out
    ledger.pin_vectors("")
    assert "none any more" in tiebreak("dataset", "show", project, "--data", tmp_path).out
    ledger.close()


async def export(tiebreak: CommandLine, project: Path, out: Path) -> Ended:
    """The command, off this test's event loop."""
    return await asyncio.to_thread(tiebreak, "dataset", "export", project, out, "--data", out.parent)


async def test_a_version_is_exported_whole(project: Path, tmp_path: Path, tiebreak: CommandLine) -> None:
    """Parquet and JSON Lines hold the same rows: values, features, votes and how each event was chosen."""
    labels, _ = await trained(project, tmp_path)
    for name in ("labels.parquet", "labels.jsonl"):
        ended = await export(tiebreak, project, tmp_path / name)
        assert "60 labels written" in ended.out
        assert "Not on the audit trail: Redis" in ended.err  # a deed on local files needs no server, and says so
    table = pyarrow.parquet.read_table(tmp_path / "labels.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert table == lines
    by_id = {x.label_id: x for x in labels}
    first = by_id[table[0]["label_id"]]
    assert tuple(table[0]["features"]) == pytest.approx(first.features)
    assert table[0]["votes"][0]["annotator"] == "ann"
    wrong = await export(tiebreak, project, tmp_path / "labels.xls")
    assert "Call it .parquet or .jsonl." in wrong.err


async def test_a_retracted_annotator_trains_nothing_any_more(
    project: Path, tmp_path: Path, tiebreak: CommandLine
) -> None:
    """The models that learned from them are named, and the next fit is what it would be had they never voted, to the bit."""
    labels, log = await trained(project, tmp_path)
    said = (await retract(tiebreak, project, tmp_path, "bob", "--by", "ann")).out
    assert said.splitlines()[0] == "bob: 20 labels, retracted: data set version 61."
    assert "v000060" in said
    loaded = load_project(project)
    clean = await log_for(loaded)
    async with Running(loaded, log, ledger_of(tmp_path)) as run:
        await run.trains(60)
    await publish_labels(clean, loaded, labels[:40])
    async with Running(loaded, clean, tmp_path / "clean.sqlite") as other:
        await other.trains(40)
    assert run.candidates[-1].digest == other.candidates[-1].digest
    again = (await retract(tiebreak, project, tmp_path, "bob")).out
    assert "retracted before" in again
    shown = (await asyncio.to_thread(tiebreak, "dataset", "show", project, "--data", tmp_path)).out
    assert "ann 40 " in shown
    assert "40 labels written" in (await export(tiebreak, project, tmp_path / "left.jsonl")).out
    assert "No label has a vote of 'eve'" in (await retract(tiebreak, project, tmp_path, "eve")).err


async def test_what_was_taken_back_is_a_version_of_its_own(
    project: Path, tmp_path: Path, tiebreak: CommandLine
) -> None:
    """A retraction, an erasure and an end of retention each move the version on; list, show and diff say what they changed."""

    async def said(*arguments: object) -> str:
        return (await asyncio.to_thread(tiebreak, "dataset", *arguments, "--data", tmp_path)).out

    labels, _ = await trained(project, tmp_path)
    await retract(tiebreak, project, tmp_path, "bob", "--by", "eve", "--reason", "did not look")
    with closing(Ledger(ledger_of(tmp_path))) as ledger:
        assert not ledger.retract(Retraction("bob", "eve", "again", 1))
        assert ledger.dataset_version() == 61
    assert "ann 40, bob 20" in await said("show", project, "--version", 60)
    shown = await said("show", project, "--version", 61)
    assert "bob" in shown
    assert "ann 40 " in shown
    compared = (await said("diff", project, 60, 61)).splitlines()
    assert (compared[0], compared[1], compared[2]) == ("added: 0", "revised: 0", "removed: 20")
    assert compared[-1] == "taken back in version 61: the votes of bob, by eve: did not look"
    with closing(Ledger(ledger_of(tmp_path))) as ledger:
        ledger.erase(Erasure("0123456789abcdef", "ann", "asked to be forgotten", 5))
        before_ms = min(x.settled_ms for x in labels) + 1
        assert ledger.erase_before(before_ms)
        assert not ledger.erase_before(before_ms)
    listed = await said("list", project)
    assert "the votes of bob, by eve" in listed
    assert "The newest version is 63" in listed
    compared = (await said("diff", project, 61, 63)).splitlines()
    assert "about 0123456789ab overwritten, by ann: asked to be forgotten" in compared[-2]
    assert compared[-1].startswith("taken back in version 63: 2 labels settled before 1970-01-01T00:00:01+00:00")


def test_labels_go_on_after_what_was_taken_back(tmp_path: Path) -> None:
    """The next label has the next number: version 3 is the retraction for ever, whatever came after it."""
    entries = [LedgerLabel(n, 1, "a", False, False, 5, Partition("t", 0), 0, b"") for n in ("one", "two", "three")]
    with closing(Ledger(tmp_path / "l")) as ledger:
        assert ledger.commit(Step(entries[:2])) == 2
        ledger.retract(Retraction("bob", "eve", "", 1))
        assert ledger.commit(Step(entries)) == 4
        assert [x.label_id for x in ledger.labels(3)] == ["one", "two"]
        assert [x.label_id for x in ledger.labels(4)] == ["one", "two", "three"]
        assert [ledger.struck(version).annotators for version in (2, 3)] == [frozenset(), {"bob"}]


def test_an_encoder_may_change_while_only_retractions_are_there(tmp_path: Path) -> None:
    """A ledger that learned of a retraction before it had a label has no embeddings that another encoder would mix with."""
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.claim("tests", "one")
        ledger.retract(Retraction("bob", "eve", "", 1))
        ledger.claim("tests", "other")
        assert ledger.pin_vectors("vectors") is None


def test_a_label_that_others_settle_the_same_way_is_told_apart() -> None:
    """Other votes, the same answer, another share of it."""
    label = voted([make_label("e", "a", [0.0])], ("ann", "a", 1.0), ("bob", "b", 0.5), ("eve", "a", 0.5))[0]
    three, two = without(label, {"eve"}), without(label, {"bob"})
    assert changes([three], [two]) == Changes((), (), (), (label.label_id,))
    assert changes([three], [three]) == Changes((), (), ())


async def test_a_running_trainer_takes_a_retraction_up(project: Path, tmp_path: Path, tiebreak: CommandLine) -> None:
    """While it runs, somebody retracts: it fits again by itself, without those votes."""
    _, log = await trained(project, tmp_path)
    loaded = load_project(project)
    async with Running(loaded, log, ledger_of(tmp_path)) as run:
        await run.trains(60)
        before = run.candidates[-1].digest
        count = len(run.candidates)
        await retract(tiebreak, project, tmp_path, "bob")
        await run.offers(count + 1)
        assert run.candidates[-1].digest != before


def test_votes_of_others_settle_what_is_left() -> None:
    """Two against one, and one of the two is retracted: the weights decide; with nobody left the label is withdrawn."""
    label = voted([make_label("e", "a", [0.0])], ("ann", "a", 1.0), ("bob", "a", 1.0), ("eve", "b", 1.5))[0]
    assert without(label, {"zoe"}) == label
    left = without(label, {"bob"})
    assert (left.value, left.distribution, left.confidence) == ("b", {"a": 0.4, "b": 0.6}, 0.6)
    assert without(label, {"ann", "bob", "eve"}).withdrawn


def test_no_ledger_is_one_clear_line(project: Path, tmp_path: Path, tiebreak: CommandLine) -> None:
    """The wrong folder is not filled with an empty ledger."""
    done = tiebreak("dataset", "list", project, "--data", tmp_path)
    assert done.err.startswith("error: There is no ledger")
    assert not ledger_of(tmp_path).exists()


async def test_a_delta_table_holds_the_version_and_keeps_the_one_before(
    project: Path, tmp_path: Path, tiebreak: CommandLine
) -> None:
    """Exported twice: the newest version of the table has all labels, and the first can still be read."""
    await trained(project, tmp_path)
    for version in ("40", "60"):
        ended = await asyncio.to_thread(
            tiebreak,
            *("dataset", "export", project, tmp_path / "table", "--format", "delta"),
            *("--version", version, "--data", tmp_path),
        )
        assert f"{version} labels written" in ended.out
        assert ("earlier versions stay until VACUUM" in ended.err) == (version == "60")
    table = deltalake.DeltaTable(str(tmp_path / "table"))
    assert (table.version(), table.to_pyarrow_table().num_rows) == (1, 60)
    assert deltalake.DeltaTable(str(tmp_path / "table"), version=0).to_pyarrow_table().num_rows == 40


async def test_retractions_on_the_audit_trail_outlive_the_ledger(tmp_path: Path, project: Path) -> None:
    """A ledger that was lost learns from the trail whose votes do not count, before it reads a label."""
    log = await log_for(load_project(project))
    trail = AuditTrail(log, "tests", SystemClock())
    await trail.ensure_topic()
    await trail.append("eve", Action.LABELS_RETRACTED, "bob", "answered without looking")
    ledger = Ledger(tmp_path / "l")
    for _ in range(2):
        await heed_trail(ledger, trail)
    assert [(r.annotator, r.by, r.reason) for r in ledger.retractions()] == [("bob", "eve", "answered without looking")]
    ledger.close()

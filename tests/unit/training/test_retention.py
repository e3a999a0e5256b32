"""Labels that are too old leave the ledger for good, and the weights are those of a trainer that never saw them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.labels import blob_labels, make_label, project_of, revised
from tests.support.training import Running, log_for, publish_labels
from tiebreak.apps.striking import heed_trail
from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import decode_label, encode
from tiebreak.contracts.log import Log, Partition
from tiebreak.contracts.messages import Label
from tiebreak.contracts.retention import order_of
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.training import sqlite_erasing
from tiebreak.training.sqlite import Ledger, LedgerLabel, Step

PROJECT = project_of([2], ("a", "b", "c"))
LABELS = blob_labels(60)  # settled at 1000, 1001, ...
BEFORE_MS = 1020
WORD = "a-very-telling-word"


async def ordered(log: Log, before_ms: int = BEFORE_MS) -> AuditTrail:
    """The trail as `tiebreak train` leaves it when labels before then are too old."""
    trail = AuditTrail(log, PROJECT.project, SystemClock())
    await trail.ensure_topic()
    await trail.append("retention", Action.RETENTION_ENDED, "labels", order_of(before_ms))
    return trail


async def heeded(path: Path, log: Log) -> None:
    with closing(Ledger(path)) as ledger:
        await heed_trail(ledger, await ordered(log))


def take(ledger: Ledger, labels: Sequence[Label]) -> None:
    """As a step of the trainer does."""
    part = Partition("tiebreak.tests.labels", 0)
    rows = [
        LedgerLabel(x.label_id, x.revision, x.value, x.selection.audit, x.withdrawn, x.settled_ms, part, n, encode(x))
        for n, x in enumerate(labels)
    ]
    ledger.commit(Step(rows))


def labels_of(ledger: Ledger) -> list[Label]:
    return [decode_label(entry.wire) for entry in ledger.labels()]


def on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))


async def test_a_ledger_that_lived_and_one_that_was_rebuilt_come_to_the_same_weights(tmp_path: Path) -> None:
    """One saw the old labels, one is rebuilt from a topic that has them still, one from what retention left of it: one digest."""
    marked = [replace(LABELS[0], predicted=WORD), *LABELS[1:]]
    log = await log_for(PROJECT)
    await publish_labels(log, PROJECT, marked)
    async with Running(PROJECT, log, tmp_path / "lived" / "l") as lived:
        await lived.trains(60)
        before = lived.candidates[-1].digest
        assert WORD.encode() in on_disk(tmp_path / "lived" / "l")
        await heeded(tmp_path / "lived" / "l", log)
        await eventually(lambda: lived.candidates[-1].digest != before)
    assert WORD.encode() not in on_disk(tmp_path / "lived" / "l")
    await heeded(tmp_path / "whole" / "l", log)
    async with Running(PROJECT, log, tmp_path / "whole" / "l") as whole:
        await whole.trains(60)
    assert WORD.encode() not in on_disk(tmp_path / "whole" / "l")
    rest = await log_for(PROJECT)
    await publish_labels(rest, PROJECT, [label for label in LABELS if label.settled_ms >= BEFORE_MS])
    async with Running(PROJECT, rest, tmp_path / "rest" / "l") as trimmed:
        await trimmed.trains(40)
    digests = [run.candidates[-1].digest for run in (lived, whole, trimmed)]
    assert digests == [digests[0]] * 3
    assert set(lived.candidates[-1].manifest.label_ids) == {
        x.label_id for x in LABELS if x.settled_ms >= BEFORE_MS and not x.selection.audit
    }


async def test_a_horizon_that_no_label_is_behind_costs_no_step(tmp_path: Path) -> None:
    """It moves eight times in the life of a label: a fit for each would give the same weights, and a line each in `dataset list`."""
    log = await log_for(PROJECT)
    await publish_labels(log, PROJECT, LABELS[:30])
    async with Running(PROJECT, log, tmp_path / "l") as run:
        await run.trains(30)
        for before_ms in (900, 1000):
            with closing(Ledger(tmp_path / "l")) as ledger:
                await heed_trail(ledger, await ordered(log, before_ms))
            await eventually(lambda: run.trainer._struck.before_ms == before_ms)  # noqa: B023
        await publish_labels(log, PROJECT, LABELS[30:])
        await run.trains(60)
        versions = [version for version, *_ in run.ledger.steps()]
        assert versions == sorted(set(versions))


def test_the_newest_answer_decides_how_old_a_label_is(tmp_path: Path) -> None:
    """What was answered anew since stands, with its old revision overwritten; a withdrawal stays one."""
    old, again = (make_label(event, "a", [1, 2], settled_ms=10) for event in "xy")
    with closing(Ledger(tmp_path / "l")) as ledger:
        take(ledger, [old, again, revised(again, "b", 30)])
        assert ledger.erase_before(20) == 2
        kept = [(x.event_id == x.task_id, x.value, x.withdrawn, x.features) for x in labels_of(ledger)]
        assert kept == [(True, "", True, ()), (True, "", True, ()), (False, "b", False, (1.0, 2.0))]
        assert ledger.struck().before_ms == 20
        assert ledger.erase_before(20) == ledger.erase_before(5) == 0


def test_a_removal_that_was_cut_short_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between two slices: what is left goes with the next call, and meanwhile nothing old is taken in."""
    monkeypatch.setattr(sqlite_erasing, "_SLICE", 10)
    path = tmp_path / "l"
    with closing(Ledger(path)) as ledger:
        take(ledger, LABELS)
        turns = [1, 2]

        @contextmanager
        def two_turns() -> Iterator[None]:
            turns.pop()
            with ledger._writing():
                yield

        with pytest.raises(IndexError):
            sqlite_erasing.erase_before(ledger._db, 1045, two_turns)
    with closing(Ledger(path)) as ledger:
        assert sum(x.withdrawn for x in labels_of(ledger)) == 10
        assert ledger.struck().before_ms == 1045
        assert ledger.erase_before(1045) == 45
        assert sum(x.withdrawn for x in labels_of(ledger)) == 45
        assert ledger.erase_before(1050) == 5  # only what came since is looked at

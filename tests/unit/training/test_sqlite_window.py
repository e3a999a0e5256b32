"""What the trainer keeps in memory: as if it held every label, while most are in the ledger alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.labels import blob_labels, make_label, project_of
from tests.support.training import Running, log_for, publish_labels
from tiebreak.contracts.codec import encode
from tiebreak.contracts.log import Partition
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Training
from tiebreak.training.dataset import Dataset, row_of
from tiebreak.training.sqlite import Ledger, LedgerLabel, Step
from tiebreak.training.sqlite_window import window_of

CAPACITY = 8
CHANGES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 60), st.booleans(), st.booleans()), min_size=1, max_size=120
)


def entry(label: Label) -> LedgerLabel:
    audit, where = label.selection.audit, Partition("t", 0)
    return LedgerLabel(
        *(label.label_id, label.revision, label.value, audit, label.withdrawn, label.settled_ms, where, 0),
        encode(label),
    )


@settings(max_examples=60, deadline=None)
@given(CHANGES)
def test_a_bounded_window_holds_what_an_unbounded_one_would(changes: list[tuple[int, int, bool, bool]]) -> None:
    """Labels, relabelled, withdrawn, late and again: after each change the newest of each kind are the same rows."""
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "l")
        try:
            _compare(ledger, changes)
        finally:
            ledger.close()


def _compare(ledger: Ledger, changes: list[tuple[int, int, bool, bool]]) -> None:
    whole, revisions = Dataset(), dict.fromkeys(range(41), 0)
    held = window_of(ledger, CAPACITY)
    for event, settled_ms, withdrawn, audit in changes:
        revisions[event] += 1
        label = make_label(
            f"e{event}", "a", [0.0], audit=audit and event % 2 == 0, revision=revisions[event], settled_ms=settled_ms
        )
        label = replace(label, withdrawn=withdrawn)
        whole.add(row_of(label))
        held.add(row_of(label))
        ledger.commit(Step([entry(label)]))
        if held.short:
            held = window_of(ledger, CAPACITY)
        for kind in (False, True):
            expected = [(r.label_id, r.revision) for r in whole.rows(audit=kind, newest=CAPACITY)]
            assert [(r.label_id, r.revision) for r in held.rows(audit=kind, newest=CAPACITY)] == expected


def test_memory_does_not_grow_with_what_was_ever_labelled() -> None:
    """After a hundred times its capacity the window still holds little, rows and ids alike."""
    held = Dataset(capacity=CAPACITY)
    for i in range(100 * CAPACITY):
        held.add(row_of(make_label(f"e{i}", "a", [0.0], settled_ms=i)))
    assert CAPACITY <= len(held.rows(audit=False)) <= CAPACITY + CAPACITY // 4
    assert sum(held.known(make_label(f"e{i}", "a", [0.0]).label_id) for i in range(100 * CAPACITY)) <= 9 * CAPACITY


async def test_a_label_that_left_the_window_long_ago_is_still_known(tmp_path: Path) -> None:
    """The topic replays an old label after hundreds of newer ones: it is no new version of the data set."""
    training = Training(min_labels=10, step_labels=10, step_s=0.05, committee=2, window=10)
    project, labels = project_of([2], "abc", training=training), blob_labels(200, audit_every=0)
    log = await log_for(project)
    async with Running(project, log, tmp_path / "l") as run:
        await publish_labels(log, project, labels)
        await run.trains(200)
        await publish_labels(log, project, labels[:5])
        await publish_labels(log, project, blob_labels(20, audit_every=0, seed=9))
        await run.trains(220)
        assert run.ledger.dataset_version() == 220
        assert len(run.candidates[-1].manifest.label_ids) == 10

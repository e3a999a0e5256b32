"""Eras: a confirmed drift is in the ledger, and what was labelled before it is in the report and no evidence."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from tests.support.eventually import eventually
from tests.support.labels import blob_labels, dataset_of, project_of
from tests.support.training import Running, log_for, publish_labels, publish_raw
from tiebreak.contracts.codec import encode
from tiebreak.contracts.log import Log
from tiebreak.contracts.messages import DriftEvent, DriftRecord, Label
from tiebreak.contracts.topics import Topic
from tiebreak.training.eras import Era, era_of, joined, present
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.export import read_back
from tiebreak.training.fitting import Stamp, material_of, train
from tiebreak.training.learner import Settings, SoftmaxCommittee
from tiebreak.training.sqlite import Ledger, Step

PROJECT = project_of([2], ("a", "b", "c"))
LEARNER = SoftmaxCommittee(Settings(committee=3))


def told(burst: str, time_ms: int, event: DriftEvent = DriftEvent.BURST_OPENED, project: str = "tests") -> DriftRecord:
    return DriftRecord(project, event, "adwin", "input", 5.0, "", burst, 40, 0, 7, time_ms)


async def publish_drift(log: Log, *records: DriftRecord) -> None:
    await publish_raw(log, PROJECT, [(b"tests", encode(record)) for record in records], Topic.DRIFT)


def test_only_an_opened_burst_of_this_project_confirms_a_drift() -> None:
    """A warning is one detector's word, a burst that closes is over, other projects have other worlds."""
    assert era_of(told("b1", 5), "tests") == Era("b1", 5)
    others = [told("b1", 5, event) for event in DriftEvent if event is not DriftEvent.BURST_OPENED]
    assert [era_of(r, "tests") for r in (*others, told("", 5), told("b1", 5, project="cars"))] == [None] * 5


def test_what_is_known_depends_on_the_set_of_records_alone() -> None:
    """Bursts told in any order, again and at later times: the earliest time of each, and the newest burst begins the era."""
    eras = [Era("b1", 10), Era("b2", 20), Era("b1", 14), Era("b2", 25), Era("b0", 3)]
    for seed in range(20):
        mixed = random.Random(seed).sample(eras * 2, 10)
        assert joined({}, mixed) == {"b0": 3, "b1": 10, "b2": 20}
    assert (present({"b0": 3, "b1": 10}), present({})) == (10, 0)


def test_a_ledger_keeps_the_earliest_time_of_each_and_nothing_of_a_step_that_failed(tmp_path: Path) -> None:
    """Reopened it knows the same; a repeat changes nothing."""
    ledger = Ledger(tmp_path / "l")
    ledger.commit(Step(eras=[Era("b1", 10), Era("b1", 9)]))
    ledger.commit(Step(eras=[Era("b1", 12), Era("b2", 20)]))
    ledger.close()
    again = Ledger(tmp_path / "l")
    assert again.eras() == {"b1": 9, "b2": 20}
    again.close()


def test_the_evidence_is_of_the_era_and_the_report_of_all_labels() -> None:
    """Of 24 audit labels 12 came after the drift: both models are compared on those alone, with their Brier scores and slices."""
    first = train(LEARNER, PROJECT, material_of(dataset_of(blob_labels(40)), PROJECT), None, Stamp(40, 1))
    ours = read_back(first.model)
    assert ours is not None
    serving = Serving(first.manifest.version, Contender(*ours))
    material = material_of(dataset_of(blob_labels(120)), PROJECT)
    drifted = 1060
    whole = train(LEARNER, PROJECT, material, serving, Stamp(120, 1))
    since = train(LEARNER, PROJECT, material, serving, Stamp(120, 1, era_ms=drifted))
    new = tuple(row.label_id for row in material.audit if row.settled_ms >= drifted)
    assert len(whole.evaluation.audit) == 24
    assert (since.evaluation.audit.label_ids, len(new)) == (new, 12)
    assert since.evaluation.audit.champion_brier == whole.evaluation.audit.champion_brier[-12:]
    late = {row.label_id for row in material.training if row.settled_ms >= drifted}
    assert set(since.evaluation.left_out.label_ids) == set(whole.evaluation.left_out.label_ids) & late
    assert (since.evaluation.accuracy, since.evaluation.per_class) == (
        whole.evaluation.accuracy,
        whole.evaluation.per_class,
    )
    assert (since.evaluation.metrics["audit_labels"], since.evaluation.metrics["audit_labels_since_drift"]) == (24, 12)
    assert (since.digest, since.model) == (whole.digest, whole.model), "the model is a function of its labels alone"


async def test_a_confirmed_drift_reaches_the_next_candidate_and_outlives_a_restart_and_a_lost_ledger(
    tmp_path: Path,
) -> None:
    """Told between two portions of labels, beside a warning and garbage: the second candidate is judged since then, always."""
    log = await log_for(PROJECT)
    labels = blob_labels(80)
    await publish_labels(log, PROJECT, labels[:40])
    async with Running(PROJECT, log, tmp_path / "l") as run:
        await run.trains(40)
        await publish_raw(log, PROJECT, [(b"tests", b"\xff\xff")], Topic.DRIFT)
        await publish_drift(log, told("w", 1070, DriftEvent.WARNING), told("b1", 1040), told("b1", 1050))
        await eventually(lambda: run.trainer.era_ms == 1040)
        await publish_labels(log, PROJECT, labels[40:])
        await run.trains(80)
        assert run.ledger.eras() == {"b1": 1040}
    last = run.candidates[-1].evaluation
    assert (run.candidates[0].evaluation.since_ms, last.since_ms, last.metrics["audit_labels"]) == (0, 1040, 16)
    assert len(last.audit) == 8
    for name in ("l", "lost"):
        await _judges_by_the_era(log, tmp_path / name, replace(labels[0], revision=2))


async def _judges_by_the_era(log: Log, path: Path, label: Label) -> None:
    async with Running(PROJECT, log, path) as run:
        await eventually(lambda: run.trainer.era_ms == 1040)
        await publish_labels(log, PROJECT, [label])
        await run.trains(81)
    assert run.candidates[-1].evaluation.since_ms == 1040

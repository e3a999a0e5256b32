"""The trainer over a log: every label once, whatever order, restart or loss; what cannot be learned from is kept aside."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.labels import blob_labels, make_label, project_of, revised
from tests.support.training import Running, ServeAll, log_for, publish_labels, publish_raw
from tiebreak.contracts.candidate import Candidate, Champion
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.log import Partition
from tiebreak.contracts.messages import Label, Vote
from tiebreak.contracts.project import Classes
from tiebreak.contracts.topics import Topic
from tiebreak.training import stage
from tiebreak.training.dataset import Aside
from tiebreak.training.sqlite import Ledger
from tiebreak.training.sqlite_changes import Retraction

PROJECT = project_of([2], ("a", "b", "c"))


async def digest_of(tmp_path: Path, name: str, labels: list[Label]) -> str:
    log = await log_for(PROJECT)
    await publish_labels(log, PROJECT, labels)
    async with Running(PROJECT, log, tmp_path / name) as run:
        await run.trains(len(labels))
    return run.candidates[-1].digest


async def test_labels_become_a_candidate_with_its_report(tmp_path: Path) -> None:
    """60 labels give a model named after them, an honest count of what judged it, and no audit label among what trained it."""
    labels = blob_labels(60)
    log = await log_for(PROJECT)
    async with Running(PROJECT, log, tmp_path / "l") as run:
        await publish_labels(log, PROJECT, labels)
        await run.trains(60)
    last = run.candidates[-1]
    assert last.manifest.version == f"v000060-{last.manifest.sha256[:8]}"
    assert set(last.manifest.label_ids) == {x.label_id for x in labels if not x.selection.audit}
    assert last.evaluation.accuracy.n == 12
    assert last.evaluation.accuracy.estimate > 0.9
    assert last.manifest.temperature == 1.0
    assert last.manifest.classes == ("a", "b", "c")


async def test_too_few_labels_or_one_class_are_kept_and_wait(tmp_path: Path) -> None:
    """Nothing is fitted from one class or below `min_labels`, yet the labels are durable."""
    log = await log_for(PROJECT)
    await publish_labels(log, PROJECT, blob_labels(30, classes=("a",)))
    async with Running(PROJECT, log, tmp_path / "l") as run:
        await eventually(lambda: run.ledger.dataset_version() == 30)
        assert run.candidates == []
        await publish_labels(log, PROJECT, blob_labels(30, seed=1))
        await run.trains(60)


async def test_a_restart_goes_on_where_the_ledger_is_and_offers_the_last_model_again(tmp_path: Path) -> None:
    """Killed between ledger and gate, nobody judged the last model: after the restart it is offered again, the same to the bit."""
    log = await log_for(PROJECT)
    await publish_labels(log, PROJECT, blob_labels(40))
    async with Running(PROJECT, log, tmp_path / "l") as first:
        await first.trains(40)
    async with Running(PROJECT, log, tmp_path / "l") as second:
        await second.trains(40)
        again, before = second.candidates[0], first.candidates[-1]
        assert (again.digest, again.manifest.sha256, again.manifest.version) == _name(before)
        assert second.ledger.dataset_version() == 40


def _name(candidate: Candidate) -> tuple[str, str, str]:
    return candidate.digest, candidate.manifest.sha256, candidate.manifest.version


async def test_labels_with_nothing_but_replays_behind_them_are_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A settler that was killed publishes labels again: a step taken in while they were still to come is fitted all the same."""
    monkeypatch.setattr(stage, "_MOST_GATHERED", 40)
    project = PROJECT.model_copy(update={"partitions": 1})
    log, labels = await log_for(project), blob_labels(40)
    await publish_labels(log, project, labels * 20)
    async with Running(project, log, tmp_path / "l") as run:
        await run.trains(40)
        assert run.ledger.dataset_version() == 40


class FullStore(ServeAll):
    """No room for the first candidate, twice."""

    tries = 0
    check: Callable[[], str]

    async def consider(self, candidate: Candidate) -> None:
        self.tries += 1
        assert self.check() == ("" if self.tries == 1 else "The disk is full.")
        if self.tries <= 2:
            raise SlowDown("The disk is full.", retry_after_s=0.01)
        await super().consider(candidate)


async def test_a_candidate_that_finds_no_room_is_brought_again(tmp_path: Path) -> None:
    """The store's disk is full: the trainer goes on, and the same candidate is offered once there is room."""
    log, sink = await log_for(PROJECT), FullStore()
    await publish_labels(log, PROJECT, blob_labels(30))
    async with Running(PROJECT, log, tmp_path / "l", sink) as run:
        sink.check = run.trainer.pauses.standing
        await eventually(lambda: len(sink.candidates) == 1)
        await eventually(lambda: sink.check() == "")
    assert sink.candidates[0].digest == await digest_of(tmp_path, "plain", blob_labels(30))
    assert sink.tries == 3


class Retracting(ServeAll):
    """Somebody retracts bob's votes, on a connection of their own, the first time that :meth:`now` is come to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def now(self) -> None:
        with closing(Ledger(self._path)) as ledger:
            ledger.retract(Retraction("bob", "eve", "did not look", 1))

    async def champion(self) -> Champion | None:
        self.now()
        return await super().champion()


@pytest.mark.parametrize("early", [True, False])
async def test_a_retraction_during_a_fit_leaves_no_model_under_a_wrong_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    """It comes after the trainer looked for one, before or while it fits: what is offered is the data set that its number says, and

    the ledger keeps nothing of what was learned from the votes taken back.
    """
    log, labels, sink = await log_for(PROJECT), blob_labels(30, audit_every=0), Retracting(tmp_path / "l")
    bobs = [replace(x, votes=(Vote(f"{x.label_id}-bob", "bob", x.value, 1, 1.0),)) for x in labels[:3]]
    reader = log.reader([Topic.LABELS.of(PROJECT.project)], None)
    ends = reader.end_positions

    async def retracted() -> Mapping[Partition, int]:
        sink.now()
        return await ends()

    if early:
        monkeypatch.setattr(reader, "end_positions", retracted)
    await publish_labels(log, PROJECT, [*bobs, *labels[3:]])
    async with Running(PROJECT, log, tmp_path / "l", sink, reader=reader):
        await eventually(lambda: bool(sink.candidates))
    made = sink.candidates[0].manifest
    assert (made.dataset_version, set(made.label_ids)) == (31, {x.label_id for x in labels[3:]})
    with closing(Ledger(tmp_path / "l")) as ledger:
        assert ledger.steps() == ((31, sink.candidates[0].digest, 27, 0),)


async def test_labels_without_a_model_are_learned_from_at_the_next_start(tmp_path: Path) -> None:
    """The first model was dropped and its trainer killed, or `min_labels` is lower now: no new label has to come."""
    log = await log_for(PROJECT)
    await publish_labels(log, PROJECT, blob_labels(30))
    waits = PROJECT.model_copy(update={"training": PROJECT.training.model_copy(update={"min_labels": 100})})
    async with Running(waits, log, tmp_path / "l") as run:
        await eventually(lambda: run.ledger.dataset_version() == 30)
    assert run.candidates == []
    async with Running(PROJECT, log, tmp_path / "l") as run:
        await run.trains(30)


async def test_a_lost_ledger_is_rebuilt_from_the_topic_to_the_same_digest(tmp_path: Path) -> None:
    """The file is gone: reading the topic again, whose labels came in three portions before, ends at the same weights."""
    labels = blob_labels(60)
    log = await log_for(PROJECT)
    async with Running(PROJECT, log, tmp_path / "first") as first:
        for end in (20, 40, 60):
            await publish_labels(log, PROJECT, labels[end - 20 : end])
            await first.trains(end)
    async with Running(PROJECT, log, tmp_path / "second") as second:
        await second.trains(60)
    assert _name(second.candidates[-1]) == _name(first.candidates[-1])


async def test_replays_double_deliveries_and_another_order_change_nothing(tmp_path: Path) -> None:
    """The same labels, each twice and shuffled, give the same model as once in order."""
    labels = blob_labels(50)
    noisy = [*labels, *labels]
    random.Random(3).shuffle(noisy)
    log = await log_for(PROJECT)
    await publish_labels(log, PROJECT, noisy)
    async with Running(PROJECT, log, tmp_path / "noisy") as run:
        await run.trains(50)
    assert run.candidates[-1].digest == await digest_of(tmp_path, "plain", labels)


async def test_a_relabelled_and_a_withdrawn_task_train_as_they_stand_now(tmp_path: Path) -> None:
    """Revisions and withdrawals end at the weights of a world in which only the standing labels were ever given."""
    labels = blob_labels(40)
    changed = revised(labels[2], "a", 5000)
    gone = replace(labels[3], revision=2, withdrawn=True, settled_ms=5001)
    standing = [*labels[:2], replace(changed, revision=1), *labels[4:]]
    digest = await digest_of(tmp_path, "changed", [*labels, changed, gone])
    assert digest == await digest_of(tmp_path, "standing", standing)


async def test_what_cannot_be_learned_from_is_kept_aside_and_taken_in_once_it_can(tmp_path: Path) -> None:
    """An unknown class and torn bytes neither stop the trainer nor vanish; when the class is added, its labels train."""
    log = await log_for(PROJECT)
    await publish_labels(log, PROJECT, [make_label(f"n{i}", "new", [9, 9]) for i in range(3)])
    await publish_raw(log, PROJECT, [(b"torn", b"\xff\xff\xff")])
    await publish_labels(log, PROJECT, blob_labels(30))
    async with Running(PROJECT, log, tmp_path / "l") as run:
        await run.trains(30)
        reasons = sorted(kept.reason for kept in run.ledger.aside())
    assert reasons == [Aside.UNDECODABLE, *[Aside.UNKNOWN_CLASS] * 3]
    wider = PROJECT.model_copy(update={"classes": Classes(names=("a", "b", "c", "new"))})
    async with Running(wider, log, tmp_path / "l") as run:
        await run.trains(33)
        assert [kept.reason for kept in run.ledger.aside()] == [Aside.UNDECODABLE]
    assert run.candidates[-1].manifest.classes == ("a", "b", "c", "new")


async def test_a_label_of_an_unknown_task_is_kept_aside(tmp_path: Path) -> None:
    """Somebody writes a label that names no task of ours, and one that takes another's id: the labels learned from stand."""
    log, labels = await log_for(PROJECT), blob_labels(30)
    stray = replace(labels[0], revision=2, value="b", distribution={}, task_id="t", event_id="never sent")
    taken = replace(labels[1], revision=2, withdrawn=True, task_id=labels[2].task_id, event_id=labels[2].event_id)
    await publish_labels(log, PROJECT, [*labels, stray, taken])
    async with Running(PROJECT, log, tmp_path / "l") as run:
        await run.trains(30)
        await eventually(run.ledger.aside)
        kept = run.ledger.aside()
    assert [one.reason for one in kept] == [Aside.UNKNOWN_TASK] * 2
    assert any("names task 't', which no event here has" in one.detail for one in kept)
    assert await digest_of(tmp_path, "without", labels) == run.candidates[-1].digest


async def test_a_broker_that_stops_loses_no_label_and_doubles_none(tmp_path: Path) -> None:
    """The log goes down between two portions and comes back: the trainer goes on by itself, each label counted once."""
    log = await log_for(PROJECT)
    labels = blob_labels(40)
    await publish_labels(log, PROJECT, labels[:20])
    async with Running(PROJECT, log, tmp_path / "l") as run:
        await run.trains(20)
        log.stop()
        await run.counts("tiebreak_training_steps_total", outcome="retried")
        log.resume()
        await publish_labels(log, PROJECT, labels[20:])
        await run.trains(40)
        assert run.ledger.dataset_version() == 40


async def test_the_champion_is_judged_beside_the_challenger_on_labels_that_trained_neither(tmp_path: Path) -> None:
    """A second step's report has paired evidence: audit labels, and training labels that the same members left out."""
    log = await log_for(PROJECT)
    async with Running(PROJECT, log, tmp_path / "l") as run:
        await publish_labels(log, PROJECT, blob_labels(30))
        await run.trains(30)
        await publish_labels(log, PROJECT, blob_labels(60, seed=1))
        await run.trains(90)
    last = run.candidates[-1]
    assert last.evaluation.champion == last.manifest.parent == run.candidates[-2].manifest.version
    assert len(last.evaluation.audit) == 18
    assert set(last.evaluation.left_out.label_ids) < set(last.manifest.label_ids)
    assert not set(last.evaluation.audit.label_ids) & set(last.manifest.label_ids)

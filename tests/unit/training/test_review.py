"""The serving model under new audit labels: condemned by them it goes, by itself, and by nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.eventually import PATIENCE_S, eventually
from tests.support.labels import blob_labels, dataset_of, project_of
from tests.support.training import PassAll, log_for, publish_labels, publish_raw
from tiebreak.contracts.candidate import Candidate, Paired
from tiebreak.contracts.codec import encode
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.messages import DriftEvent, DriftRecord, Label, Manifest, ModelEvent, ModelRecord
from tiebreak.contracts.project import Gate
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.events.memory import MemoryLog
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.training.fitting import Stamp, material_of, train
from tiebreak.training.learner import Settings, SoftmaxCommittee
from tiebreak.training.sqlite import Ledger
from tiebreak.training.stage import Trainer

PROJECT = project_of([2], ("a", "b", "c"))
STAGES = PROJECT.model_copy(update={"gate": Gate(rollout="canary", young_labels=0)})
TURNED = {"a": "b", "b": "c", "c": "a"}
LATER_MS = 10**14
BETTER = Paired(("l1",), ("a",), (0.0,), (1.0,), (1.0,))


def turned(labels: Sequence[Label]) -> list[Label]:
    """The same events, each with the next class."""
    return [replace(x, value=TURNED[x.value], distribution={TURNED[x.value]: 1.0}) for x in labels]


def model_from(labels: Sequence[Label]) -> Candidate:
    material = material_of(dataset_of(labels), PROJECT)
    return train(SoftmaxCommittee(Settings(committee=3)), PROJECT, material, None, Stamp(len(labels), 1))


def audits(n: int, settled_ms: int = LATER_MS) -> list[Label]:
    """Audit labels that agree with a model from ``blob_labels``."""
    return [replace(x, settled_ms=settled_ms) for x in blob_labels(3 * n, audit_every=3, seed=9) if x.selection.audit]


class FullStore(MemoryModelStore):
    """While ``full``, whatever is put finds no room."""

    full = False
    refused = 0

    async def put(self, manifest: Manifest, model: bytes) -> None:
        if self.full:
            self.refused += 1
            raise SlowDown("The disk is full.", retry_after_s=0.01)
        await super().put(manifest, model)


@dataclass
class World:
    """A good model, a bad one that a person promoted over it, and a trainer that reads what people say since."""

    log: MemoryLog
    store: FullStore
    deployer: Deployer
    ledger: Ledger
    trainer: Trainer
    good: str
    bad: str

    async def history(self) -> tuple[ModelRecord, ...]:
        return (await self.deployer.registry()).history

    async def read(self, labels: int) -> None:
        await eventually(lambda: self.ledger.dataset_version() == labels)


def looked(label: Label, w: World, challenger: str = "") -> Label:
    """A label of an event on which champion and challenger differ, and that was therefore looked for."""
    chosen = replace(label.selection, model_version=w.good, challenger=challenger or w.bad, weight=0.02)
    return replace(label, selection=chosen)


@asynccontextmanager
async def world(tmp_path: Path, *, rollout: bool = False) -> AsyncIterator[World]:
    """``rollout``: the bad one is in the shadow of the good one, since the gate had no audit label."""
    log, store, clock, metrics = await log_for(PROJECT), FullStore(), SystemClock(), Metrics("tests")
    deployer = Deployer(STAGES if rollout else PROJECT, Tools(store, log, PassAll(), metrics, clock))
    await deployer.start()
    good, bad = model_from(blob_labels(60)), model_from(turned(blob_labels(60)))
    await deployer.consider(good)
    if rollout:
        promised = replace(good.evaluation, champion=good.manifest.version, left_out=BETTER)
        await deployer.consider(replace(bad, evaluation=promised))
        assert (await deployer.registry()).rollout is not None
    else:
        await store.put(bad.manifest, bad.model)
        await deployer.promote(bad.manifest.version, "ann", "I like it")
    ledger = Ledger(tmp_path / "l")
    reader = log.reader([Topic.LABELS.of("tests"), Topic.DRIFT.of("tests")], None)
    trainer = Trainer(PROJECT, ledger, reader, metrics, clock)
    stop = asyncio.Event()
    running = asyncio.create_task(trainer.run(stop, deployer, deployer))
    try:
        yield World(log, store, deployer, ledger, trainer, good.manifest.version, bad.manifest.version)
    finally:
        stop.set()
        await asyncio.wait_for(running, PATIENCE_S)
        await reader.close(1.0)
        ledger.close()


async def test_audit_labels_that_condemn_the_serving_model_roll_it_back(tmp_path: Path) -> None:
    """Thirty people's answers since it serves, nearly all against it: the model before serves again, and the record says why."""
    async with world(tmp_path) as w:
        await publish_labels(w.log, PROJECT, audits(30))

        async def back() -> bool:
            return (await w.deployer.registry()).champion == w.good

        await eventually(back)
        last = (await w.history())[-1]
    assert (last.event, last.version, last.parent, last.decided_by) == (ModelEvent.ROLLED_BACK, w.good, w.bad, "gate")
    assert "on 30 audit labels since, the serving model is" in last.reasons[0]


async def test_the_serving_model_is_rolled_back_while_the_store_has_no_room(tmp_path: Path) -> None:
    """The store's disk is full, so a candidate waits to be stored: the labels that condemn what serves take it back all the same."""
    async with world(tmp_path) as w:
        w.store.full = True
        await publish_labels(w.log, PROJECT, blob_labels(30, audit_every=0))
        await eventually(lambda: w.store.refused > 0)
        await publish_labels(w.log, PROJECT, audits(30))

        async def back() -> bool:
            return (await w.deployer.registry()).champion == w.good

        await eventually(back)


@pytest.mark.parametrize("few", [True, False])
async def test_few_labels_or_labels_from_before_it_served_roll_nothing_back(tmp_path: Path, few: bool) -> None:
    """Two labels are no evidence, and those settled before it came to serve are not about its service."""
    async with world(tmp_path) as w:
        labels = audits(2) if few else audits(30, settled_ms=5)
        before = await w.history()
        await publish_labels(w.log, PROJECT, labels)
        await w.read(len(labels))
        # One more step ends after the review of the first.
        await publish_labels(w.log, PROJECT, blob_labels(2, audit_every=0, seed=4))
        await w.read(len(labels) + 2)
        assert await w.history() == before


async def test_labels_from_before_a_confirmed_drift_roll_nothing_back(tmp_path: Path) -> None:
    """Thirty labels against what serves are about a world that is over; thirty of the one that is send it back."""
    async with world(tmp_path) as w:
        drift = DriftRecord("tests", DriftEvent.BURST_OPENED, "adwin", "input", 5.0, "", "b1", 40, 0, 7, LATER_MS + 1)
        await publish_raw(w.log, PROJECT, [(b"tests", encode(drift))], Topic.DRIFT)
        await eventually(lambda: w.trainer.era_ms == LATER_MS + 1)
        before = await w.history()
        await publish_labels(w.log, PROJECT, audits(30))
        await w.read(30)
        await publish_labels(w.log, PROJECT, blob_labels(2, audit_every=0, seed=4))
        await w.read(32)
        assert await w.history() == before
        await publish_labels(w.log, PROJECT, [replace(x, revision=2) for x in audits(30, settled_ms=LATER_MS + 2)])

        async def back() -> bool:
            return (await w.deployer.registry()).champion == w.good

        await eventually(back)


async def test_a_challenger_in_a_rollout_goes_on_few_labels_where_it_differs(tmp_path: Path) -> None:
    """As a shadow, before it has answered any event: twelve labels of events on which the two differ end its rollout, and say so."""
    async with world(tmp_path, rollout=True) as w:
        looked_for = [looked(x, w) for x in audits(12)]
        await publish_labels(w.log, PROJECT, looked_for)

        async def over() -> bool:
            return (await w.deployer.registry()).rollout is None

        await eventually(over)
        last = (await w.history())[-1]
    assert (last.event, last.version, last.parent, last.decided_by) == (ModelEvent.ROLLED_BACK, w.good, w.bad, "gate")
    assert "12 of them where the two differ, the challenger is" in last.reasons[0]


async def test_labels_of_a_rollout_go_on_speaking_of_the_model_once_it_serves(tmp_path: Path) -> None:
    """Six labels while it was tried, six after it came to serve: one test over all of them takes it back."""
    async with world(tmp_path, rollout=True) as w:
        looked_for = [looked(x, w) for x in audits(12)]
        await publish_labels(w.log, PROJECT, looked_for[:3])
        await w.read(3)
        await w.deployer.promote(w.bad, "ann", "enough")
        await publish_labels(w.log, PROJECT, looked_for[3:])

        async def back() -> bool:
            return (await w.deployer.registry()).champion == w.good

        await eventually(back)
        assert "on 12 audit labels since, 12 of them where the two differ" in (await w.history())[-1].reasons[0]


async def test_labels_looked_for_between_other_models_weigh_what_they_stand_for(tmp_path: Path) -> None:
    """The same twelve labels, drawn where another challenger differed, are a quarter of a label: nothing happens."""
    async with world(tmp_path, rollout=True) as w:
        before = await w.history()
        await publish_labels(w.log, PROJECT, [looked(x, w, challenger="v-other") for x in audits(12)])
        await w.read(12)
        await publish_labels(w.log, PROJECT, blob_labels(2, audit_every=0, seed=4))
        await w.read(14)
        assert await w.history() == before


async def test_a_pinned_model_stays_whatever_the_labels_say(tmp_path: Path) -> None:
    """A person pinned it: people roll it back, or nobody does."""
    async with world(tmp_path) as w:
        await w.deployer.pin("ann", "demo today")
        before = await w.history()
        await publish_labels(w.log, PROJECT, audits(30))
        await w.read(30)
        await publish_labels(w.log, PROJECT, blob_labels(2, audit_every=0, seed=4))
        await w.read(32)
        assert await w.history() == before

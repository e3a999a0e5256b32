"""The deployer over a log: what it publishes, what it knows after a restart, and what people may do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.labels import blob_labels, dataset_of, project_of
from tests.support.training import PassAll, Running, log_for, publish_labels
from tiebreak.contracts.candidate import Against, Candidate, Evaluation, Paired
from tiebreak.contracts.errors import Conflict, NotFound
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import ModelEvent, ModelRecord
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.report import report_of
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.shelf import Shelf
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.events.memory import MemoryLog
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.export import read_back
from tiebreak.training.fitting import Material, Stamp, material_of, train
from tiebreak.training.learner import Settings, SoftmaxCommittee

PROJECT = project_of([2], ("a", "b", "c"))


class LosingStore(MemoryModelStore):
    """One from which somebody deletes files."""

    def lose(self, version: str) -> None:
        del self._models[PROJECT.project, version]


@dataclass
class World:
    """One cluster and store, over which deployers come and go."""

    log: MemoryLog
    store: LosingStore
    probe: PassAll = field(default_factory=PassAll)

    async def deployer(self) -> Deployer:
        tools = Tools(self.store, self.log, self.probe, Metrics(PROJECT.project), SystemClock())
        found = Deployer(PROJECT, tools)
        await found.start()
        return found

    async def records(self) -> list[ModelRecord]:
        return list((await (await self.deployer()).registry()).history)

    async def said(self) -> list[tuple[ModelEvent, str]]:
        return [(r.event, r.version) for r in await self.records()]


@pytest.fixture
async def world() -> World:
    return World(await log_for(PROJECT), LosingStore())


def candidate(n: int, before: Candidate | None = None) -> Candidate:
    """What the trainer brings after ``n`` labels, with ``before`` serving."""
    serving = None
    if before is not None:
        ours = read_back(before.model)
        assert ours is not None
        serving = Serving(before.manifest.version, Contender(*ours))
    material = material_of(dataset_of(blob_labels(n)), PROJECT)
    return train(SoftmaxCommittee(Settings(committee=3)), PROJECT, material, serving, Stamp(n, 1))


async def test_a_first_candidate_is_stored_announced_and_promoted(world: World) -> None:
    """The file is in the store before any record names it, and the records carry report, reasons and digest."""
    first = candidate(20)
    await (await world.deployer()).consider(first)
    announced, promoted = await world.records()
    assert (announced.event, promoted.event) == (ModelEvent.CANDIDATE, ModelEvent.PROMOTED)
    assert promoted.version == first.manifest.version
    assert promoted.sha256 == first.manifest.sha256
    assert promoted.reasons == ("no model serves yet, and this one passed every mechanical check",)
    assert first.digest in promoted.report
    assert (await world.store.get("tests", promoted.version))[1] == first.model


async def test_after_a_restart_the_champion_is_known_and_nothing_is_judged_twice(world: World) -> None:
    """A new deployer reads the topic: the same candidate again changes nothing, a better one is compared with the champion."""
    first = candidate(20)
    await (await world.deployer()).consider(first)
    fresh = await world.deployer()
    serving = await fresh.champion()
    assert serving is not None
    assert (serving.version, serving.model) == (first.manifest.version, first.model)
    await fresh.consider(first)
    assert len(await world.said()) == 2
    second = candidate(60, first)
    await fresh.consider(second)
    assert (await world.said())[2:] == [
        (ModelEvent.CANDIDATE, second.manifest.version),
        (ModelEvent.PROMOTED, second.manifest.version),
    ]


async def test_costs_are_compared_with_what_people_accepted_too(world: World) -> None:
    """With the champion, and with the first one since a person's word that has the same classes; with one of them where it is both."""
    deployer = await world.deployer()
    first = candidate(20)
    second = candidate(60, first)
    third = candidate(120, second)
    v1, v2, v3 = (c.manifest.version for c in (first, second, third))
    for each in (first, second, third):
        await deployer.consider(each)
    assert world.probe.rivals == [("", ""), (v1, ""), (v2, v1)]
    assert (await deployer.registry()).line == (v1, v2, v3)
    await deployer.promote(v2, "ann", "worth its price")
    fourth = candidate(140, second)
    fifth = candidate(160, fourth)
    await deployer.consider(fourth)
    await (await world.deployer()).consider(fifth)
    sixth = candidate(180, fifth)
    await deployer.consider(replace(sixth, manifest=replace(sixth.manifest, classes=("a", "b", "c", "d"))))
    v4, v5 = fourth.manifest.version, fifth.manifest.version
    assert world.probe.rivals[3:] == [(v2, ""), (v4, v2), (v5, "")]


def judged(given: Candidate, audit: Paired, reference: Against | None = None) -> Candidate:
    """The same model with other evidence."""
    return replace(given, evaluation=replace(given.evaluation, audit=audit, left_out=Paired(), reference=reference))


def of(both: int, won: int = 0, lost: int = 0) -> Paired:
    n = both + won + lost
    old, new = (1.0,) * both + (0.0,) * won + (1.0,) * lost, (1.0,) * (both + won) + (0.0,) * lost
    return Paired(tuple(map(str, range(n))), ("a",) * n, old, new, (1.0,) * n)


async def test_a_line_of_ties_is_compared_with_the_model_that_was_accepted_last(world: World) -> None:
    """Two ties: the trainer gets the first model beside the champion, and the review as well, which takes the whole line back. A

    gain over it raises the mark; a restart changes nothing.
    """
    deployer = await world.deployer()
    first = candidate(20)
    second, third = judged(candidate(60, first), of(9)), judged(candidate(120, candidate(60, first)), of(9))
    v1, v2, v3 = (c.manifest.version for c in (first, second, third))
    for each in (first, second, third):
        await deployer.consider(each)
    for one in (deployer, await world.deployer()):
        champion = await one.champion()
        assert champion is not None
        assert champion.reference is not None
        assert (champion.version, champion.reference.version, champion.reference.model) == (v3, v1, first.model)
    at = {record.version: record.time_ms for record in await world.records() if record.event is ModelEvent.PROMOTED}
    asked = await deployer.incumbents()
    assert [(i.previous.version, i.serving.version, i.since_ms) for i in asked] == [(v2, v3, at[v3]), (v1, v3, at[v2])]
    better = judged(candidate(140, third), of(9), Against(v1, of(9, won=5), Paired()))
    below = judged(candidate(150, third), of(9), Against(v1, of(9, lost=5), Paired()))
    await deployer.consider(below)
    assert (await deployer.registry()).champion == v3
    await deployer.consider(better)
    registry = await (await world.deployer()).registry()
    assert registry.reference == registry.champion == better.manifest.version


async def test_a_line_that_labels_condemn_goes_back_to_the_model_that_was_accepted_last(world: World) -> None:
    """The champion is as good as the one before it and worse than the first: all of them go."""
    deployer = await world.deployer()
    first = candidate(20)
    for each in (first, judged(candidate(60, first), of(9)), judged(candidate(120, candidate(60, first)), of(9))):
        await deployer.consider(each)
    before, accepted = await deployer.incumbents()
    await deployer.review(before, of(40, lost=1))
    await deployer.review(accepted, of(40, lost=1))
    assert len((await deployer.registry()).line) == 3
    await deployer.review(accepted, of(40, lost=20))
    assert (await deployer.registry()).line == (first.manifest.version,)
    assert await deployer.incumbents() == []


def test_a_candidate_is_trained_and_judged_beside_the_reference_too() -> None:
    """The evidence beside it is of the same labels as that beside the champion, and the report on the topic has its counts."""
    first, second = candidate(40), candidate(60)
    read = [read_back(c.model) for c in (first, second)]
    old, new = (Serving(c.manifest.version, Contender(*r)) for c, r in zip((first, second), read, strict=True) if r)
    material = material_of(dataset_of(blob_labels(120)), PROJECT)
    third = train(
        SoftmaxCommittee(Settings(committee=3)), PROJECT, material, replace(new, reference=old), Stamp(120, 1)
    )
    found = third.evaluation.reference
    assert found is not None
    assert found.version == first.manifest.version
    assert found.audit.label_ids == third.evaluation.audit.label_ids
    assert found.left_out.label_ids == third.evaluation.left_out.label_ids
    assert found.audit.champion == candidate_judged_by(material, old).audit.champion
    said = json.loads(report_of(third))["reference"]
    assert (said["version"], said["audit"]["labels"]) == (first.manifest.version, len(found.audit))


def candidate_judged_by(material: Material, serving: Serving) -> Evaluation:
    return train(SoftmaxCommittee(Settings(committee=3)), PROJECT, material, serving, Stamp(120, 1)).evaluation


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_an_accepted_model_that_is_gone_is_told_and_the_next_one_is_compared(
    world: World, restarted: bool
) -> None:
    """Its file is deleted: the same comparison before and after a restart, and the verdict says what was not compared."""
    deployer = await world.deployer()
    first = candidate(20)
    second = candidate(60, first)
    third = candidate(120, second)
    fourth = candidate(140, third)
    v1, v2, v3 = (c.manifest.version for c in (first, second, third))
    for each in (first, second, third):
        await deployer.consider(each)
    world.store.lose(v1)
    await (await world.deployer() if restarted else deployer).consider(fourth)
    assert world.probe.rivals[-1] == (v3, v2)
    said = (await world.records())[-1].reasons
    assert f"its cost was not compared with that of {v1}: its file cannot be read" in said


async def test_a_champion_that_is_gone_is_told(world: World) -> None:
    """The serving file is deleted: what people accepted before is compared all the same, and the verdict says what was not."""
    deployer = await world.deployer()
    first = candidate(20)
    second = candidate(60, first)
    third = candidate(120, second)
    v1, v2 = (c.manifest.version for c in (first, second))
    for each in (first, second):
        await deployer.consider(each)
    world.store.lose(v2)
    await deployer.consider(third)
    assert world.probe.rivals[-1] == ("", v1)
    assert (
        f"its cost was not compared with that of {v2}: its file cannot be read" in (await world.records())[-1].reasons
    )


async def test_rivals_are_fetched_once(world: World) -> None:
    """Each candidate meets the same two models: their bytes are read for the first, and what is no rival any more is let go."""
    shelf = Shelf(world.store, "tests")
    first = candidate(20)
    version = first.manifest.version
    await world.store.put(first.manifest, first.model)
    kept = await shelf.served(version)
    shelf.keep((version,))
    assert kept is await shelf.served(version)
    shelf.keep(())
    assert kept is not await shelf.served(version)
    world.store.lose(version)
    assert await shelf.served(version) is None


async def test_a_crash_between_storing_and_judging_is_repaired_by_repeating(world: World) -> None:
    """Stored, perhaps announced, never judged: the same candidate again ends in one verdict, with no second announcement."""
    first = candidate(20)
    await world.store.put(first.manifest, first.model)
    await (await world.deployer()).consider(replace(first, manifest=replace(first.manifest, created_ms=99)))
    assert [e for e, _ in await world.said()] == [ModelEvent.CANDIDATE, ModelEvent.PROMOTED]


async def test_a_candidate_judged_against_another_champion_is_sent_back(world: World) -> None:
    """Somebody promoted in between: the comparison is void, no verdict is published, the trainer evaluates again."""
    deployer = await world.deployer()
    await deployer.consider(candidate(20))
    with pytest.raises(Conflict):
        await deployer.consider(candidate(30))
    assert len(await world.said()) == 2


async def test_people_roll_back_promote_and_pin(world: World) -> None:
    """Every command is a record with who and why; the line of champions follows; a pin holds what the gate would promote."""
    deployer = await world.deployer()
    one = candidate(20)
    two = candidate(60, one)
    await deployer.consider(one)
    await deployer.consider(two)
    v1, v2 = one.manifest.version, two.manifest.version
    assert await deployer.rollback("ann", "odd answers") == v1
    rolled = (await world.records())[-1]
    assert (rolled.event, rolled.version, rolled.parent) == (ModelEvent.ROLLED_BACK, v1, v2)
    assert (rolled.decided_by, rolled.reasons) == ("ann", ("odd answers",))
    with pytest.raises(Conflict, match="no model to go back to"):
        await deployer.rollback("ann", "again")
    await deployer.promote(v2, "bob", "it was the data")
    assert await deployer.pin("bob", "demo today") == v2
    held = candidate(90, two)
    await deployer.consider(held)
    assert (await world.said())[-1] == (ModelEvent.HELD, held.manifest.version)
    assert (await world.records())[-1].reasons == (f"{v2} is pinned by bob",)
    await deployer.unpin("bob", "demo is over")
    after = candidate(100, two)
    await deployer.consider(after)
    assert (await deployer.registry()).line == (v1, v2, after.manifest.version)


async def test_what_became_of_the_models_is_exported_by_one_process(world: World) -> None:
    """One held, two served, one of them taken back: a trainer that reads the topic anew exports it, and what people ask does not."""
    deployer = await world.deployer()
    one = candidate(20)
    two = candidate(60, one)
    await deployer.consider(one)
    await deployer.consider(two)
    await deployer.pin("bob", "demo today")
    await deployer.consider(candidate(90, two))
    await deployer.unpin("bob", "over")
    await deployer.rollback("ann", "odd answers")
    metrics = Metrics(PROJECT.project)
    asked = Metrics(PROJECT.project)
    await Deployer(PROJECT, Tools(world.store, world.log, PassAll(), asked, SystemClock())).start()
    assert "regret_ratio{" not in asked.exposition().decode()
    fresh = Deployer(PROJECT, Tools(world.store, world.log, PassAll(), metrics, SystemClock(), metrics))
    await fresh.start()
    found = metrics.exposition().decode()
    assert f'tiebreak_deployment_retrain_success_ratio{{project="tests"}} {2 / 3}' in found
    assert 'tiebreak_deployment_regret_ratio{project="tests"} 0.5' in found
    nll = two.evaluation.metrics["nll"]
    assert f'tiebreak_deployment_promoted_nll_nats{{project="tests"}} {nll}' in found
    drop = 1.0 - two.evaluation.metrics["entropy"] / two.evaluation.metrics["champion_entropy"]
    assert f'tiebreak_deployment_promoted_entropy_drop_ratio{{project="tests"}} {drop}' in found
    assert (await fresh.outcomes()).serving == one.manifest.version


async def test_commands_on_what_is_not_there_change_nothing(world: World) -> None:
    """Unknown versions and an empty registry: a clear refusal, no record."""
    deployer = await world.deployer()
    with pytest.raises(NotFound):
        await deployer.promote("v9", "ann", "typo")
    with pytest.raises(NotFound):
        await deployer.pin("ann", "early")
    with pytest.raises(Conflict):
        await deployer.rollback("ann", "early")
    assert await world.said() == []


async def test_two_deployers_see_each_other(world: World) -> None:
    """A command line rolls back while the trainer's deployer lives: the next decision knows it."""
    trainer, shell = await world.deployer(), await world.deployer()
    one = candidate(20)
    two = candidate(60, one)
    await trainer.consider(one)
    await trainer.consider(two)
    await shell.rollback("ann", "odd answers")
    serving = await trainer.champion()
    assert serving is not None
    assert serving.version == one.manifest.version


async def test_a_broker_that_is_down_leaves_no_half_promotion(world: World) -> None:
    """The verdict cannot be published: the error says so, and the same candidate goes through once the broker is back."""
    deployer = await world.deployer()
    world.log.stop()
    with pytest.raises(Exception, match="stopped"):
        await deployer.consider(candidate(20))
    world.log.resume()
    await deployer.consider(candidate(20))
    assert [e for e, _ in await world.said()] == [ModelEvent.CANDIDATE, ModelEvent.PROMOTED]


async def test_an_unreadable_record_does_not_hide_the_champion(world: World) -> None:
    """Garbage on the topic is passed over; what serves is what the readable records say."""
    deployer = await world.deployer()
    await deployer.consider(candidate(20))
    writer = world.log.writer()
    await writer.start()
    await writer.publish(Outputs([Message(Topic.MODELS.of("tests"), b"tests", b"\xff\xff")]))
    assert (await (await world.deployer()).registry()).champion == candidate(20).manifest.version


async def test_labels_reach_serving_through_trainer_sandbox_and_gate(world: World, tmp_path: Path) -> None:
    """From the first 20 labels on, models are promoted through the real sandbox, each better or as good by its reason."""
    tools = Tools(world.store, world.log, SandboxProbe(PROJECT), Metrics("tests"), SystemClock())
    deployer = Deployer(PROJECT, tools)
    await deployer.start()
    async with Running(PROJECT, world.log, tmp_path / "l", deployer) as run:
        await publish_labels(world.log, PROJECT, blob_labels(20))
        first = await eventually(deployer.champion, 60)
        await publish_labels(world.log, PROJECT, blob_labels(40, seed=1))

        async def judged() -> bool:
            run.check()
            return any(r.dataset_version == 60 for r in (await deployer.registry()).history)

        await eventually(judged, 60)
    assert first is not None
    history = (await deployer.registry()).history
    verdicts = [r for r in history if r.event in {ModelEvent.PROMOTED, ModelEvent.HELD}]
    assert verdicts[0].event is ModelEvent.PROMOTED
    assert all("fast lane for young models" in r.reasons[0] for r in verdicts[1:])

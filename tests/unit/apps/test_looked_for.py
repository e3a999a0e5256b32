"""Where two models differ, from the scorer to the verdict: the whole way that such an event takes, on real models and twins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.support.eventually import eventually
from tests.support.labels import blob_labels, dataset_of, project_of
from tests.support.streaming import StreamBench
from tests.support.training import PassAll, publish_labels
from tiebreak.contracts.candidate import Candidate, Paired
from tiebreak.contracts.codec import decode_task
from tiebreak.contracts.ids import annotation_id
from tiebreak.contracts.messages import AnnotationState, Label, ModelEvent, Task
from tiebreak.contracts.project import Budget, Canary, Gate, Labeling, Project, Sampling
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.labeling.consensus import Ballot, majority
from tiebreak.labeling.settling import TaskRecord, next_step, rule_of
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.scoring.stage import Scorer
from tiebreak.scoring.trial import Trial, audited
from tiebreak.training.fitting import Stamp, material_of, train
from tiebreak.training.learner import Settings, SoftmaxCommittee
from tiebreak.training.sqlite import Ledger
from tiebreak.training.stage import Trainer

PROJECT: Project = project_of([2], ("a", "b", "c")).model_copy(
    update={
        "gate": Gate(rollout="canary", young_labels=0, canary=Canary(compared=0.4)),
        "sampling": Sampling(target_share=0.05, novelty=False),
        "budget": Budget(labels_per_hour=1e7, carry_over=100_000, max_open_tasks=100_000),
        "labeling": Labeling(votes=1),
    }
)
LATER_MS, EVENTS = 10**14, 6000
BETTER = Paired(("l1",), ("a",), (0.0,), (1.0,), (1.0,))


def model_from(labels: Sequence[Label]) -> Candidate:
    material = material_of(dataset_of(labels), PROJECT)
    return train(SoftmaxCommittee(Settings(committee=3)), PROJECT, material, None, Stamp(len(labels), 1))


def worse() -> Candidate:
    """It takes most of one class of three for another."""
    spoiled = [
        replace(x, value="b", distribution={"b": 1.0}) if x.value == "a" else x for x in blob_labels(200, seed=1)
    ]
    return model_from(spoiled)


@dataclass
class World:
    """A good champion, a worse challenger in its shadow, and a trainer that reads what people say."""

    bench: StreamBench
    scorer: Scorer
    deployer: Deployer
    good: str
    bad: str

    async def tasks(self) -> list[Task]:
        return [decode_task(record.value) for record in await self.bench.records(Topic.TASKS)]


@asynccontextmanager
async def world(tmp_path: Path) -> AsyncIterator[World]:
    bench, store, clock, metrics = StreamBench(PROJECT), MemoryModelStore(), SystemClock(), Metrics("tests")
    await bench.start()
    deployer = Deployer(PROJECT, Tools(store, bench.log, PassAll(), metrics, clock))
    await deployer.start()
    good, bad = model_from(blob_labels(200)), worse()
    await deployer.consider(good)
    await deployer.consider(
        replace(bad, evaluation=replace(good.evaluation, champion=good.manifest.version, left_out=BETTER))
    )
    scorer, ledger = Scorer(PROJECT, metrics), Ledger(tmp_path / "l")
    await scorer.swap(good.manifest, good.model)
    await scorer.share(Trial(bad.manifest.version, 0.0), bad.manifest, bad.model)
    reader = bench.log.reader([Topic.LABELS.of("tests"), Topic.DRIFT.of("tests")], None)
    stop = asyncio.Event()
    running = asyncio.create_task(Trainer(PROJECT, ledger, reader, metrics, clock).run(stop, deployer, deployer))
    try:
        yield World(bench, scorer, deployer, good.manifest.version, bad.manifest.version)
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)
        await reader.close(1.0)
        ledger.close()
        scorer.close()


def truths() -> dict[str, str]:
    return {x.event_id: x.value for x in blob_labels(EVENTS, audit_every=0, seed=5)}


def events() -> list[tuple[bytes, bytes]]:
    return [
        (x.event_id.encode(), np.array(x.features, "<f4").tobytes()) for x in blob_labels(EVENTS, audit_every=0, seed=5)
    ]


def settled(task: Task, value: str) -> Label:
    """As the settler makes it of one person's answer."""
    ballot = Ballot(annotation_id(task.task_id, "p"), "p", value, 1, AnnotationState.SUBMITTED, LATER_MS, sequence=1)
    label = next_step(TaskRecord(task, 1, (ballot,)), majority(), rule_of(PROJECT, task)).publish
    assert label is not None
    return label


async def test_a_worse_challenger_goes_on_the_labels_that_were_looked_for(tmp_path: Path) -> None:
    """The scorer sees where the two differ, the sampler asks about it, people answer, and the review sends the challenger back."""
    async with world(tmp_path) as w:
        await w.bench.send(events())
        await w.bench.run(w.scorer)
        asked = [task for task in await w.tasks() if task.selection.audit]
        looked = [task for task in asked if task.selection.counts < 1.0]
        assert {(t.selection.model_version, t.selection.challenger) for t in looked} == {(w.good, w.bad)}
        coin = audited([t.event_id.encode() for t in asked], PROJECT.sampling.seed)
        assert all(own < task.selection.propensity for own, task in zip(coin.tolist(), asked, strict=True))
        assert len(looked) > 15
        labels = [settled(task, truths()[task.event_id]) for task in asked]
        assert [x.selection for x in labels] == [t.selection for t in asked]
        await publish_labels(w.bench.log, PROJECT, labels)

        async def over() -> bool:
            return (await w.deployer.registry()).rollout is None

        await eventually(over)
        last = (await w.deployer.registry()).history[-1]
    assert (last.event, last.version, last.parent) == (ModelEvent.ROLLED_BACK, w.good, w.bad)
    assert "of them where the two differ, the challenger is" in last.reasons[0]


async def test_without_a_challenger_the_slice_is_uniform(tmp_path: Path) -> None:
    """The rollout is over: audit questions are asked at one chance, count one, and name nobody."""
    async with world(tmp_path) as w:
        await w.scorer.unshare()
        await w.bench.send(events())
        await w.bench.run(w.scorer)
        selections = [task.selection for task in await w.tasks() if task.selection.audit]
    assert selections
    assert {(s.weight, s.challenger) for s in selections} == {(0.0, "")}

"""Rollouts by stages: what takes a challenger further, what sends it back, and that a restart resumes where it was."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.models import dense, manifest_of, points, project_of, softmax
from tiebreak.contracts.candidate import Candidate, Evaluation, Golden, Interval, Paired
from tiebreak.contracts.comparison import Comparison, comparison_from_json, comparison_to_json
from tiebreak.contracts.errors import ModelRefused
from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.contracts.messages import ModelEvent
from tiebreak.contracts.project import Gate
from tiebreak.contracts.tensors import EventColumns
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.registry import Rollout
from tiebreak.deployment.rollout import Stage, next_stage
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.events.memory import MemoryLog
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.sandbox import Sandbox
from tiebreak.scoring.stage import Scorer
from tiebreak.scoring.stage_comparing import Comparing
from tiebreak.scoring.stage_follower import ModelFollower
from tiebreak.scoring.trial import Trial, audited, draws

GATE = Gate.model_validate({"rollout": "canary", "canary": {"events": 200, "seconds": 10, "shares": [0.05, 0.5]}})
SAME = Comparison(200, 4, 0, {"a": 100, "b": 100}, {"a": 98, "b": 102}, {"-40": 400}, {"-40": 400})
NONE = Interval(0.0, 0.0, 1.0, 0)
W = points(4, 3, seed=1)
CHAMPION, BETTER = dense(W, squash="Softmax"), dense(W * np.float32(1.1), squash="Softmax")
SHIFTED = dense(W[:, :1] * np.array([[1, -1, 0]], np.float32), squash="Softmax")  # never the third class
PROJECT = project_of(
    gate={
        "rollout": "canary",
        "young_labels": 0,
        "canary": {"events": 200, "seconds": 0, "compared": 0.5, "shares": [0.1, 0.5], "max_shift": 0.1},
    }
)


@pytest.mark.parametrize(
    ("share", "age_s", "counted", "stage"),
    [
        (0.0, 99, Comparison(), None),
        (0.0, 9, SAME, None),
        (0.0, 99, replace(SAME, rows=199), None),
        (0.0, 10, SAME, (ModelEvent.CANARY, 0.05, "as a shadow: 200 events compared, 4 answered otherwise")),
        (0.05, 10, SAME, (ModelEvent.CANARY, 0.5, "at 5 % of the events")),
        (0.5, 10, SAME, (ModelEvent.PROMOTED, 1.0, "at 50 % of the events")),
        (0.0, 0, replace(SAME, failed=1), (ModelEvent.ROLLED_BACK, 0.0, "failed, or gave NaN, 1 times")),
        (0.5, 0, replace(SAME, disagreed=101), (ModelEvent.ROLLED_BACK, 0.0, "101 of 200 events otherwise, more than")),
        (0.5, 99, replace(SAME, challenger={"a": 200}), (ModelEvent.ROLLED_BACK, 0.0, "shift by 0.500, more than")),
        (
            0.5,
            0,
            replace(SAME, challenger_times={"-40": 300, "-20": 100}),
            (ModelEvent.ROLLED_BACK, 0.0, "p99 is 31.2 ms"),
        ),
        (0.5, 10, replace(SAME, challenger_times={"-40": 399, "-20": 1}), (ModelEvent.PROMOTED, 1.0, "")),
    ],
)
def test_a_stage_ends_by_evidence_or_by_a_guard(
    share: float, age_s: float, counted: Comparison, stage: tuple[ModelEvent, float, str] | None
) -> None:
    """Too few events or too little time: it stays. Errors, another mix of classes, a slow tail: back at once, with the reason."""
    found = next_stage(Rollout("v2", share, 0, 0, counted), GATE, int(1000 * age_s))
    if stage is None:
        assert found is None
        return
    assert found == Stage(stage[0], found.reasons if found else (), stage[1])
    assert re.search(stage[2], " ".join(found.reasons))


def test_every_guard_that_bites_is_among_the_reasons() -> None:
    """Broken in two ways: both are said."""
    found = next_stage(Rollout("v2", 0.0, 0, 0, replace(SAME, failed=3, challenger={"b": 200})), GATE, 0)
    assert found is not None
    assert len(found.reasons) == 2


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", comparison_to_json(SAME).replace("200", "-1"), comparison_to_json(SAME).replace("-40", "9e9")],
)
def test_counts_that_are_none_are_refused(text: str) -> None:
    """What a stranger writes on the topic is no comparison, and nothing else breaks."""
    with pytest.raises(ValueError, match=r"comparison|Expecting|literal"):
        comparison_from_json(text)
    assert comparison_from_json(comparison_to_json(SAME)) == SAME


@dataclass
class World:
    """A log with a deployer on one side and a scorer with its follower on the other."""

    log: MemoryLog
    store: MemoryModelStore
    scorer: Scorer
    comparing: Comparing
    sandbox: Sandbox
    events: int = 0

    async def deployer(self) -> Deployer:
        tools = Tools(self.store, self.log, SandboxProbe(PROJECT, self.sandbox), Metrics("test"), SystemClock())
        found = Deployer(PROJECT, tools)
        await found.start()
        return found

    async def traffic(self, rows: int = 600) -> frozenset[str]:
        """Score so many events, publish what was counted; the versions that answered."""
        ids = [f"e{self.events + i}".encode() for i in range(rows)]
        x = np.random.default_rng(self.events).normal(size=(rows, 4)).astype(np.float32)
        self.events += rows
        where = Partition("tiebreak.test.events", 0)
        records = [StoredRecord(where.topic, 0, i, 0, key, b"", ()) for i, key in enumerate(ids)]
        scores = await self.scorer.score(EventColumns(ids, {"x": x}, records, [(where, slice(0, rows))]))
        await self.comparing.publish()
        trial = self.scorer.trial
        assert (scores.differs is None) is (trial is None)
        if trial is None or scores.differs is None:
            return frozenset({scores.version})
        # Both were asked about whatever the audit slice may draw, up to the share compared, and about the challenger's own.
        own, seed = draws(ids, PROJECT.sampling.seed) < trial.share, PROJECT.sampling.seed
        both = own | (audited(ids, seed) < PROJECT.gate.canary.compared)
        np.testing.assert_array_equal(scores.differs >= 0, both)
        if scores.by_challenger is None:
            return frozenset({scores.version})
        expected = draws(ids, PROJECT.sampling.seed) < trial.share
        np.testing.assert_array_equal(scores.by_challenger, expected)
        return frozenset({scores.version, scores.challenger})

    async def stage(self, deployer: Deployer, version: str, share: float) -> None:
        """Wait until the scorer takes part in this stage."""

        async def shared() -> bool:
            trial = self.scorer.trial
            return trial is not None and (trial.version, trial.share) == (version, share)

        await deployer.registry()
        await eventually(shared)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    log, store, sandbox, metrics = MemoryLog(), MemoryModelStore(), Sandbox(keep=True), Metrics("test")
    await log.ensure_topics(specs_for("test", 1))
    scorer = Scorer(PROJECT, metrics, sandbox)
    reader = log.reader([Topic.MODELS.of("test")], None)
    follower = ModelFollower("test", reader, store, scorer, metrics, SystemClock())
    stop, writer = asyncio.Event(), log.writer()
    await writer.start()
    running = asyncio.create_task(follower.run(stop))
    yield World(log, store, scorer, Comparing(PROJECT, scorer, writer, SystemClock()), sandbox)
    stop.set()
    await running
    scorer.close()
    await sandbox.close()


def candidate(version: str, model: bytes, champion: str) -> Candidate:
    """One that the audit labels speak for."""
    n = 400
    audit = Paired(tuple(map(str, range(n))), ("a",) * n, (1.0,) * 340 + (0.0,) * 60, (1.0,) * n, (1.0,) * n)
    x = points(3)
    weights = {CHAMPION: W, BETTER: W * np.float32(1.1)}.get(model)
    golden = softmax(x @ weights) if weights is not None else np.tile(np.array([1, 0, 0], np.float32), (3, 1))
    tolerance = 1e-3 if weights is not None else 1.0
    evaluation = Evaluation(champion, audit if champion else Paired(), Paired(), NONE, NONE)
    manifest = manifest_of(PROJECT, model, version)
    return Candidate(manifest, model, evaluation, Golden({"x": x}, golden, tolerance), "d")


async def test_a_challenger_takes_over_stage_by_stage_and_a_restart_resumes(world: World) -> None:
    """Shadow, 10 %, 50 %, all: each prediction names its model, another deployer goes on from the topic, other candidates wait."""
    first = await world.deployer()
    await first.consider(candidate("v1", CHAMPION, ""))
    await eventually(lambda: world.scorer.version == "v1")
    await first.consider(candidate("v2", BETTER, "v1"))
    await world.stage(first, "v2", 0.0)
    assert await world.traffic() == {"v1"}
    await first.advance()
    await world.stage(first, "v2", 0.1)
    assert await world.traffic() == {"v1", "v2"}
    await first.consider(candidate("v3", dense(W * np.float32(1.2), squash="Softmax"), "v1"))
    second = await world.deployer()
    await second.advance()
    await world.stage(second, "v2", 0.5)
    await second.advance()
    assert (await second.registry()).champion == "v1", "no event was compared in this stage: nothing is promoted"
    assert await world.traffic() == {"v1", "v2"}
    await second.advance()
    await eventually(lambda: world.scorer.version == "v2")
    await eventually(lambda: world.scorer.trial is None)
    assert await world.traffic() == {"v2"}
    history = (await second.registry()).history
    assert [(r.event, r.version, r.share) for r in history if r.event is not ModelEvent.CANDIDATE] == [
        (ModelEvent.PROMOTED, "v1", 0.0),
        (ModelEvent.SHADOW, "v2", 0.0),
        (ModelEvent.CANARY, "v2", 0.1),
        (ModelEvent.HELD, "v3", 0.0),
        (ModelEvent.CANARY, "v2", 0.5),
        (ModelEvent.PROMOTED, "v2", 1.0),
    ]


async def test_a_challenger_that_answers_otherwise_goes_back_before_it_answers_anybody(world: World) -> None:
    """Audit labels were fooled, the stream is not: in shadow the classes shift, and the champion was all that anybody saw."""
    deployer = await world.deployer()
    await deployer.consider(candidate("v1", CHAMPION, ""))
    await eventually(lambda: world.scorer.version == "v1")
    await deployer.consider(candidate("v2", SHIFTED, "v1"))
    await world.stage(deployer, "v2", 0.0)
    assert await world.traffic() == {"v1"}
    await deployer.advance()
    registry = await deployer.registry()
    last = registry.history[-1]
    assert (last.event, last.version, last.parent) == (ModelEvent.ROLLED_BACK, "v1", "v2")
    assert (registry.champion, registry.line, registry.rollout) == ("v1", ("v1",), None)
    assert "its classes shift by" in last.reasons[0]
    await eventually(lambda: world.scorer.trial is None)


async def test_a_rollout_waits_for_a_model_file_that_is_gone_and_goes_on_once_it_is_back(world: World) -> None:
    """The champion's file is lost while the challenger has to go: the deployer lives, and takes it back later."""
    deployer = await world.deployer()
    await deployer.consider(candidate("v1", CHAMPION, ""))
    await eventually(lambda: world.scorer.version == "v1")
    await deployer.consider(candidate("v2", SHIFTED, "v1"))
    await world.stage(deployer, "v2", 0.0)
    await world.traffic()
    lost = world.store._models.pop(("test", "v1"))
    stop = asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(deployer.run(stop))
        await eventually(lambda: running.done() or any(line["event"].startswith("a rollout waits") for line in logs))
    assert not running.done()
    world.store._models["test", "v1"] = lost

    async def back() -> bool:
        return (await deployer.registry()).rollout is None

    await eventually(back)
    stop.set()
    await running


async def test_a_drift_does_not_let_a_challenger_round_the_stages(world: World) -> None:
    """400 audit labels are known and none is of the new era: the fast lane decides, and yet the challenger begins as a shadow."""
    project = PROJECT.model_copy(update={"gate": PROJECT.gate.model_copy(update={"young_labels": 300})})
    tools = Tools(world.store, world.log, SandboxProbe(project, world.sandbox), Metrics("test"), SystemClock())
    deployer = Deployer(project, tools)
    await deployer.start()
    await deployer.consider(candidate("v1", CHAMPION, ""))
    brought = candidate("v2", BETTER, "v1")
    won = Paired(("l1",), ("a",), (0.0,), (1.0,), (1.0,))
    drifted = replace(brought.evaluation, audit=won, metrics={"audit_labels": 400.0}, since_ms=1)
    await deployer.consider(replace(brought, evaluation=drifted))
    assert (await deployer.registry()).history[-1].event is ModelEvent.SHADOW


async def test_a_challenger_that_a_scorer_refuses_goes_back(world: World) -> None:
    """Its file was damaged after the gate: the scorer says so, and the rollout ends."""
    deployer = await world.deployer()
    await deployer.consider(candidate("v1", CHAMPION, ""))
    await eventually(lambda: world.scorer.version == "v1")
    await deployer.consider(candidate("v2", BETTER, "v1"))
    await world.stage(deployer, "v2", 0.0)
    await world.scorer.unshare()
    manifest = replace(manifest_of(PROJECT, BETTER, "v2"), sha256="0" * 64)
    with pytest.raises(ModelRefused, match="sha256 differs"):
        await world.scorer.share(Trial("v2", 0.0), manifest, BETTER)
    await world.comparing.publish()
    await deployer.advance()
    assert (await deployer.registry()).history[-1].reasons == (
        "it failed, or gave NaN, 1 times where the champion answered",
    )


async def test_a_person_ends_a_rollout(world: World) -> None:
    """`models rollback` during a canary leaves the champion where it is and takes the challenger away."""
    deployer = await world.deployer()
    await deployer.consider(candidate("v1", CHAMPION, ""))
    await deployer.consider(candidate("v2", BETTER, "v1"))
    assert (await deployer.registry()).at_stake == "v2"
    # Ordered again, of another process too, it is the same deed: it does not go on to the champion.
    for asked in (deployer, await world.deployer()):
        assert await asked.rollback("ann", "odd answers", "a digest", "v2") == "v1"
    registry = await deployer.registry()
    assert (registry.champion, registry.at_stake, registry.rollout) == ("v1", "v1", None)
    assert [record.decided_by for record in registry.history].count("ann") == 1

"""The follower: whatever the newest decision on `models` names is what scores, and nothing older for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import PATIENCE_S, eventually
from tests.support.models import dense, manifest_of, points, project_of
from tiebreak.contracts import codec
from tiebreak.contracts.candidate import Golden
from tiebreak.contracts.log import Batch, Message, Outputs, Partition, Record
from tiebreak.contracts.messages import ModelEvent, ModelRecord
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.events.memory import MemoryLog
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.model_plan import Wanted
from tiebreak.runtime.sandbox import Checked, Limits, Sandbox
from tiebreak.scoring.stage import Scorer
from tiebreak.scoring.stage_follower import ModelFollower

PROJECT = project_of()
TOPIC = Topic.MODELS.of("test")


def decision(
    version: str, event: ModelEvent = ModelEvent.PROMOTED, project: str = "test", sha256: str = ""
) -> ModelRecord:
    return ModelRecord(project, version, event, sha256, "", 1, (), "", "gate", 1)


class World:
    """A log, a store, a scorer and the follower between them."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self.log = MemoryLog()
        self.store = MemoryModelStore()
        self.metrics = Metrics("test")
        self.scorer = Scorer(PROJECT, self.metrics, sandbox)
        self.reader = self.log.reader([TOPIC], None)
        self.follower = ModelFollower("test", self.reader, self.store, self.scorer, self.metrics, SystemClock())
        self.stop = asyncio.Event()

    async def keep(self, version: str, seed: int = 1) -> None:
        model = dense(points(4, 3, seed=seed))
        await self.store.put(manifest_of(PROJECT, model, version), model)

    async def publish(self, *values: bytes) -> None:
        writer = self.log.writer()
        await writer.publish(Outputs([Message(TOPIC, b"test", value) for value in values]))

    async def decide(self, *records: ModelRecord) -> None:
        await self.publish(*map(codec.encode, records))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.log.ensure_topics(specs_for("test", 1))
    yield world
    world.scorer.close()


async def test_the_newest_decision_serves_and_later_ones_take_over(world: World) -> None:
    """At the start the older decisions are skipped; then each new one is followed, past records that cannot be read."""
    await world.keep("v1")
    await world.keep("v2", seed=2)
    await world.decide(decision("gone"), decision("v1"))
    running = asyncio.create_task(world.follower.run(world.stop))
    await asyncio.wait_for(world.follower.caught_up.wait(), PATIENCE_S)
    assert world.scorer.version == "v1"
    await world.publish(b"\xff not a record")
    await world.decide(decision("v9", project="other"), decision("v2"))
    await eventually(lambda: world.scorer.version == "v2")
    await world.decide(decision("v1", ModelEvent.ROLLED_BACK))
    await eventually(lambda: world.scorer.version == "v1")
    assert _swaps(world, "swapped") == 2
    assert _swaps(world, "resident") == 1
    world.stop.set()
    await running


async def test_without_any_decision_it_is_known_that_there_is_no_model(world: World) -> None:
    """A cold start is not held up."""
    running = asyncio.create_task(world.follower.run(world.stop))
    await asyncio.wait_for(world.follower.caught_up.wait(), PATIENCE_S)
    assert world.scorer.version == ""
    world.stop.set()
    await running


async def test_a_log_that_is_slow_to_answer_is_no_cold_start(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing came yet, and something is there: until it is read, it is not known which model serves."""
    await world.keep("v1")
    await world.decide(decision("v1"))
    late, poll = [dict[Partition, list[Record]]()] * 3, world.reader.poll

    async def slow(most: int, timeout_s: float) -> Batch:
        return late.pop() if late else await poll(most, timeout_s)

    monkeypatch.setattr(world.reader, "poll", slow)
    running = asyncio.create_task(world.follower.run(world.stop))
    await asyncio.wait_for(world.follower.caught_up.wait(), PATIENCE_S)
    assert (world.scorer.version, late) == ("v1", [])
    world.stop.set()
    await running


async def test_a_missing_model_is_tried_again_and_a_refused_one_is_not(world: World) -> None:
    """A store that lags behind the topic is waited for; a model that fails its check leaves the one before it serving."""
    running = asyncio.create_task(world.follower.run(world.stop))
    await world.decide(decision("v1"))
    await eventually(lambda: (_swaps(world, "missing") or 0) >= 1)
    await world.keep("v1")
    await eventually(lambda: world.scorer.version == "v1")
    bad = dense(points(4, 5, seed=3))
    await world.store.put(manifest_of(PROJECT, bad, "v2"), bad)
    await world.decide(decision("v2"))
    await eventually(lambda: _swaps(world, "refused") == 1)
    await world.keep("v3", seed=3)
    await world.decide(decision("v3"))
    await eventually(lambda: world.scorer.version == "v3")
    assert _swaps(world, "refused") == 1
    world.stop.set()
    await running


async def test_another_model_under_the_name_of_the_one_that_was_judged_never_serves(world: World) -> None:
    """Somebody wrote a sound model with a manifest of its own into the store's folder: topic `models` says which one was judged."""
    await world.keep("v1", seed=1)
    await world.keep("v2", seed=2)
    judged, _ = await world.store.get("test", "v1")
    await world.decide(decision("v1", sha256=judged.sha256), decision("v2", ModelEvent.CANDIDATE, sha256="0" * 64))
    running = asyncio.create_task(world.follower.run(world.stop))
    await eventually(lambda: world.scorer.version == "v1")
    with capture_logs() as logs:
        await world.decide(decision("v2"))
        await eventually(lambda: any(entry["event"] == "model_refused" for entry in logs))
    assert world.scorer.version == "v1"
    assert "another model v2 than the one that topic `models` names" in logs[0]["reason"]
    await world.decide(decision("v2", ModelEvent.SHADOW))
    await eventually(lambda: world.scorer.trial is not None)
    assert world.scorer.take_comparison().failed == 1
    world.stop.set()
    await running


async def test_a_scorer_that_starts_without_the_champions_file_serves_the_one_before_until_it_is_there(
    world: World,
) -> None:
    """A folder that is gone, or a store that lags behind the topic."""
    await world.keep("v1")
    await world.decide(decision("v1"), decision("v2"))
    running = asyncio.create_task(world.follower.run(world.stop))
    await asyncio.wait_for(world.follower.caught_up.wait(), PATIENCE_S)
    assert world.scorer.version == "v1"
    await world.keep("v2", seed=2)
    await eventually(lambda: world.scorer.version == "v2")
    world.stop.set()
    await running


@pytest.mark.parametrize(
    ("decisions", "serves"),
    [
        ([decision("v1"), decision("v2"), decision("bad"), decision("v1", ModelEvent.CANDIDATE)], "v2"),
        ([decision("v1"), decision("bad"), decision("v2"), decision("bad", ModelEvent.ROLLED_BACK)], "v1"),
        ([decision("v1"), decision("bad"), decision("worse"), decision("bad")], "v1"),
        ([decision("bad")], ""),
    ],
)
async def test_a_scorer_that_starts_with_a_damaged_champion_serves_what_was_trusted_before_it(
    world: World, decisions: list[ModelRecord], serves: str
) -> None:
    """Not what was rolled back, and not for a moment no model; the next decision is followed."""
    await world.keep("v1")
    await world.keep("v2", seed=2)
    for version in ("bad", "worse"):
        bad = dense(points(4, 5, seed=3))
        await world.store.put(manifest_of(PROJECT, bad, version), bad)
    await world.decide(*decisions)
    with capture_logs() as logs:
        running = asyncio.create_task(world.follower.run(world.stop))
        await asyncio.wait_for(world.follower.caught_up.wait(), PATIENCE_S)
        assert world.scorer.version == serves
    assert next(e["version"] for e in logs if e["event"] == "model_refused") == "bad"
    await world.keep("v3", seed=4)
    await world.decide(decision("v3"))
    await eventually(lambda: world.scorer.version == "v3")
    world.stop.set()
    await running


class Busy(Sandbox):
    """On a machine that has other things to do: the first so many checks do not end in time."""

    def __init__(self, late: int) -> None:
        super().__init__()
        self.late = late

    async def check(
        self, model: bytes, wanted: Wanted, limits: Limits, *, temperature: float = 1.0, golden: Golden | None = None
    ) -> Checked:
        self.late -= 1
        slow = replace(limits, wall_s=1e-6) if self.late >= 0 else limits
        return await super().check(model, wanted, slow, temperature=temperature, golden=golden)


@pytest.mark.parametrize(("late", "serves"), [(1, "v1"), (2, "")])
async def test_a_model_whose_check_came_late_is_checked_again_and_not_for_ever(late: int, serves: str) -> None:
    """A machine that was busy or asleep at the start must not score without its champion until somebody promotes another."""
    world = World(Busy(late))
    await world.log.ensure_topics(specs_for("test", 1))
    running = asyncio.create_task(world.follower.run(world.stop))
    await world.keep("v1")
    await world.decide(decision("v1"))
    await eventually(lambda: _swaps(world, "refused") == late)
    if not serves:
        await world.keep("v2", seed=2)
        await world.decide(decision("v2"))
        serves = "v2"
    await eventually(lambda: world.scorer.version == serves)
    assert _swaps(world, "refused") == late
    world.stop.set()
    await running
    world.scorer.close()


def _swaps(world: World, outcome: str) -> float | None:
    return world.metrics.registry.get_sample_value(
        "tiebreak_scoring_swaps_total", {"project": "test", "outcome": outcome}
    )

"""`kill -9` of deployer and scorer in the middle of a canary, over the log on Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import redis.asyncio

from tests.support.deployer_child import canary_project, deployer_over
from tests.support.eventually import eventually
from tests.support.models import dense, manifest_of, points, softmax
from tiebreak.contracts.candidate import Candidate, Evaluation, Golden, Interval, Paired
from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.contracts.messages import ModelEvent
from tiebreak.contracts.tensors import EventColumns
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.deployment.files import FileModelStore
from tiebreak.deployment.stage import Deployer
from tiebreak.events.redis_streams import RedisLog
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.sandbox import Sandbox
from tiebreak.scoring.stage import Scorer
from tiebreak.scoring.stage_comparing import Comparing
from tiebreak.scoring.stage_follower import ModelFollower

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

ROOT = Path(__file__).parents[2]
PROJECT = canary_project()
NONE = Interval(0.0, 0.0, 1.0, 0)
W = points(4, 3, seed=1)
STAGES_S = 60.0


@contextmanager
def deployer_process(url: str, folder: Path) -> Iterator[None]:
    """A deployer that takes rollouts further; it ends by `kill -9`, wherever it is."""
    command = [sys.executable, "-m", "tests.support.deployer_child", url, str(folder)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        assert child.poll() is None, "it died before it was killed"
    finally:
        child.kill()
        child.wait(10)


@dataclass
class Replica:
    """A scorer that knows nothing but what is on the topic, and events that it scores all the time."""

    scorer: Scorer
    comparing: Comparing
    answered_by: set[str] = field(default_factory=set)
    events: int = 0

    async def score(self) -> None:
        ids = [f"e{self.events + i}".encode() for i in range(100)]
        self.events += len(ids)
        where = Partition("tiebreak.test.events", 0)
        records = [StoredRecord(where.topic, 0, i, 0, key, b"", ()) for i, key in enumerate(ids)]
        x = points(100, 4, seed=self.events)
        scores = await self.scorer.score(EventColumns(ids, {"x": x}, records, [(where, slice(0, len(ids)))]))
        self.answered_by |= {scores.version} | ({scores.challenger} if scores.by_challenger is not None else set())
        await self.comparing.publish()


@asynccontextmanager
async def replica(log: RedisLog, folder: Path) -> AsyncIterator[Replica]:
    sandbox, metrics, clock, stop = Sandbox(keep=True), Metrics("test"), SystemClock(), asyncio.Event()
    scorer, writer = Scorer(PROJECT, metrics, sandbox), log.writer()
    reader = log.reader([Topic.MODELS.of("test")], None)
    follower = ModelFollower("test", reader, FileModelStore(folder), scorer, metrics, clock)
    await writer.start()
    following = asyncio.create_task(follower.run(stop))
    try:
        await eventually(lambda: scorer.version != "")
        yield Replica(scorer, Comparing(PROJECT, scorer, writer, clock))
    finally:
        stop.set()
        await following
        await writer.close(1.0)
        scorer.close()
        await sandbox.close()


def candidate(version: str, scale: float, champion: str) -> Candidate:
    """One that 400 audit labels speak for."""
    weights, n, x = W * np.float32(scale), 400, points(3)
    model = dense(weights, squash="Softmax")
    audit = Paired(tuple(map(str, range(n))), ("a",) * n, (1.0,) * 340 + (0.0,) * 60, (1.0,) * n, (1.0,) * n)
    evaluation = Evaluation(champion, audit if champion else Paired(), Paired(), NONE, NONE)
    return Candidate(
        manifest_of(PROJECT, model, version), model, evaluation, Golden({"x": x}, softmax(x @ weights)), "d"
    )


async def test_a_rollout_goes_on_after_each_kill_of_deployer_and_scorer(redis_url: str, tmp_path: Path) -> None:
    """Both die in the 10 % stage and again in the 50 % stage: each stage happens once, in order, and the challenger serves."""
    client = redis.asyncio.Redis.from_url(redis_url)
    log = RedisLog(client)
    await log.ensure_topics(specs_for("test", 1))
    desk = await deployer_over(log, tmp_path)
    await desk.consider(candidate("v1", 1.0, ""))
    await desk.consider(candidate("v2", 1.1, "v1"))
    for reached in (0.1, 0.5, 1.0):
        with deployer_process(redis_url, tmp_path):
            async with replica(log, tmp_path) as scorer:
                await _until(desk, scorer, reached)
                assert scorer.answered_by <= {"v1", "v2"}
    history = (await desk.registry()).history
    assert [(r.event, r.version, r.share) for r in history if r.event is not ModelEvent.CANDIDATE] == [
        (ModelEvent.PROMOTED, "v1", 0.0),
        (ModelEvent.SHADOW, "v2", 0.0),
        (ModelEvent.CANARY, "v2", 0.1),
        (ModelEvent.CANARY, "v2", 0.5),
        (ModelEvent.PROMOTED, "v2", 1.0),
    ]
    assert (await desk.registry()).line == ("v1", "v2")
    await desk.close(1.0)
    await client.aclose()


async def _until(desk: Deployer, scorer: Replica, reached: float) -> None:
    """Score until the stage with this share is there and answers events; 1: until the challenger serves alone."""

    async def there() -> bool:
        await scorer.score()
        registry = await desk.registry()
        if reached == 1.0:
            return registry.champion == "v2"
        share = registry.rollout.share if registry.rollout else 1.0
        return share == reached and "v2" in scorer.answered_by

    await eventually(there, STAGES_S)

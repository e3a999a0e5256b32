"""`FLUSHALL` on the queue's Redis while people work: the queue comes back from the topics by itself, and the auditor finds nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import redis.asyncio

from tests.support import whole_loop
from tests.support.auditor import audit
from tests.support.whole_loop import HEALED_S, evidence_of, load_on, lost_nothing, world_of
from tiebreak.apps.up import running, until_ready
from tiebreak.contracts.topics import Topic

pytestmark = [pytest.mark.scenario, pytest.mark.redis, pytest.mark.kafka]

SEED = 20_262


async def test_a_queue_that_was_flushed_again_and_again_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, project_name: str, kafka_address: str
) -> None:
    """After `FLUSHALL` in the middle of answers, of labels and of tasks, I1 to I8 hold, and who held a task holds it still."""
    site = whole_loop.site(tmp_path, project_name, kafka_address)
    world, rng = await asyncio.to_thread(world_of, 20_000, SEED), np.random.default_rng(SEED)
    async with running(site.project, site.project_file, site.settings, site.folder) as up:
        assert await until_ready(up, HEALED_S)
        assert up.redis is not None
        async with (
            redis.asyncio.Redis.from_url(up.redis.url) as store,
            load_on(site, up.children["label"].part.address, world, SEED) as load,
        ):
            await load.seen(Topic.MODELS, 1)
            for topic in (Topic.ANNOTATIONS, Topic.LABELS, Topic.TASKS, Topic.ANNOTATIONS):
                await load.seen(topic, int(rng.integers(1, 20)))
                await store.flushall()
            await load.settled()
    evidence = await evidence_of(site)
    assert audit(evidence) == []
    print(lost_nothing(evidence))

"""`kill -9` of each process under load, on both logs: an auditor finds nothing lost, nothing double, nothing invented."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.support import auditor, whole_loop
from tests.support.auditor import Evidence, audit
from tests.support.redis_fixture import missing
from tests.support.whole_loop import Load, Site, kill, load_on, world_of
from tiebreak.apps.up import Running, running, until_ready
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.redis_server import find_binary

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

SEED = 20_261
WATCHED = {"stream": Topic.PREDICTIONS, "label": Topic.ANNOTATIONS, "train": Topic.LABELS, "redis": Topic.TASKS}


@pytest.fixture(params=["redis-streams", pytest.param("kafka", marks=pytest.mark.kafka)])
def site(request: pytest.FixtureRequest, tmp_path: Path, project_name: str) -> Site:
    """A project of digits on either log."""
    try:
        find_binary()
    except ConfigError as error:
        missing(str(error))
    kafka = request.getfixturevalue("kafka_address") if request.param == "kafka" else ""
    return whole_loop.site(tmp_path, project_name, kafka)


async def test_every_process_killed_under_load_loses_nothing_and_counts_nothing_twice(site: Site) -> None:
    """After `kill -9` of each process and of Redis, each at seeded moments under load, invariants I1 to I8 hold."""
    world = await asyncio.to_thread(world_of, 20_000, SEED)
    async with running(site.project, site.project_file, site.settings, site.folder) as up:
        assert await until_ready(up)
        async with load_on(site, up.children["label"].part.address, world, SEED) as load:
            await load.seen(Topic.MODELS, 1)
            await _kill_all(up, load)
            await load.settled()
    evidence = await whole_loop.evidence_of(site)
    _report(evidence)
    assert audit(evidence) == []


async def _kill_all(up: Running, load: Load) -> None:
    rng = np.random.default_rng(SEED)
    for victim in rng.permutation([*WATCHED] * 2).tolist():
        await load.seen(WATCHED[victim], int(rng.integers(1, 20)))
        await kill(up, victim)


def _report(e: Evidence) -> None:
    votes = len({a.idempotency_key for a in e.annotations})
    for name, count in (("events", len(e.places)), ("answers", votes), ("labels", len(e.ledger))):
        print(f"0 of {count} {name} lost: at most {auditor.bound(0, count):.1e} of them, at 95 %")

"""`kill -9` of each process under load, on both logs: an auditor finds nothing lost, nothing double, nothing invented."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.support.auditor import audit
from tests.support.whole_loop import HEALED_S, VICTIMS, Load, Site, evidence_of, kill, load_on, lost_nothing, world_of
from tiebreak.apps.up import Running, running, until_ready
from tiebreak.contracts.topics import Topic

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

SEED = 20_261


async def test_processes_killed_one_by_one_and_all_at_once_lose_nothing_and_count_nothing_twice(site: Site) -> None:
    """After `kill -9` of each process and of Redis under load, and of all at the same moment, I1 to I8 hold."""
    world = await asyncio.to_thread(world_of, 20_000, SEED)
    async with running(site.project, site.project_file, site.settings, site.folder) as up:
        assert await until_ready(up, HEALED_S)
        async with load_on(site, up.children["label"].part.address, world, SEED) as load:
            await load.seen(Topic.MODELS, 1)
            await _kill_all(up, load)
            await load.settled()
    evidence = await evidence_of(site)
    assert audit(evidence) == []
    print(lost_nothing(evidence))


async def _kill_all(up: Running, load: Load) -> None:
    """One by one, each while its own outputs are being made, and then the whole machine, as far as a process can play that."""
    rng = np.random.default_rng(SEED)
    for victim, outputs in VICTIMS.items():
        await load.seen(outputs, int(rng.integers(1, 20)))
        await kill(up, victim)
    await load.seen(Topic.PREDICTIONS, int(rng.integers(1, 200)))
    await kill(up, *VICTIMS)

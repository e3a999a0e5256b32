"""One process killed again and again under load, on both logs, at moments that a seed chooses: `make chaos`.

KILLS=50 and SEED=... make it longer and different; the seed of a run is in its output.
"""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest

from tests.support.auditor import audit
from tests.support.whole_loop import HEALED_S, VICTIMS, Site, evidence_of, kill, load_on, lost_nothing, world_of
from tiebreak.apps.up import running, until_ready

pytestmark = [pytest.mark.chaos, pytest.mark.redis]


@pytest.mark.parametrize("victim", VICTIMS)
async def test_a_process_killed_again_and_again_loses_nothing_and_counts_nothing_twice(site: Site, victim: str) -> None:
    """After many deaths of one process, each while it made something, I1 to I8 hold."""
    kills, seed = int(os.environ.get("KILLS", "8")), int(os.environ.get("SEED", "1"))
    rng = np.random.default_rng(seed)
    world = await asyncio.to_thread(world_of, 1000 + kills * 10_000, seed)
    async with running(site.project, site.project_file, site.settings, site.folder) as up:
        assert await until_ready(up, HEALED_S)
        async with load_on(site, up.children["label"].part.address, world, seed) as load:
            for _ in range(kills):
                await load.seen(VICTIMS[victim], int(rng.integers(1, 30)))
                await kill(up, victim)
            await load.settled()
    evidence = await evidence_of(site)
    assert audit(evidence) == [], f"seed {seed}"
    print(f"{kills} deaths of {victim}, seed {seed}\n{lost_nothing(evidence)}")

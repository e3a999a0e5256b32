"""A deployer in a process of its own, over Redis, until it is killed: ``python -m tests.support.deployer_child URL FOLDER``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import redis.asyncio

from tests.support.models import project_of
from tiebreak.contracts.log import Log
from tiebreak.contracts.project import Project
from tiebreak.deployment.files import FileModelStore
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.events.redis_streams import RedisLog
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics

# Two seconds a stage: long enough to be killed in the middle of each.
STAGES = {"events": 200, "seconds": 2, "compared": 0.5, "shares": [0.1, 0.5]}


def canary_project() -> Project:
    """Every challenger goes through shadow, 10 % and 50 %."""
    return project_of(gate={"rollout": "canary", "young_labels": 0, "canary": STAGES})


async def deployer_over(log: Log, folder: Path) -> Deployer:
    """One that knows what is on the topic."""
    project = canary_project()
    tools = Tools(FileModelStore(folder), log, SandboxProbe(project), Metrics(project.project), SystemClock())
    found = Deployer(project, tools)
    await found.start()
    return found


async def main(url: str, folder: Path) -> None:
    deployer = await deployer_over(RedisLog(redis.asyncio.Redis.from_url(url)), folder)
    await deployer.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

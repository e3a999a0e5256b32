"""A deployer for the command line: the same records as the trainer's own, decided by a person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager

from tiebreak.apps.stream import models_of
from tiebreak.apps.wiring import Process, open_log
from tiebreak.contracts.project import Project
from tiebreak.deployment.files import FileModelStore
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.settings import Settings

_CLOSE_S = 2.0


@asynccontextmanager
async def open_deployer(project: Project, settings: Settings) -> AsyncIterator[Deployer]:
    """Connected, and knowing what serves. Raises Unreachable."""
    async with open_log(settings) as log:
        tools = Tools(store_of(settings), log, SandboxProbe(project), Metrics(project.project), SystemClock())
        deployer = Deployer(project, tools)
        try:
            await deployer.start()
            yield deployer
        finally:
            await deployer.close(_CLOSE_S)


def deployer_of(process: Process) -> Deployer:
    """For people who ask over HTTP: it decides nothing by itself."""
    tools = Tools(
        store_of(process.settings), process.log, SandboxProbe(process.project), process.metrics, process.clock
    )
    return Deployer(process.project, tools)


async def learned_from(project: str, settings: Settings, label_ids: AbstractSet[str]) -> list[str]:
    """The stored models that any of these labels trained."""
    store = store_of(settings)
    versions = await store.versions(project)
    return [v for v in versions if label_ids & set((await store.manifest(project, v)).label_ids)]


def store_of(settings: Settings) -> FileModelStore:
    """The models of the data directory."""
    return models_of(settings)

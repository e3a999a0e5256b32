"""`tiebreak train`: labels in, models through the gate out."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.types import ASGIApp

from tiebreak.apps.recording_runs import RUNS_FOLDER, RecordingSink
from tiebreak.apps.retaining import Timers
from tiebreak.apps.stream import models_of
from tiebreak.apps.striking import follow_trail, heed_trail
from tiebreak.apps.wiring import Process, open_sandbox
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.files_runs import RunFiles
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.class_vectors_file import load_class_vectors
from tiebreak.runtime.lifecycle import Phase
from tiebreak.runtime.onnx_encoder import load_encoder
from tiebreak.runtime.settings import Settings
from tiebreak.training.export import Encoder
from tiebreak.training.given import Given
from tiebreak.training.sqlite import Ledger
from tiebreak.training.stage import Trainer

_LEDGERS_FOLDER = "ledger"


def ledger_path(project: str, settings: Settings) -> Path:
    """Where the trainer of this data directory keeps the project's ledger."""
    return settings.data_dir / _LEDGERS_FOLDER / f"{project}.sqlite"


async def encoder_of(project: Project) -> Encoder | None:
    """The project's encoder as the trainer needs it. Raises ConfigError."""
    loaded = await load_encoder(project)
    if loaded is None:
        return None
    inputs, embeddings = await asyncio.to_thread(loaded.probe)
    return Encoder(loaded.digest, loaded.graph, embeddings.shape[1], inputs, embeddings)


async def assemble_train(process: Process) -> ASGIApp | None:
    """Trainer and deployer on one process: one active trainer per project."""
    project, data = process.project, process.settings.data_dir
    if project.model.source != "trainer":
        raise ConfigError(
            f"Project {project.project} scores with a model file of yours, so there is nothing to train.",
            fix="Set model.source: trainer, or leave `tiebreak train` out.",
        )
    if not project.labeling.answer.kind.trains:
        raise ConfigError(
            f"No model learns from {project.labeling.answer.kind} answers: they are asked, settled and exported.",
            fix="Leave `tiebreak train` out.",
        )
    if process.settings.verify_key and not process.settings.signing_key:
        raise ConfigError(
            "TIEBREAK_VERIFY_KEY is set without TIEBREAK_SIGNING_KEY: every model made here would be refused."
        )
    store = models_of(process.settings)
    sandbox = open_sandbox(process.life)
    tools = Tools(store, process.log, SandboxProbe(project, sandbox), process.metrics, process.clock, process.metrics)
    deployer = Deployer(project, tools)
    await deployer.start()
    process.life.on_stop(Phase.SINKS, "deployer", deployer.close)
    ledger = Ledger(ledger_path(project.project, process.settings))

    async def close_ledger(_timeout_s: float) -> None:
        ledger.close()

    process.life.on_stop(Phase.SINKS, "ledger", close_ledger)
    trail = AuditTrail(process.log, project.project, process.clock, process.metrics)
    timers = Timers(project, trail, process.clock, process.metrics)
    await timers.order()  # before a label is read: what left the topic since must not be missed by the ledger alone
    heard = await heed_trail(ledger, trail)
    reader = process.log.reader([topic.of(project.project) for topic in (Topic.LABELS, Topic.DRIFT)], None)
    process.life.on_stop(Phase.SINKS, "labels reader", reader.close)
    given = Given(await encoder_of(project), await asyncio.to_thread(load_class_vectors, project))
    trainer = Trainer(project, ledger, reader, process.metrics, process.clock, given)
    process.health.ready_when("disk", trainer.pauses.check)

    sink = RecordingSink(project, RunFiles(data / RUNS_FOLDER), deployer)

    async def work(stop: asyncio.Event) -> None:
        await trainer.run(stop, sink, deployer)

    async def follow(stop: asyncio.Event) -> None:
        await follow_trail(ledger.path, trail, heard, stop)

    process.life.run(Phase.SOURCES, "training", work)
    process.life.run(Phase.SOURCES, "trail", follow)
    process.life.run(Phase.SOURCES, "retention", timers.run)
    # Also where nothing is rolled out by stages: a rollout that was under way before must end, and what people decide is exported.
    process.life.run(Phase.WORK, "rollouts", deployer.run)
    return None

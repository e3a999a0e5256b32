"""What a training step costs, and how long a label takes until a model that learned from it serves."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from statistics import quantiles

import numpy as np

from tests.support.eventually import eventually
from tests.support.labels import blob_labels
from tests.support.training import Running, log_for, publish_labels
from tiebreak.contracts.messages import ModelEvent
from tiebreak.contracts.project import Project
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.sandbox import Sandbox
from tiebreak.scoring.stage import Scorer
from tiebreak.training.dataset import Dataset, Row
from tiebreak.training.fitting import Stamp, material_of, train
from tiebreak.training.sklearn_learners import learner_of


def project_of(width: int, **training: object) -> Project:
    """A small head over one vector."""
    return Project.model_validate(
        {
            "project": "tests",
            "input": {"tensors": [{"name": "x", "shape": [width]}]},
            "classes": {"names": ["a", "b", "c"]},
            "training": {"min_labels": 10, **training},
        }
    )


def step_seconds(labels: int, width: int = 16, repeats: int = 3) -> float:
    """CPU seconds, which a busy machine does not change, of a step that takes in 25 labels after ``labels`` of them.

    The best of some; a fifth of all are audit labels.
    """
    project = project_of(width)
    learner, rng = learner_of(project.training), np.random.default_rng(2)
    x = rng.normal(size=(labels + 25 * repeats, width)).astype(np.float32)
    names = np.array(["a", "b", "c"])[np.abs(x[:, 0] * 1.5).astype(int).clip(0, 2)].tolist()

    def row(i: int) -> Row:
        return Row(f"l{i}", 1, i, names[i], {names[i]: 1.0}, 1.0, 1.0, i % 5 == 0, False, x[i])

    dataset, best = Dataset(map(row, range(labels))), float("inf")
    for repeat in range(repeats):
        began = time.process_time()
        for i in range(labels + 25 * repeat, labels + 25 * (repeat + 1)):
            dataset.add(row(i))
        train(learner, project, material_of(dataset, project), None, Stamp(i, 1))
        best = min(best, time.process_time() - began)
    return best


async def label_to_live(folder: Path, rounds: int) -> tuple[float, float]:
    """Seconds from publishing a label to a scorer that serves a model trained on it: median and 95th percentile.

    Trainer, sandbox, gate and swap as in the running system, on one machine, with the log in memory. Every label of a round
    is answered by a model that ties at least, so that the gate lets each one through.
    """
    project = project_of(2, step_labels=5, step_s=0.2)
    log, store, metrics, clock = await log_for(project), MemoryModelStore(), Metrics("tests"), SystemClock()
    gates, scorers = Sandbox(keep=True), Sandbox(keep=True)  # one a process, as in the running system
    gates.prepare()
    scorers.prepare()
    deployer = Deployer(project, Tools(store, log, SandboxProbe(project, gates), metrics, clock))
    scorer = Scorer(project, metrics, scorers)
    await deployer.start()
    waits: list[float] = []
    labels = blob_labels(20 + 5 * rounds, audit_every=0)
    async with Running(project, log, folder / "ledger.sqlite", deployer) as run:
        for i in range(rounds + 1):
            portion = labels[:20] if i == 0 else labels[15 + 5 * i : 20 + 5 * i]
            began, count = time.perf_counter(), 15 + 5 * (i + 1)
            await publish_labels(log, project, portion)

            async def judged(count: int = count) -> bool:
                run.check()
                history = (await deployer.registry()).history
                return any(r.dataset_version >= count and r.event is not ModelEvent.CANDIDATE for r in history)

            await eventually(judged, 60)
            newest = (await deployer.registry()).history[-1]
            if newest.event is ModelEvent.PROMOTED:
                await scorer.swap(*await store.get("tests", newest.version))
                waits.append(time.perf_counter() - began)
    with suppress(asyncio.CancelledError):
        await deployer.close(1.0)
    scorer.close()
    await gates.close()
    await scorers.close()
    ordered = sorted(waits[1:])
    return ordered[len(ordered) // 2], quantiles(ordered, n=20)[-1]

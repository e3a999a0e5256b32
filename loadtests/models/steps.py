"""What a training step costs, and how long a label takes until a model that learned from it serves."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import numpy as np
from numpy.typing import NDArray

from tests.support.eventually import eventually
from tests.support.labels import blob_labels, make_label
from tests.support.training import Running, log_for, publish_labels
from tiebreak.contracts.codec import decode_label, encode
from tiebreak.contracts.log import Partition
from tiebreak.contracts.messages import ModelEvent
from tiebreak.contracts.project import Project
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.sandbox import Sandbox
from tiebreak.scoring.stage import Scorer
from tiebreak.training.blocks import BLOCK, newest_cuts
from tiebreak.training.dataset import row_of
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.export import read_back
from tiebreak.training.fitting import Stamp, gathered, planned, train
from tiebreak.training.recall import Recall
from tiebreak.training.sklearn_learners import contest_of
from tiebreak.training.sqlite import Ledger, LedgerLabel, Step, Weights
from tiebreak.training.sqlite_window import window_of

_CHUNK = 20_000


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


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a step that takes in 25 labels: processor seconds, which a busy machine does not change; and what holds the labels."""

    seconds: float
    ledger_bytes: int
    opening_seconds: float


def step_cost(folder: Path, labels: int, learner: str = "auto", width: int = 16, repeats: int = 25) -> Cost:
    """What a step costs on average above a ledger of ``labels``, as the trainer takes them; a fifth of all are audit labels.

    What a step does once per hundred labels (a base, and a block of the contest) is part of it, as often as it is to be expected: how
    many blocks begin within these few steps is chance. Each model is judged against the one before it, and from the third on beside
    the first, as a reference that nothing has beaten yet. The first step, which makes what is kept, is not counted.
    """
    project = project_of(width, learner=learner)
    contest, ledger = contest_of(project.training, width), Ledger(folder / f"{labels}.sqlite")
    for start in range(ledger.dataset_version(), labels, _CHUNK):
        ledger.commit(Step([_entry(i, width) for i in range(start, min(start + _CHUNK, labels))]))
    began = time.process_time()
    dataset = window_of(ledger, project.training.window)
    opening, recall = time.process_time() - began, Recall()
    serving: Serving | None = None
    reference: Serving | None = None
    took, begun, learned = [], [], []
    for repeat in range(repeats + 1):
        first = labels + 25 * repeat
        fresh = [_entry(i, width) for i in range(first, first + 25)]
        began = time.process_time()
        for entry in fresh:
            if dataset.known(entry.label_id) or not ledger.revision(entry.label_id):
                dataset.add(row_of(decode_label(entry.wire)))
        plan, wanted = planned(contest, gathered(dataset, project))
        made = train(plan.learner, project, wanted, serving, Stamp(first + 25, 1), recall)
        ledger.commit(Step(fresh, weights=Weights(made.digest, made.model, made.manifest.label_ids, 0)))
        took.append(time.process_time() - began)
        learned = [row_of(decode_label(entry.wire)) for entry in fresh if not entry.audit]
        begun.append(len(newest_cuts(learned, len(learned), project.training.seed)))
        ours = read_back(made.model)
        if ours is None:
            raise RuntimeError("a model of our own cannot be read back")
        serving = Serving(made.manifest.version, Contender(*ours, recall=recall), reference)
        reference = reference or serving
    ledger.close()
    seconds = _on_average(np.array(took[1:]), np.array(begun[1:]), len(learned) / BLOCK)
    return Cost(seconds, ledger.path.stat().st_size, opening)


def _on_average(took: NDArray[np.float64], begun: NDArray[np.int64], expected: float) -> float:
    """Of steps that ``took`` so long, in which so many blocks have ``begun`` where so many are ``expected``."""
    plain = float(took[begun == 0].mean())
    return plain + expected * float((took - plain).sum() / max(begun.sum(), 1))


def _entry(i: int, width: int) -> LedgerLabel:
    x = np.random.default_rng(i).normal(size=width).astype(np.float32)
    value = "abc"[int(np.clip(abs(x[0] * 1.5), 0, 2))]
    label = make_label(f"e{i}", value, x.tolist(), audit=i % 5 == 0, settled_ms=i)
    place = (label.label_id, 1, value, i % 5 == 0, False, i, Partition("labels", 0), i)
    return LedgerLabel(*place, encode(label))


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

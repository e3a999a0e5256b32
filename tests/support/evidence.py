"""Reading a finished run for the auditor: the topics, the ledger, the journals, and the weights of one clean pass."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.support.auditor import Evidence
from tests.support.eventually import eventually
from tests.support.journal import calls_of
from tests.support.serving import unlike_their_models
from tests.support.training import Running
from tiebreak.apps.scanning import scan
from tiebreak.contracts import codec
from tiebreak.contracts.log import Log, Record
from tiebreak.contracts.messages import Label, Prediction
from tiebreak.contracts.ports import ModelStore
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.training.sqlite import Ledger

T = TypeVar("T")

CLEAN_PASS_S = 60.0
ASKED_PER_MODEL = 50


@dataclass(frozen=True, slots=True)
class Traces:
    """Where a run left its traces: the trainer's ledger, the people's journals, an empty folder for the clean pass.

    ``group``: whose positions on ``events`` to read; empty for none. ``store``: the models to ask again; None: none is asked.
    """

    ledger: Path
    journals: Sequence[Path]
    scratch: Path
    group: str = ""
    store: ModelStore | None = None
    disturbed: bool = False


async def gather(log: Log, project: Project, traces: Traces) -> Evidence:
    """Everything the auditor looks at. Nothing may be writing any more.

    A record on a topic of ours that cannot be decoded raises BadRecord: we wrote it.
    """
    topics = await _read(log, project)
    predictions = _decoded(codec.decode_prediction, topics[Topic.PREDICTIONS])
    kept, digest = _ledger(traces.ledger)
    events = Topic.EVENTS.of(project.project)
    return Evidence(
        project=project.project,
        places=frozenset((r.partition, r.offset) for r in topics[Topic.EVENTS]),
        committed=await _committed(log, events, traces.group) if traces.group else {},
        predictions=predictions,
        dead=[d for d in _decoded(codec.decode_dead, topics[Topic.DEAD]) if d.topic == events],
        tasks=_decoded(codec.decode_task, topics[Topic.TASKS]),
        annotations=_decoded(codec.decode_annotation, topics[Topic.ANNOTATIONS]),
        labels=_decoded(codec.decode_label, topics[Topic.LABELS]),
        ledger=kept,
        weights=digest,
        clean_weights=await _clean_pass(log, project, traces.scratch / "clean.sqlite", len(kept)) if digest else "",
        journal=[call for path in traces.journals for call in calls_of(path.read_text().splitlines(keepends=True))],
        lease_s=project.labeling.lease_s,
        votes=project.labeling.votes,
        disturbed=traces.disturbed,
        unlike=await _unlike(project, traces, topics[Topic.EVENTS], predictions),
    )


async def _unlike(
    project: Project, traces: Traces, events: Sequence[Record], predictions: Sequence[Prediction]
) -> list[str]:
    if traces.store is None:
        return []
    return await unlike_their_models(project, traces.store, events, predictions, ASKED_PER_MODEL, project.sampling.seed)


async def _read(log: Log, project: Project) -> dict[Topic, list[Record]]:
    names = {topic.of(project.project): topic for topic in Topic}
    read: dict[Topic, list[Record]] = defaultdict(list)
    async for record in scan(log, project.project, list(Topic)):
        read[names[record.topic]].append(record)
    return read


def _decoded(decode: Callable[[bytes | None], T], records: Sequence[Record]) -> list[T]:
    return [decode(record.value) for record in records]


def _ledger(path: Path) -> tuple[list[Label], str]:
    """Every label revision, what is kept aside included, and the digest of the weights (empty: none yet)."""
    ledger = Ledger(path)
    try:
        wires = [*(label.wire for label in ledger.labels()), *(kept.wire for kept in ledger.aside())]
        weights = ledger.weights()
        return [codec.decode_label(wire) for wire in wires], weights.digest if weights else ""
    finally:
        ledger.close()


async def _clean_pass(log: Log, project: Project, path: Path, labels: int) -> str:
    """The digest that a trainer comes to which reads ``labels`` once, from its beginning, undisturbed."""

    async with Running(project, log, path) as trainer:

        def all_trained() -> str:
            trainer.check()
            # Asked for last: the weights of the step that made it complete, or later ones.
            done = trainer.ledger.dataset_version() + len(trainer.ledger.aside()) >= labels
            weights = trainer.ledger.weights() if done else None
            return weights.digest if weights else ""

        return await eventually(all_trained, CLEAN_PASS_S, what="a clean pass over the labels")


async def _committed(log: Log, topic: str, group: str) -> dict[int, int]:
    """The group's positions. Joins the group for a moment: its members must have left."""
    wanted = await log.partitions(topic)
    reader = log.reader([topic], group)
    await reader.start()
    try:
        async with asyncio.timeout(30):
            while len(reader.assignment()) < wanted:
                await reader.poll(1, 0.1)
        return {partition.index: position for partition, position in (await reader.committed()).items()}
    finally:
        await reader.close(5.0)

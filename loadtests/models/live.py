"""Label-to-live over the running system: `tiebreak up` with Apache Kafka and Redis, events flowing, an annotator at the API.

A label's wait begins before its answer is sent over HTTP and ends when a reader of topic ``predictions`` meets the first prediction by
a model that trained on it. Where the gate holds the label's own model, the label waits for a later one that is let through: until
somebody answers the next question.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from scripts.kafka import Broker
from tests.support.producing import Mix, Producer
from tiebreak.apps.admitting import admit
from tiebreak.apps.demo.digits import digits_world
from tiebreak.apps.demo.people import recognise
from tiebreak.apps.demo.world import CLASSES, World, WorldSettings, event_index
from tiebreak.apps.stream import models_of
from tiebreak.apps.up import running, until_ready
from tiebreak.apps.wiring import open_log
from tiebreak.client import AsyncClient
from tiebreak.contracts import codec
from tiebreak.contracts.log import Log
from tiebreak.contracts.messages import Manifest, ModelEvent, ModelRecord, Prediction
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.outcomes import Outcomes
from tiebreak.labeling.access import Role
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, resolve

_NAME = "live"
PROJECT = """
project: live
partitions: 2
input: {tensors: [{name: pixels, shape: [64]}]}
classes: {names: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]}
sampling: {target_share: 0.02, audit_share: 0.05}
budget: {labels_per_hour: 36000}
labeling: {payload: image}
training: {hidden: 0}
"""
_RATE = 400.0
_SEED = 11
_WARM = 40  # labels before the measured ones: the first models need some
_PACE_S = 0.5  # between two answers: each is a person's, not a flood
_LATE_S = 20.0  # how long the last labels are waited for
_FIGURES = re.compile(r"v\d+-[0-9a-f]+|[+-]?\d+(\.\d+)?(e[+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from answer to first prediction, ascending: ``own`` of the labels whose own model was let through, ``every`` of all.

    Infinite where no model that trained on the label served before the end. ``verdicts``: what the gate said of the labels' own
    models, without its figures -> how many labels' (several labels may share a model). ``accuracy``: of what was served from the first
    model to the last answer; ``regret``: the share of the models that served which were taken back.
    """

    own: Sequence[float]
    every: Sequence[float]
    verdicts: Mapping[str, int]
    accuracy: float
    regret: float


def quantile(ascending: Sequence[float], share: float) -> float:
    """The value that ``share`` of them do not exceed; infinite where there are none.

    >>> quantile([0.1, 0.2, 0.3], 0.5), quantile([0.1, float("inf")], 0.95), quantile([], 0.5)
    (0.2, inf, inf)
    """
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else float("inf")


def kind_of(reasons: Sequence[str]) -> str:
    """The reasons of a verdict without their figures, so that they can be counted.

    >>> kind_of(["fast lane (5 of 300 audit labels): it ties", "5 audit and 9 left-out labels: +0.0 points"])
    'fast lane (n of n audit labels): it ties'
    """
    return "; ".join(_FIGURES.sub("n", reason) for reason in reasons if not reason[:1].isdigit())


@dataclass(slots=True)
class _Seen:
    """On the monotonic clock: when each model's first prediction was read. ``labels``: of each task, its label's id; audits apart.

    ``verdicts``: of each model, the gate's verdict with its reasons. ``right`` of ``told`` predictions, while ``counts``.
    """

    world: World
    first: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    audits: set[str] = field(default_factory=set)
    verdicts: dict[str, str] = field(default_factory=dict)
    outcomes: Outcomes = field(default_factory=Outcomes)
    counts: bool = True
    right: int = 0
    told: int = 0

    async def watch(self, log: Log, stop: asyncio.Event) -> None:
        topics = (Topic.PREDICTIONS, Topic.LABELS, Topic.MODELS)
        reader = log.reader([topic.of(_NAME) for topic in topics], None)
        await reader.start()
        try:
            while not stop.is_set():
                for partition, records in (await reader.poll(5000, 0.1)).items():
                    now = time.monotonic()
                    for record in records:
                        if partition.topic == Topic.LABELS.of(_NAME):
                            label = codec.decode_label(record.value)
                            self.labels[label.task_id] = label.label_id
                            self.audits |= {label.label_id} if label.selection.audit else set()
                        elif partition.topic == Topic.MODELS.of(_NAME):
                            self._learn(codec.decode_model(record.value))
                        else:
                            self._meet(codec.decode_prediction(record.value), now)
        finally:
            await reader.close(5.0)

    def _meet(self, prediction: Prediction, now: float) -> None:
        self.first.setdefault(prediction.model_version, now)
        if prediction.label and self.counts:
            self.told += 1
            self.right += prediction.label == CLASSES[self.world.truths[event_index(prediction.event_id)]]

    def _learn(self, record: ModelRecord) -> None:
        self.outcomes = self.outcomes.after(record)
        if record.event in {ModelEvent.PROMOTED, ModelEvent.HELD}:
            self.verdicts.setdefault(record.version, f"{record.event.value}: {kind_of(record.reasons)}")


async def label_to_live(folder: Path, rounds: int) -> Waits:
    """``rounds`` measured labels. Raises RuntimeError where the system does not come up or offers no work."""
    broker = Broker(folder / "kafka")
    await asyncio.to_thread(broker.start)
    try:
        return await _measured(folder, broker.address, rounds)
    finally:
        await asyncio.to_thread(broker.stop)


async def _measured(folder: Path, kafka: str, rounds: int) -> Waits:
    file = folder / "project.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(PROJECT)))
    project = load_project(file)
    settings = resolve(Options(kafka=kafka, redis="", data=str(folder / "data"), port=0, stop_timeout_s=20.0), {})
    seconds = (rounds + _WARM) * (_PACE_S + 1.0) + _LATE_S
    world = await asyncio.to_thread(digits_world, WorldSettings(events=int(seconds * _RATE), seed=_SEED, drift_at=1.0))
    seen, stop = _Seen(world), asyncio.Event()
    async with AsyncExitStack() as stack:
        up = await stack.enter_async_context(running(project, file, settings, folder))
        if not await until_ready(up):
            raise RuntimeError(f"tiebreak up did not become ready; see {folder}")
        log = await stack.enter_async_context(open_log(settings))
        token, _ = await admit(project, settings, "ann", Role.ANNOTATOR, 1.0, SystemClock())
        producer = Producer(log, _NAME, world, project.input.max_record_bytes, _SEED, Mix(0.0, 0.0, _RATE))
        tasks = [asyncio.create_task(seen.watch(log, stop)), asyncio.create_task(producer.run(stop))]
        try:
            client = AsyncClient(up.children["label"].part.address, token=token, project=_NAME)
            async with client:
                sent = await _answers(client, world, rounds)
            seen.counts = False
            await asyncio.sleep(_LATE_S)
        finally:
            stop.set()
            await asyncio.gather(*tasks)
        store = models_of(settings)
        made = [await store.manifest(_NAME, version) for version in await store.versions(_NAME)]
    return _waits(sent, seen, made)


async def _answers(client: AsyncClient, world: World, rounds: int) -> Mapping[str, float]:
    """When the answer to each measured task was sent, on the monotonic clock."""
    truths = await asyncio.to_thread(world.truth_by_image)
    sent: dict[str, float] = {}
    done = 0
    while len(sent) < rounds:
        claim = await client.claim(wait_s=30.0)
        if not claim.tasks:
            raise RuntimeError(f"no task within 30 s: {claim.reason}")
        for task in claim.tasks:
            truth = recognise(truths, task.payload.image)
            if truth is None:
                raise RuntimeError("a task shows an image that no event had")
            began = time.monotonic()
            await client.submit(task, truth)
            done += 1
            if done > _WARM:
                sent[task.task_id] = began
                await asyncio.sleep(_PACE_S)
    return sent


def _waits(sent: Mapping[str, float], seen: _Seen, made: Sequence[Manifest]) -> Waits:
    own: list[float] = []
    every: list[float] = []
    verdicts: Counter[str] = Counter()
    for task, began in sent.items():
        label = seen.labels.get(task, "")
        if label in seen.audits:
            continue  # never trained on
        trained = [m for m in made if label in m.label_ids]
        # A model that a later step made may have begun to serve first: the earliest counts.
        wait = min((seen.first[m.version] for m in trained if m.version in seen.first), default=float("inf")) - began
        every.append(wait)
        first = min(trained, key=lambda m: m.created_ms).version if trained else ""
        verdicts[seen.verdicts.get(first, "no verdict")] += 1
        if first in seen.first:
            own.append(wait)
    accuracy, regret = seen.right / max(seen.told, 1), seen.outcomes.regret or 0.0
    return Waits(sorted(own), sorted(every), dict(verdicts.most_common()), accuracy, regret)

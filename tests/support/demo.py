"""A small world, and a run in it told as records, for the tests of the demo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiebreak.apps.demo.recording import Recording
from tiebreak.apps.demo.world import CLASSES, World, WorldSettings, build_world, event_id
from tiebreak.contracts.codec import encode
from tiebreak.contracts.ids import label_id, task_id
from tiebreak.contracts.log import StoredRecord
from tiebreak.contracts.messages import (
    DriftEvent,
    DriftRecord,
    Label,
    LabelMethod,
    Manifest,
    ModelEvent,
    ModelRecord,
    Prediction,
    Reason,
    Selection,
    Task,
)
from tiebreak.contracts.topics import Topic

PROJECT = "digits-demo"


def small_world(events: int = 1000, seed: int = 7) -> World:
    """Ten classes, each a bright square at a place of its own, in order again and again."""
    images = np.zeros((10, 8, 8), np.float32)
    for digit in range(10):
        row, column = divmod(digit, 5)
        images[digit, 1 + 3 * row : 4 + 3 * row, 1 + column : 3 + column] = 1.0
    return build_world(images, np.arange(10), WorldSettings(events=events, seed=seed))


def stored(topic: Topic, message: object, offset: int = 0) -> StoredRecord:
    """A message as a record of the demo's project."""
    return StoredRecord(topic.of(PROJECT), 0, offset, 0, None, encode(message))


def prediction(index: int, label: str, version: str = "v1", at_ms: int = 0) -> StoredRecord:
    """Event ``index`` answered by ``version``; its offset is its index."""
    p = Prediction(event_id(index), version, label, (0.5, 0.5), 0.25, "margin", False, 0, index, at_ms or index)
    return stored(Topic.PREDICTIONS, p)


def selection(*, audit: bool = False) -> Selection:
    """One by uncertainty, or by audit."""
    return Selection("margin", 0.5, 0.25, 0.5, Reason.AUDIT if audit else Reason.UNCERTAIN, audit, "v1", "digest")


def asked(index: int, at_ms: int = 0) -> StoredRecord:
    """The task about event ``index``."""
    identity = event_id(index)
    return stored(
        Topic.TASKS,
        Task(
            task_id=task_id(PROJECT, identity),
            project=PROJECT,
            event_id=identity,
            payload=None,
            features=(0.0,),
            predicted="0",
            probabilities=(),
            classes=CLASSES,
            selection=selection(),
            priority=0.0,
            lane="normal",
            votes_wanted=1,
            created_ms=at_ms or index,
            event_time_ms=index,
            schema_version=1,
        ),
    )


def settled(index: int, value: str, at_ms: int) -> StoredRecord:
    """The label of event ``index``."""
    identity = event_id(index)
    task = task_id(PROJECT, identity)
    return stored(
        Topic.LABELS,
        Label(
            label_id=label_id(task),
            task_id=task,
            event_id=identity,
            project=PROJECT,
            revision=1,
            value=value,
            distribution={value: 1.0},
            confidence=1.0,
            method=LabelMethod.CONSENSUS,
            votes=(),
            features=(0.0,),
            selection=selection(),
            predicted="0",
            event_time_ms=index,
            settled_ms=at_ms,
            schema_version=1,
        ),
    )


def drifted(event: DriftEvent, offset: int, burst: str = "b1") -> StoredRecord:
    """A drift record made at the event with that offset."""
    return stored(Topic.DRIFT, DriftRecord(PROJECT, event, "ADWIN", "input", 0.5, "", burst, 60, 0, offset, offset))


def promoted(version: str) -> StoredRecord:
    """A model went into service."""
    return stored(
        Topic.MODELS, ModelRecord(PROJECT, version, ModelEvent.PROMOTED, "0" * 64, "", 1, ("fine",), "{}", "gate", 1)
    )


def manifest(version: str, indices: Sequence[int]) -> Manifest:
    """A model trained on the labels of these events."""
    ids = tuple(label_id(task_id(PROJECT, event_id(i))) for i in indices)
    return Manifest(PROJECT, version, "0" * 64, 1, {}, CLASSES, 1.0, len(ids), 1, label_ids=ids)


def told(world: World, records: Sequence[StoredRecord]) -> Recording:
    """The recording of these records."""
    recording = Recording.of(world)
    for record in records:
        recording.take(record)
    return recording

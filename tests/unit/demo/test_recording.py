"""A run read back from its topics."""

from __future__ import annotations

import numpy as np

from tests.support.demo import (
    PROJECT,
    asked,
    drifted,
    prediction,
    promoted,
    settled,
    small_world,
    stored,
    told,
)
from tiebreak.apps.demo.recording import UNSCORED, Recording, discovery, moving_accuracy
from tiebreak.apps.demo.world import CLASSES
from tiebreak.contracts.codec import decode_prediction
from tiebreak.contracts.errors import DeadReason
from tiebreak.contracts.messages import DeadLetter, DriftEvent
from tiebreak.contracts.topics import Topic


def test_the_first_prediction_of_an_event_counts_and_a_repeat_changes_nothing() -> None:
    """A scorer that was killed publishes a batch again, perhaps with another model: its consumers had the first one already."""
    world = small_world()
    truth = CLASSES[world.truths[5]]
    recording = told(world, [prediction(5, truth, "v1"), prediction(5, "9", "v2"), prediction(6, "9", "")])
    assert (recording.predicted, recording.newest) == (2, 6)
    assert recording.versions == ["", "v1"]
    assert (recording.version[4:7].tolist(), recording.right[5]) == ([UNSCORED, 1, 0], True)
    assert np.flatnonzero(recording.modelled).tolist() == [5]


def test_bursts_and_alarms_are_placed_at_the_events_where_they_happened() -> None:
    """A drift record names a partition and an offset; one that is still open lasts to the newest event."""
    records = [prediction(i, "0") for i in range(100)]
    records += [
        drifted(DriftEvent.ALARM, 40),
        drifted(DriftEvent.BURST_OPENED, 40),
        drifted(DriftEvent.BURST_CLOSED, 70),
    ]
    records += [drifted(DriftEvent.BURST_OPENED, 90, "b2"), drifted(DriftEvent.BURST_OPENED, 5000, "b3")]
    recording = told(small_world(), records)
    assert recording.bursts() == [(40, 70), (90, 99)]
    assert recording.alarms() == [40]


def test_what_cannot_be_read_is_counted_and_costs_nothing_else() -> None:
    """Foreign bytes or a foreign event on a topic do not end the demo."""
    recording = told(small_world(), [promoted("v1"), asked(3), settled(3, "3", 50)])
    broken = stored(Topic.PREDICTIONS, decode_prediction(prediction(0, "0").value))
    recording.take(type(broken)(broken.topic, 0, 0, 0, None, b"\xff\xff"))
    recording.take(type(broken)(broken.topic, 0, 0, 0, None, None))
    letter = DeadLetter(PROJECT, "t", 0, 0, DeadReason.EMPTY, "", b"", "0" * 64, 0)
    recording.take(stored(Topic.DEAD, letter))
    assert (recording.unreadable, recording.dead, len(recording.models)) == (2, 1, 1)
    assert [a.index for a in recording.asked.values()] == [s.index for s in recording.settled.values()] == [3]


def test_discovery_counts_from_the_first_appearance_of_the_new_class() -> None:
    """A new-class event that was labelled late is found late, and never before it can exist."""
    world = small_world()
    nines = np.flatnonzero(world.truths == 9)
    assert discovery(world, [0, 1, int(nines[3]), int(nines[2])]) == nines[2] - nines[0]
    assert discovery(world, [0, 1]) is None


def test_prequential_accuracy_counts_the_counted_events_of_the_window_alone() -> None:
    """Events without a model are neither right nor wrong, and the share of a handful is not shown."""
    right = np.array([1, 1, 0, 0, 1, 1, 1, 0], np.bool_)
    counted = np.array([0, 1, 1, 1, 1, 1, 0, 1], np.bool_)
    expected = [np.nan, 1.0, 1 / 2, 1 / 3, 1 / 3, 2 / 3, 1.0, 1 / 2]
    assert np.allclose(moving_accuracy(right, counted, 3), expected, equal_nan=True)
    assert np.isnan(moving_accuracy(right[:2], counted[:2], 6)).all()


def test_an_empty_recording_answers_every_question() -> None:
    """Before the first record there is nothing, and nothing fails."""
    recording = Recording.of(small_world())
    assert (recording.bursts(), recording.alarms(), recording.promotions(), recording.discovery()) == ([], [], [], None)
    assert recording.first_event("v1") is None

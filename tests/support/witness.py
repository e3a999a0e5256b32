"""A bystander of a scenario: reads every topic while the run goes on, and knows what is still owed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tiebreak.contracts import codec
from tiebreak.contracts.errors import Unreachable
from tiebreak.contracts.log import Log, Record
from tiebreak.contracts.topics import Topic

_POLL_S = 0.2
_RETRY_S = 0.3


@dataclass(slots=True)
class Witness:
    """``counts``: records per topic, replays included. Places are (partition, offset) on ``events``."""

    log: Log
    project: str
    counts: Counter[Topic] = field(default_factory=Counter)
    unanswered: set[tuple[int, int]] = field(default_factory=set)
    answered: set[tuple[int, int]] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    standing: dict[str, tuple[int, bool]] = field(default_factory=dict)
    revisions: set[tuple[str, int]] = field(default_factory=set)

    async def watch(self, stop: asyncio.Event) -> None:
        """Read on until ``stop``; a log that is away is waited for."""
        topics = {topic.of(self.project): topic for topic in Topic}
        reader = self.log.reader(list(topics), None)
        await reader.start()
        try:
            while not stop.is_set():
                try:
                    batch = await reader.poll(2000, _POLL_S)
                except Unreachable:
                    await asyncio.sleep(_RETRY_S)
                    continue
                for records in batch.values():
                    for record in records:
                        self._take(topics[record.topic], record)
        finally:
            await reader.close(2.0)

    def owed(self) -> str:
        """What has no outcome yet, in words; empty when all is settled: events, then questions."""
        asked = {task for task in self.tasks if self.standing.get(task, (0, True))[1]}
        events = f"{len(self.unanswered)} events without an outcome" if self.unanswered else ""
        questions = f"{len(asked)} tasks without a label" if asked else ""
        return ", ".join(filter(None, (events, questions)))

    def _take(self, topic: Topic, record: Record) -> None:
        self.counts[topic] += 1
        takes: dict[Topic, Callable[[Record], None]] = {
            Topic.EVENTS: lambda r: self._event((r.partition, r.offset)),
            Topic.PREDICTIONS: self._prediction,
            Topic.DEAD: self._dead,
            Topic.TASKS: lambda r: self.tasks.add(codec.decode_task(r.value).task_id),
            Topic.LABELS: self._label,
        }
        if topic in takes:
            takes[topic](record)

    def _event(self, place: tuple[int, int]) -> None:
        # The topics are read side by side: an outcome may be seen before its event.
        if place not in self.answered:
            self.unanswered.add(place)

    def _outcome(self, place: tuple[int, int]) -> None:
        self.answered.add(place)
        self.unanswered.discard(place)

    def _prediction(self, record: Record) -> None:
        prediction = codec.decode_prediction(record.value)
        self._outcome((prediction.source_partition, prediction.source_offset))

    def _dead(self, record: Record) -> None:
        letter = codec.decode_dead(record.value)
        if letter.topic == Topic.EVENTS.of(self.project):
            self._outcome((letter.partition, letter.offset))

    def _label(self, record: Record) -> None:
        label = codec.decode_label(record.value)
        self.revisions.add((label.label_id, label.revision))
        if label.revision >= self.standing.get(label.task_id, (0, True))[0]:
            self.standing[label.task_id] = (label.revision, label.withdrawn)

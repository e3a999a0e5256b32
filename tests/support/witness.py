"""A bystander of a scenario: reads every topic while the run goes on, and knows what is still owed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tiebreak.contracts import codec
from tiebreak.contracts.errors import Unreachable
from tiebreak.contracts.log import Log, Record
from tiebreak.contracts.messages import AnnotationState, Label
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.clock import SystemClock

_POLL_S = 0.2
_RETRY_S = 0.3


@dataclass(slots=True)
class Witness:
    """``counts``: records per topic, replays included. ``quiet``: polls in a row that found nothing new.

    Places are (partition, offset) on ``events``. ``begun``: tasks with an answer of whatever kind. ``withdrawn``: tasks that a
    model took back: none of them is owed a label unless it had been begun. ``standing``: each task's newest label.
    """

    log: Log
    project: str
    counts: Counter[Topic] = field(default_factory=Counter)
    unanswered: set[tuple[int, int]] = field(default_factory=set)
    answered: set[tuple[int, int]] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    standing: dict[str, Label] = field(default_factory=dict)
    taken_back: dict[str, int] = field(default_factory=dict)
    quiet: int = 0
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
                    await SystemClock().sleep(_RETRY_S)
                    continue
                self.quiet = 0 if batch else self.quiet + 1
                for records in batch.values():
                    for record in records:
                        self._take(topics[record.topic], record)
        finally:
            await reader.close(2.0)

    def owed(self) -> str:
        """What has no outcome yet, in words; empty when all is settled: events, then questions."""
        wanted = self.tasks - (self.withdrawn - self.begun)
        asked = sum(task not in self.standing or self.standing[task].withdrawn for task in wanted)
        stale = sum(self._stale(label) for label in self.standing.values())
        counts = {
            "events without an outcome": len(self.unanswered),
            "tasks without a label": asked,
            "labels with a vote that was taken back": stale,
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)

    def _stale(self, label: Label) -> bool:
        return any(self.taken_back.get(vote.annotation_id, 0) > vote.revision for vote in label.votes)

    def _take(self, topic: Topic, record: Record) -> None:
        self.counts[topic] += 1
        takes: dict[Topic, Callable[[Record], None]] = {
            Topic.EVENTS: lambda r: self._event((r.partition, r.offset)),
            Topic.PREDICTIONS: self._prediction,
            Topic.DEAD: self._dead,
            Topic.TASKS: self._task,
            Topic.ANNOTATIONS: self._annotation,
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

    def _task(self, record: Record) -> None:
        task = codec.decode_task(record.value)
        self.tasks.add(task.task_id)
        if task.withdrawn_by:
            self.withdrawn.add(task.task_id)

    def _label(self, record: Record) -> None:
        label = codec.decode_label(record.value)
        self.revisions.add((label.label_id, label.revision))
        known = self.standing.get(label.task_id)
        if known is None or label.revision >= known.revision:
            self.standing[label.task_id] = label

    def _annotation(self, record: Record) -> None:
        answer = codec.decode_annotation(record.value)
        self.begun.add(answer.task_id)
        if answer.state is AnnotationState.WITHDRAWN:
            before = self.taken_back.get(answer.annotation_id, 0)
            self.taken_back[answer.annotation_id] = max(before, answer.revision)

"""Names and retention of the topics ``tiebreak.<project>.<name>`` (ARCHITECTURE, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

DAY_MS = 86_400_000


class Topic(StrEnum):
    """The nine topics of a project."""

    EVENTS = "events"
    PREDICTIONS = "predictions"
    TASKS = "tasks"
    ANNOTATIONS = "annotations"
    LABELS = "labels"
    MODELS = "models"
    DRIFT = "drift"
    DEAD = "dead"
    AUDIT = "audit"

    def of(self, project: str) -> str:
        """The full topic name.

        >>> Topic.EVENTS.of("digits")
        'tiebreak.digits.events'
        """
        return f"tiebreak.{project}.{self.value}"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What ``topics create`` asks a log for. ``retention_ms`` None keeps records for ever."""

    name: str
    partitions: int
    retention_ms: int | None
    compacted: bool = False


# Order matters (the registry's history, the hash chain of `audit`): these have one partition.
_SINGLE = frozenset({Topic.MODELS, Topic.AUDIT})
_RETENTION_MS: dict[Topic, int | None] = {
    Topic.EVENTS: 7 * DAY_MS,
    Topic.PREDICTIONS: 7 * DAY_MS,
    Topic.TASKS: None,
    Topic.ANNOTATIONS: None,
    Topic.LABELS: None,
    Topic.MODELS: None,
    Topic.DRIFT: 28 * DAY_MS,
    Topic.DEAD: 28 * DAY_MS,
    Topic.AUDIT: None,
}


def specs_for(project: str, partitions: int, kept_ms: Mapping[Topic, int] | None = None) -> tuple[TopicSpec, ...]:
    """The nine topics of a project, with ``partitions`` partitions where order does not forbid it.

    ``kept_ms``: the retention that the project asks for, where it is not the usual one.
    """
    kept = {**_RETENTION_MS, **(kept_ms or {})}
    return tuple(TopicSpec(topic.of(project), 1 if topic in _SINGLE else partitions, kept[topic]) for topic in Topic)

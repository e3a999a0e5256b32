"""What is in dispute about a task, as frozen dataclasses. A field that a newer server adds is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class DisputedAnswer:
    """What one person said. ``by``: who, in this task and nowhere else; ``annotator``: their name, empty but for managers.

    ``state``: ``submitted``, ``late`` or ``skipped``, where ``comment`` is the reason. ``value`` of what is no class is JSON.
    """

    by: str
    annotator: str
    value: str
    state: str
    comment: str
    flagged: bool
    submitted_ms: int
    lead_time_s: float
    answer_schema_version: str


@dataclass(frozen=True, slots=True)
class Dispute:
    """What is in dispute. ``shares``: how much speaks for a value by ``consensus``, the likeliest first; none where it has no word."""

    task_id: str
    answers: tuple[DisputedAnswer, ...]
    consensus: str
    shares: Mapping[str, float]


def dispute_of(raw: Mapping[str, Any]) -> Dispute:
    """What is in dispute."""
    so_far = raw["so_far"] or {"consensus": "", "shares": ()}
    shares = {item["value"]: item["share"] for item in so_far["shares"]}
    return Dispute(raw["task_id"], tuple(map(_answer_of, raw["answers"])), so_far["consensus"], shares)


def _answer_of(raw: Mapping[str, Any]) -> DisputedAnswer:
    return DisputedAnswer(**{field.name: raw[field.name] for field in fields(DisputedAnswer)})

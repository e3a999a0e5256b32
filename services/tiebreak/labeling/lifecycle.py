"""A task's life: its states, which may follow which, and who comes first.

``open -> leased -> (answered) -> open again | in_review | settled``; an open task nobody ever answered may become ``expired`` or
``withdrawn``; a settled one opens again when a counted answer is taken back. From any state a task may become ``erased``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from unicodedata import normalize

from tiebreak.contracts.errors import Invalid

BUILDER_MS = 30_000
"""Who builds the queue's index anew and is silent for so long is taken for dead: somebody else begins."""


class TaskState(StrEnum):
    """The states of CONVENTIONS; ``leased`` is an open (or in-review) task with a holder."""

    OPEN = "open"
    LEASED = "leased"
    IN_REVIEW = "in_review"
    SETTLED = "settled"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"


_NEXT: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.OPEN: frozenset(
        {TaskState.LEASED, TaskState.IN_REVIEW, TaskState.SETTLED, TaskState.EXPIRED, TaskState.WITHDRAWN}
    ),
    TaskState.LEASED: frozenset({TaskState.OPEN, TaskState.IN_REVIEW, TaskState.SETTLED}),
    TaskState.IN_REVIEW: frozenset({TaskState.OPEN, TaskState.LEASED, TaskState.SETTLED}),
    TaskState.SETTLED: frozenset({TaskState.OPEN, TaskState.LEASED}),
    TaskState.EXPIRED: frozenset(),
    TaskState.WITHDRAWN: frozenset(),
    TaskState.ERASED: frozenset(),
}


def may_follow(before: TaskState, after: TaskState) -> bool:
    """Whether a task in ``before`` may become ``after``.

    >>> may_follow(TaskState.OPEN, TaskState.LEASED), may_follow(TaskState.EXPIRED, TaskState.OPEN)
    (True, False)
    """
    return after in _NEXT[before] or (after is TaskState.ERASED and before is not TaskState.ERASED)


class Lane(StrEnum):
    """The lanes of the queue, first served first."""

    TRIAGE = "triage"
    NORMAL = "normal"
    BACKFILL = "backfill"


REVIEW = "review"
"""The route of disputed tasks: reviewers alone are offered it."""

# One whole unit of priority (uncertainty is in 0..1) is worth this much waiting. Ageing at a constant rate never changes the
# order of two waiting tasks, so a rank written once stays right for ever and a claim costs O(log n).
PRIORITY_MS = 600_000.0
_PRIORITY_LIMIT = 1e6


def lane_of(name: str) -> Lane:
    """The lane called ``name``; an unknown name is normal, since a typo must not hide a task."""
    return Lane(name) if name in set(Lane) else Lane.NORMAL


def rank(created_ms: int, priority: float) -> float:
    """The place of a waiting task in its lane: lowest first.

    ``created_ms - priority * PRIORITY_MS``: a more urgent task goes first, yet an old one is overtaken only so long. A priority
    that is not finite counts as 0.

    >>> rank(1_000_000, 0.5) < rank(1_000_000, 0.1) < rank(1_900_000, 0.6)
    True
    """
    sound = max(-_PRIORITY_LIMIT, min(_PRIORITY_LIMIT, priority)) if math.isfinite(priority) else 0.0
    return created_ms - sound * PRIORITY_MS


MAX_CLASS_LENGTH = 200
MAX_ADDED_CLASSES = 1000


def class_of(name: str, known: Sequence[str]) -> str:
    """The class meant by ``name`` in an open set: a known one where only case or spaces differ, else ``name`` tidied up.

    Raises Invalid for an empty, overlong or unprintable name, and when there are too many classes already.

    >>> class_of("  sea  Lion", ("Sea lion",)), class_of(" otter ", ("Sea lion",))
    ('Sea lion', 'otter')
    """
    tidy = " ".join(normalize("NFC", name).split())
    if not tidy or len(tidy) > MAX_CLASS_LENGTH or not tidy.isprintable():
        raise Invalid(f"A class has 1 to {MAX_CLASS_LENGTH} printable characters.")
    for other in known:
        if other.casefold() == tidy.casefold():
            return other
    if len(known) >= MAX_ADDED_CLASSES:
        raise Invalid(f"There are {len(known)} classes already.", fix="Choose one of them.")
    return tidy

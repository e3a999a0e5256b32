"""The part of the queue's port that shows a reviewer what is in dispute. Over both adapters: ``tests/contracts/test_queue_review.py``.

Who sees it and under which names: ``docs/adr/0043``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tiebreak.contracts.messages import Annotation, AnnotationState

MAX_NOTE = 2000
"""Characters of a note that are kept: no more can be sent, but the log may have others' records."""


class Renewed(NamedTuple):
    """The new deadline of a lease, and whether its task is in review."""

    deadline_ms: int
    review: bool = False


@dataclass(frozen=True, slots=True)
class DisputedAnswer:
    """One person's newest answer (or skip) to a task in review.

    ``place``: of its person (1, 2, ...) among all who ever answered the task, in the order of their first answers: it stays,
    whatever anybody takes back. ``note``: their comment; of a skip, its reason. ``schema``: the version that they saw.
    """

    place: int
    annotator: str
    value: str
    state: AnnotationState
    submitted_ms: int
    lead_time_s: float
    flagged: bool
    schema: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Dispute:
    """What is in dispute about a task. ``shares``: what the consensus made of these very answers, empty where it has no word.

    Class to probability or share of the weight; where answers are no classes, the one that people share and how far they do.
    """

    answers: Sequence[DisputedAnswer]
    shares: Mapping[str, float] = field(default_factory=dict)


class Reviewing(Protocol):
    """What is said about a task is kept with it, for whoever settles the dispute."""

    async def dispute(self, annotator: str, task_id: str) -> Dispute:
        """What people said about a task in review that this person holds; what was taken back is left out. Changes nothing.

        Raises NotFound (never this person's) or Refused (settled, stale, not in review).
        """


def note_of(a: Annotation) -> str:
    """What of an answer's comment is kept beside its task: nothing of one that was taken back."""
    return "" if a.state is AnnotationState.WITHDRAWN else a.comment[:MAX_NOTE]


def pseudonym(place: int) -> str:
    """Who said it, to a reviewer, who judges the answer and not the person.

    >>> [pseudonym(place) for place in (1, 2, 26, 27, 703)]
    ['A', 'B', 'Z', 'AA', 'AAA']
    """
    name = ""
    while place > 0:
        place, letter = divmod(place - 1, 26)
        name = chr(ord("A") + letter) + name
    return name

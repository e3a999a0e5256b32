"""Labels without what must not be used: votes of people who are no longer trusted, subjects who were erased, what is too old. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from tiebreak.contracts.erasure import is_erased
from tiebreak.contracts.messages import Label


@dataclass(frozen=True, slots=True)
class Struck:
    """Whose votes do not count, who was erased, and what was settled too long ago, before ``before_ms``.

    Annotators by name, subjects by :func:`~tiebreak.contracts.erasure.subject_digest`.
    """

    annotators: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    before_ms: int = 0

    def erases(self, label: Label) -> bool:
        """Whether it is about somebody who was erased, or too old."""
        return label.settled_ms < self.before_ms or is_erased(label.project, label.subject, self.subjects)

    def apply(self, label: Label) -> Label:
        """``label`` as it may be used."""
        return erased(label) if self.erases(label) else without(label, self.annotators)


def erased(label: Label) -> Label:
    """A withdrawal that keeps ids, revision and times, and nothing that was said or measured."""
    said: dict[str, Any] = {"value": "", "distribution": {}, "confidence": 0.0, "votes": (), "predicted": ""}
    return replace(label, **said, features=(), unlabelled=b"", subject="", event_id=label.task_id, withdrawn=True)


def without(label: Label, annotators: AbstractSet[str]) -> Label:
    """``label`` as its other votes settle it: withdrawn where none is left, itself where theirs is not among its votes.

    The remaining votes count by the weights they had; a tie goes to the class that was voted for first.
    """
    kept = tuple(vote for vote in label.votes if vote.annotator not in annotators)
    if len(kept) == len(label.votes):
        return label
    mass: dict[str, float] = {}
    for vote in kept:
        mass[vote.value] = mass.get(vote.value, 0.0) + max(vote.weight, 0.0)
    total = sum(mass.values())
    if total <= 0.0:
        return replace(label, votes=(), withdrawn=True)
    value = max(mass, key=mass.__getitem__)
    shares = {name: share / total for name, share in mass.items()}
    return replace(label, votes=kept, value=value, distribution=shares, confidence=shares[value])

"""Labels without the votes of annotators who are no longer trusted, or who took their work back. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from tiebreak.contracts.messages import Label


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

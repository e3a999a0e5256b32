"""What the answers of a task amount to: settle, ask one more person, or send it to review. Pure.

A decision is a function of the answers in the order of the log, and of the project's numbers, so a replay decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tiebreak.contracts.messages import AnnotationState, LabelMethod


@dataclass(frozen=True, slots=True)
class Ballot:
    """One person's newest answer to a task.

    ``sequence``: its place (1, 2, ...) in the order in which the log brought the answers. ``replaces``: the place of the counting
    answer of the same person that this revision took the place of, 0 when there was none.
    """

    annotation_id: str
    annotator: str
    value: str
    revision: int
    state: AnnotationState
    submitted_ms: int
    reviewer: bool = False
    sequence: int = 0
    replaces: int = 0

    @property
    def counts(self) -> bool:
        """Late answers count like others; withdrawn ones and skips do not."""
        return self.state in (AnnotationState.SUBMITTED, AnnotationState.LATE)


@dataclass(frozen=True, slots=True)
class Rule:
    """How many answers a task wants, at most how many, and the share (or belief) that settles it."""

    votes: int
    max_votes: int
    agreement: float


@dataclass(frozen=True, slots=True)
class Settle:
    """Enough: ``distribution`` sums to 1; ``weights[i]`` belongs to the ``i``-th counted ballot."""

    value: str
    distribution: Mapping[str, float]
    confidence: float
    method: LabelMethod
    ballots: tuple[Ballot, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Another person is needed."""


@dataclass(frozen=True, slots=True)
class Review:
    """People disagree (or keep skipping) and no more of them are to be asked: a reviewer decides."""


Decision = Settle | Ask | Review


class Consensus(Protocol):
    """A way to reach a decision; ``ballots`` are in the order of the log."""

    def decide(self, ballots: Sequence[Ballot], rule: Rule) -> Decision: ...


class WeightedVote:
    """The class with the largest share of the weight wins once its share reaches ``rule.agreement``.

    ``weights`` maps an annotator to a weight > 0 (1.0 when absent): with none at all this is the plain majority vote. A tie of
    the largest shares is never settled here.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = weights or {}

    def decide(self, ballots: Sequence[Ballot], rule: Rule) -> Decision:
        """The decision after ``ballots``. A reviewer's answer settles alone; as many skips as votes allowed go to review."""
        reviewed = [b for b in ballots if b.counts and b.reviewer]
        if reviewed:
            return adjudicated(reviewed[-1])
        counted = [b for b in ballots if b.counts]
        skips = sum(b.state is AnnotationState.SKIPPED for b in ballots)
        if len(counted) < rule.votes:
            return Review() if skips + len(counted) >= max(rule.max_votes, rule.votes + 1) else Ask()
        weights = [self._weights.get(b.annotator, 1.0) for b in counted]
        shares = distribution(counted, weights)
        (best, share), *rest = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        tied = bool(rest) and rest[0][1] >= share
        if share >= rule.agreement and not tied:
            return Settle(best, shares, share, LabelMethod.CONSENSUS, tuple(counted), tuple(weights))
        return Ask() if len(counted) + skips < rule.max_votes else Review()


def majority() -> Consensus:
    """One person, one vote."""
    return WeightedVote()


def adjudicated(ballot: Ballot) -> Settle:
    """The reviewer's word."""
    return Settle(ballot.value, {ballot.value: 1.0}, 1.0, LabelMethod.ADJUDICATED, (ballot,), (1.0,))


def distribution(ballots: Sequence[Ballot], weights: Sequence[float]) -> dict[str, float]:
    """Share of the weight per class, in order of first mention; sums to 1.

    >>> b = [Ballot(str(i), str(i), v, 1, AnnotationState.SUBMITTED, 0) for i, v in enumerate("aab")]
    >>> distribution(b, [1.0, 1.0, 2.0])
    {'a': 0.5, 'b': 0.5}
    """
    total = sum(weights)
    shares: dict[str, float] = {}
    for ballot, weight in zip(ballots, weights, strict=True):
        shares[ballot.value] = shares.get(ballot.value, 0.0) + weight / total
    return shares

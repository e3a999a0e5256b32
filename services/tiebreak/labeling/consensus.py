"""What the answers of a task amount to: settle, ask one more person, or send it to review. Pure.

A decision is a function of the answers in the order of the log, and of the project's numbers, so a replay decides the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tiebreak.contracts.messages import Annotation, AnnotationState, LabelMethod
from tiebreak.labeling.posterior import Belief

COUNTS = frozenset({AnnotationState.SUBMITTED, AnnotationState.LATE})
"""The states of answers that count: late ones like others; withdrawn ones and skips do not."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """One person's newest answer to a task.

    ``sequence``: its place (1, 2, ...) in the order in which the log brought the answers. ``replaces``: the place of the counting
    answer of the same person that this revision took the place of, 0 when there was none. ``suspect``: given under suspicion.
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
    suspect: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is of :data:`COUNTS`."""
        return self.state in COUNTS

    @property
    def skipped(self) -> bool:
        """Passed on to somebody else."""
        return self.state is AnnotationState.SKIPPED


def ballot_of(a: Annotation, sequence: int, old: Ballot | None) -> Ballot:
    """The ballot of ``a``, folded at ``sequence``, in the place of ``old``."""
    said = a.annotation_id, a.annotator, a.value, a.revision, a.state, a.submitted_ms, a.reviewer
    return Ballot(*said, sequence, old.sequence if old is not None and old.counts else 0, a.suspect)


@dataclass(frozen=True, slots=True)
class Rule:
    """How many answers a task wants, at most how many, the share that settles it, and how sure a posterior must be."""

    votes: int
    max_votes: int
    agreement: float
    confidence: float = 0.95


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
    """Another person is needed. ``people``: those who would tell most about the task, the best first; none where all are alike."""

    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """People disagree (or keep skipping) and no more of them are to be asked: a reviewer decides.

    ``shares``: what the answers amount to so far (``port_review.Dispute``); none where nobody answered.
    """

    shares: Mapping[str, float] = field(default_factory=dict)


Decision = Settle | Ask | Review


Following = Callable[[Mapping[str, str], Collection[str], Collection[str]], Sequence[str]]
"""Whom to ask next about a task with these answers (annotator to value), but for those who were asked, and who of those who
answered is under suspicion; the best first."""


class Consensus(Protocol):
    """A way to reach a decision; ``ballots`` are in the order of the log."""

    def decide(self, ballots: Sequence[Ballot], rule: Rule) -> Decision: ...


class WeightedVote:
    """The class with the largest share of the weight wins once its share reaches ``rule.agreement``.

    ``weights`` maps an annotator to a weight > 0 (1.0 when absent): with none at all this is the plain majority vote. A tie of
    the largest shares is never settled here. Answers given under suspicion weigh as much as one of them together.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = weights or {}

    def decide(self, ballots: Sequence[Ballot], rule: Rule) -> Decision:
        """The decision after ``ballots``. A reviewer's answer settles alone; as many skips as votes allowed go to review."""
        clear = early(ballots, rule)
        counted = [b for b in ballots if b.counts]
        if clear is not None and not (isinstance(clear, Review) and counted):
            return clear
        suspects = sum(b.suspect for b in counted)
        weights = [self._weights.get(b.annotator, 1.0) / (suspects if b.suspect else 1) for b in counted]
        shares = distribution(counted, weights)
        if clear is not None:
            return Review(shares)
        (best, share), *rest = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        tied = bool(rest) and rest[0][1] >= share
        if share >= rule.agreement and not tied:
            return Settle(best, shares, share, LabelMethod.CONSENSUS, tuple(counted), tuple(weights))
        return ask_or_review(ballots, rule, shares)


class DawidSkene:
    """Settles once the posterior of the counted answers is sure beyond ``rule.confidence``, however many they are.

    ``belief`` is what the crowd's log amounted to with the newest answer; ``again`` gives it for other ballots than those it was
    formed on (the queue knows of a newer answer, or the task was forgotten). A vote's weight is how likely its person says this
    value where it is the truth. ``following`` names those who would tell most about a task with such answers.
    """

    def __init__(
        self,
        belief: Belief,
        again: Callable[[Mapping[str, str], Collection[str]], Belief],
        following: Following | None = None,
    ) -> None:
        self._belief = belief
        self._again = again
        self._following = following

    def decide(self, ballots: Sequence[Ballot], rule: Rule) -> Decision:
        """The decision after ``ballots``. A reviewer's answer settles alone; as many skips as votes allowed go to review."""
        clear = early(ballots, rule)
        counted = [b for b in ballots if b.counts]
        if isinstance(clear, Settle) or (clear is not None and not counted):
            return clear
        said = {b.annotator: b.value for b in counted}
        suspects = frozenset(b.annotator for b in counted if b.suspect)
        known = self._belief.votes == said and self._belief.suspects == suspects
        belief = self._belief if known else self._again(said, suspects)
        if isinstance(clear, Review):
            return Review(belief.distribution)
        value, sure = belief.best
        if sure >= rule.confidence:
            weights = tuple(belief.weights[b.annotator] for b in counted)
            return clear or Settle(value, belief.distribution, sure, LabelMethod.CONSENSUS, tuple(counted), weights)
        decision = clear or ask_or_review(ballots, rule, belief.distribution)
        if self._following is None or not isinstance(decision, Ask):
            return decision
        return Ask(tuple(self._following(said, {b.annotator for b in ballots}, suspects)))


def early(ballots: Sequence[Ballot], rule: Rule) -> Decision | None:
    """What is clear before the answers are compared: a reviewer has spoken, or too few people have. None: compare them.

    Those who answer under suspicion are too few, however many.
    """
    reviewed = [b for b in ballots if b.counts and b.reviewer]
    if reviewed:
        return adjudicated(reviewed[-1])
    counted = sum(b.counts for b in ballots)
    if counted >= rule.votes:
        # Whoever answers without looking, or together with others, needs somebody else beside them.
        return ask_or_review(ballots, rule) if all(b.suspect for b in ballots if b.counts) else None
    skips = sum(b.skipped for b in ballots)
    return Review() if skips + counted >= max(rule.max_votes, rule.votes + 1) else Ask()


def ask_or_review(ballots: Sequence[Ballot], rule: Rule, shares: Mapping[str, float] | None = None) -> Decision:
    """The answers do not agree: another person while there may be more, else a reviewer, who is told of ``shares``."""
    asked = sum(b.counts or b.skipped for b in ballots)
    return Ask() if asked < rule.max_votes else Review(shares or {})


def likeliest(shares: Mapping[str, float], most: int = 20, least: float = 0.001) -> dict[str, float]:
    """The largest of ``shares``, the largest first: of hundreds of classes a reviewer is told of those that matter.

    >>> likeliest({"cat": 0.3, "dog": 0.6995, "bird": 0.0005})
    {'dog': 0.6995, 'cat': 0.3}
    """
    largest = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:most]
    return {value: share for value, share in largest if share >= least}


def majority() -> Consensus:
    """One person, one vote."""
    return WeightedVote()


def weighted(belief: Belief, classes: int) -> Consensus:
    """Votes weighted by the log odds of their person being right, against chance among ``classes``; nobody's is negative.

    The optimal weights where errors are independent and even (S. Nitzan and J. Paroush, "Optimal Decision Rules in Uncertain
    Dichotomous Choice Situations", International Economic Review 23(2), 1982).
    """
    return WeightedVote({name: log_odds(right, classes) for name, right in belief.weights.items()})


def log_odds(right: float, classes: int) -> float:
    """``ln(right (classes - 1) / (1 - right))``, at least 0.01.

    >>> round(log_odds(0.9, 2), 3), log_odds(0.4, 2)
    (2.197, 0.01)
    """
    sound = min(0.999, max(0.001, right))
    return max(0.01, math.log(sound * max(1, classes - 1) / (1.0 - sound)))


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

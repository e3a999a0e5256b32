"""Simulated crowds of five kinds, and what asking them costs: a fixed overlap by majority, or the posterior that stops when sure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import AnnotationState
from tiebreak.labeling.asking import best_next
from tiebreak.labeling.consensus import Ask, Ballot, DawidSkene, Review, Rule, Settle
from tiebreak.labeling.posterior import Crowd, Said

Array = NDArray[np.float64]
PEOPLE, MAX_VOTES = 20, 5
AT_WORK = 6
CLASSES = ("a", "b", "c", "d")
_K = len(CLASSES)


def _even(right: Array) -> Array:
    """A confusion matrix with ``right[k]`` on the diagonal and even errors."""
    matrix = np.repeat(((1.0 - right) / (_K - 1))[:, None], _K, axis=1)
    np.fill_diagonal(matrix, right)
    return matrix


class Kind(StrEnum):
    """What the twenty people are like."""

    ALIKE = "alike (85 %)"
    MIXED = "of mixed ability (Beta 6, 2)"
    RANDOM = "a quarter answers at random"
    ONE_CLASS = "a quarter says one class"
    SPECIALISTS = "specialists (95 % and 70 %)"


def habits(kind: Kind, person: int, rng: np.random.Generator) -> Array:
    """The confusion matrix of one person."""
    spoils = person % 4 == 0
    match kind:
        case Kind.ALIKE:
            return _even(np.full(_K, 0.85))
        case Kind.MIXED:
            return _even(np.full(_K, rng.beta(6.0, 2.0)))
        case Kind.RANDOM:
            return _even(np.full(_K, 0.25 if spoils else 0.88))
        case Kind.ONE_CLASS:
            return np.tile(np.eye(_K)[rng.integers(_K)], (_K, 1)) if spoils else _even(np.full(_K, 0.88))
        case Kind.SPECIALISTS:
            return _even(np.where((np.arange(_K) + person) % _K < _K // 2, 0.95, 0.7))


@dataclass(slots=True)
class World:
    """Tasks with a truth, and people who answer each in a random order; the same answers whoever asks for them."""

    truth: NDArray[np.int64]
    order: NDArray[np.int64]
    answers: NDArray[np.int64]

    @classmethod
    def make(cls, kind: Kind, seed: int, tasks: int) -> World:
        """``order[t]``: who would be asked about task ``t``; ``answers[t, p]``: what person ``p`` says of it."""
        rng = np.random.default_rng(seed)
        matrices = np.stack([habits(kind, person, rng) for person in range(PEOPLE)])
        truth = rng.integers(_K, size=tasks)
        order = np.stack([rng.permutation(PEOPLE) for _ in range(tasks)])
        chances = matrices[:, truth].cumsum(axis=2)
        answers = (rng.random((PEOPLE, tasks, 1)) > chances).sum(axis=2).clip(max=_K - 1).T
        return cls(truth, order, answers)

    def majority(self, overlap: int) -> float:
        """The accuracy of the majority of the first ``overlap`` people; a tie is worth its share."""
        heads = np.zeros((len(self.truth), _K))
        rows = np.arange(len(self.truth))
        for turn in range(overlap):
            heads[rows, self.answers[rows, self.order[:, turn]]] += 1.0
        winners = heads == heads.max(axis=1, keepdims=True)
        return float((winners[rows, self.truth] / winners.sum(axis=1)).mean())


@dataclass(slots=True)
class Asked:
    """What a run of the posterior came to. ``labels``: settled ones; ``best``: of all tasks, as known at the end of the run."""

    votes: int = 0
    update_s: list[float] = field(default_factory=list)
    said: list[tuple[str, str, str]] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)
    at_once: dict[int, str] = field(default_factory=dict)
    best: dict[int, str] = field(default_factory=dict)

    def accuracy(self, world: World) -> float:
        """Of all tasks; one that went to review counts with its likeliest class, as if no reviewer looked."""
        return float(np.mean([self.at_once[t] == CLASSES[k] for t, k in enumerate(world.truth)]))


def ask(world: World, confidence: float, at_work: int = 1) -> Asked:
    """Answer after answer as the settler takes them, until each task is settled or out of people to ask.

    ``at_work``: of so many who would come next, the one is asked who would tell most about the task. 1: whoever comes.
    """
    crowd, asked = Crowd(CLASSES), Asked()
    rule = Rule(votes=1, max_votes=MAX_VOTES, agreement=0.6, confidence=confidence)
    told: dict[int, dict[str, str]] = {}
    for task in range(len(world.truth)):
        ballots: list[Ballot] = []
        decision: object = Ask()
        while isinstance(decision, Ask):
            person = _next(world, task, ballots, crowd, at_work)
            decision, value = _one_more(world, (task, person), ballots, crowd, rule, asked)
            asked.at_once[task] = value
        if isinstance(decision, Settle):
            asked.labels[task] = decision.value
        told[task] = {b.annotator: b.value for b in ballots}
    asked.best = {task: crowd.belief(said).best[0] for task, said in told.items()}
    return asked


def _next(world: World, task: int, ballots: list[Ballot], crowd: Crowd, at_work: int) -> int:
    said = {b.annotator: b.value for b in ballots}
    coming = [f"p{person}" for person in world.order[task] if f"p{person}" not in said][:at_work]
    # As in the settler: whoever is at work has answered something before.
    known = [name for name in coming if name in crowd] if said and at_work > 1 else ()
    return int((*best_next(crowd, said, known, said), coming[0])[0][1:])


def _one_more(
    world: World, asking: tuple[int, int], ballots: list[Ballot], crowd: Crowd, rule: Rule, asked: Asked
) -> tuple[Ask | Settle | Review, str]:
    task, person = asking
    who, value = f"p{person}", CLASSES[world.answers[task, person]]
    ballots.append(Ballot(f"{task}/{who}", who, value, 1, AnnotationState.SUBMITTED, 0, sequence=len(ballots) + 1))
    asked.votes += 1
    asked.said.append((str(task), who, value))
    began = time.perf_counter()
    belief = crowd.observe(str(task), who, Said(value))
    decision = DawidSkene(belief, crowd.belief).decide(ballots, rule)
    asked.update_s.append(time.perf_counter() - began)
    return decision, belief.best[0]


def votes_at(accuracy: float, runs: Sequence[tuple[float, float]]) -> float:
    """Votes per task at which the posterior reaches ``accuracy``, on the line through its ``(accuracy, votes)``.

    Where even the least confidence asked for is better, its votes: never fewer than were really asked for.
    """
    ordered = sorted(runs)
    return float(np.interp(accuracy, [a for a, _ in ordered], [v for _, v in ordered]))

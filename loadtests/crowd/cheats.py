"""How often people who do not look at the tasks are found, how often honest ones are taken for such, and what their answers do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.crowd.people import CLASSES
from tiebreak.contracts.messages import AnnotationState
from tiebreak.labeling.consensus import Ballot, Rule, Settle, majority
from tiebreak.labeling.suspicion import Suspicion, suspects

_PEOPLE, _EACH, _K = 12, 5, len(CLASSES)
_RING = ("p0", "p1", "p2", "p3")
# As the API looks at its people.
_LOOK_EVERY, _LOOK_AT = 50, 2000
Said = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Found:
    """Shares of crowds: with an honest person under suspicion, and where each kind of cheat was found.

    ``ring``: at least three of four who share one guess were; ``accused``: somebody honest beside them.
    """

    honest: float
    hard: float
    one_class: float
    colluding: float
    ring: float
    accused: float


def honest(rng: np.random.Generator, tasks: int, hard: float = 0.0) -> Said:
    """Twelve people of mixed ability, five to a task; a share ``hard`` of the tasks misleads half of them in the same way."""
    accuracy = rng.beta(6.0, 2.0, size=_PEOPLE)
    made: Said = []
    for _ in range(tasks):
        truth, misleading = int(rng.integers(_K)), rng.random() < hard
        said = {}
        for person in rng.permutation(_PEOPLE)[:_EACH]:
            right = rng.random() < (0.5 if misleading else accuracy[person])
            wrong = (truth + (1 if misleading else int(rng.integers(1, _K)))) % _K
            said[f"p{person}"] = CLASSES[truth if right else wrong]
        made.append(said)
    return made


def measure(crowds: int, tasks: int) -> Found:
    """Over so many simulated crowds of each kind."""
    hits = np.zeros(6)
    for seed in range(crowds):
        rng = np.random.default_rng(seed)
        hits[0] += bool(suspects(honest(rng, tasks)))
        hits[1] += bool(suspects(honest(rng, tasks, hard=0.2)))
        lazy = [s | ({"p0": CLASSES[0]} if "p0" in s and rng.random() < 0.95 else {}) for s in honest(rng, tasks)]
        hits[2] += Suspicion.ONE_CLASS in suspects(lazy).get("p0", ())
        together = [_copied(s, CLASSES[rng.integers(_K)], _RING[:2]) for s in honest(rng, tasks)]
        found = suspects(together)
        hits[3] += all(Suspicion.COLLUDING in found.get(name, ()) for name in _RING[:2])
        ring = suspects([_copied(s, CLASSES[rng.integers(_K)], _RING) for s in honest(rng, tasks)]).keys()
        hits[4] += len(ring & set(_RING)) >= 3
        hits[5] += bool(ring - set(_RING))
    return Found(*(hits / crowds).tolist())


@dataclass(frozen=True, slots=True)
class Harm:
    """The shares of tasks settled and, of these, settled wrong: of the second half, when the ring has been found."""

    settled: float
    wrong: float


def harm(crowds: int, tasks: int, *, capped: bool) -> Harm:
    """Four of twelve share one random guess; the majority of three and up to five settles, as the settler does it."""
    made, wrong = 0, 0
    for seed in range(crowds):
        rng = np.random.default_rng(seed)
        truth, said = _with_a_ring(rng, tasks)
        doubted: frozenset[str] = frozenset()
        for task, answers in enumerate(said):
            label = _settled(answers, doubted if capped else frozenset())
            if task >= tasks // 2 and label:
                made, wrong = made + 1, wrong + (label != truth[task])
            if task % _LOOK_EVERY == 0:
                doubted = frozenset(suspects(said[max(0, task - _LOOK_AT) : task]))
    return Harm(made / (crowds * (tasks - tasks // 2)), wrong / made)


def _with_a_ring(rng: np.random.Generator, tasks: int) -> tuple[list[str], Said]:
    truth = rng.integers(_K, size=tasks)
    accuracy = rng.beta(6.0, 2.0, size=_PEOPLE)
    said: Said = []
    for right in truth:
        wrong = (right + rng.integers(1, _K, size=_PEOPLE)) % _K
        answers = np.where(rng.random(_PEOPLE) < accuracy, right, wrong)
        asked = rng.permutation(_PEOPLE)[:_EACH]
        said.append(_copied({f"p{p}": CLASSES[answers[p]] for p in asked}, CLASSES[rng.integers(_K)], _RING))
    return [CLASSES[k] for k in truth], said


def _settled(answers: Mapping[str, str], doubted: frozenset[str]) -> str:
    """What the first three, and if need be up to five, come to; empty where it goes to review."""
    ballots: list[Ballot] = []
    for place, (name, value) in enumerate(answers.items(), 1):
        state = AnnotationState.SUBMITTED
        ballots.append(Ballot(name, name, value, 1, state, 0, sequence=place, suspect=name in doubted))
        decision = majority().decide(ballots, Rule(votes=3, max_votes=_EACH, agreement=0.6))
        if isinstance(decision, Settle):
            return decision.value
    return ""


def _copied(said: dict[str, str], guess: str, ring: Sequence[str]) -> dict[str, str]:
    return said | {name: guess for name in ring if name in said}

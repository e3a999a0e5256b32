"""How often people who do not look at the tasks are found, and how often honest ones are taken for such."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadtests.crowd.people import CLASSES
from tiebreak.labeling.suspicion import Suspicion, suspects

_PEOPLE, _EACH, _K = 12, 5, len(CLASSES)
Said = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Found:
    """Shares of crowds: with an honest person under suspicion, and where each kind of cheat was found."""

    honest: float
    hard: float
    one_class: float
    colluding: float


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
    hits = np.zeros(4)
    for seed in range(crowds):
        rng = np.random.default_rng(seed)
        hits[0] += bool(suspects(honest(rng, tasks)))
        hits[1] += bool(suspects(honest(rng, tasks, hard=0.2)))
        lazy = [s | ({"p0": CLASSES[0]} if "p0" in s and rng.random() < 0.95 else {}) for s in honest(rng, tasks)]
        hits[2] += Suspicion.ONE_CLASS in suspects(lazy).get("p0", ())
        together = [_copied(s, CLASSES[rng.integers(_K)]) for s in honest(rng, tasks)]
        found = suspects(together)
        hits[3] += all(Suspicion.COLLUDING in found.get(name, ()) for name in ("p0", "p1"))
    return Found(*(hits / crowds).tolist())


def _copied(said: dict[str, str], guess: str) -> dict[str, str]:
    return said | {name: guess for name in ("p0", "p1") if name in said}

"""Who answers without looking, and who answers together. Pure statistics over the answers to shared tasks.

Each test is one-sided with a bound of ``alpha`` divided by the number of tests (Bonferroni), so a crowd of honest people is left
alone with probability ``1 - alpha`` where the model of an honest person holds; ``loadtests/bench_crowd.py`` measures what it really is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations

ALPHA = 0.01
_LEAST = 20
_SHARE = 0.8
_MARGIN = 1.25
# The others may be wrong on so many tasks; two who are right then seem wrong together.
_REST_WRONG = 0.15
# So many of the likeliest pairs are kept out of what says how hard the tasks are.
_LOOKED_AT = 10


class Suspicion(StrEnum):
    """What a person is suspected of."""

    ONE_CLASS = "one_class"
    COLLUDING = "colluding"


@dataclass(slots=True)
class _Pair:
    both: int = 0
    errors: list[int] = field(default_factory=lambda: [0, 0])
    same_error: int = 0

    @property
    def expected(self) -> float:
        """Tasks on which both would be wrong, were their errors independent; one pseudo-error each."""
        return self.both * (self.errors[0] + 1) / (self.both + 2) * (self.errors[1] + 1) / (self.both + 2)


def suspects(tasks: Iterable[Mapping[str, str]]) -> dict[str, frozenset[Suspicion]]:
    """Everybody under suspicion, by the answers (annotator to value) of tasks with three and more of them.

    What the others said stands for the truth. *One class*: at least 80 % of a person's answers are one value, and more of them than
    the others' answers to the same tasks explain, where a value is said by chance as often as the others say it (normal bound on a
    sum of independent draws). *Colluding*: on the tasks that two people share, both differ from the others with the same value more
    often than their error rates explain, where errors coincide a quarter more often than those of other pairs do (hard tasks
    mislead everybody), and on more than 15 % of them, since the others may be wrong (binomial).
    """
    shared = [dict(said) for said in tasks if len(said) >= 3]
    found: dict[str, set[Suspicion]] = {}
    for name in _one_class(shared):
        found.setdefault(name, set()).add(Suspicion.ONE_CLASS)
    for name in _colluding(shared):
        found.setdefault(name, set()).add(Suspicion.COLLUDING)
    return {name: frozenset(reasons) for name, reasons in found.items()}


def _one_class(shared: list[dict[str, str]]) -> set[str]:
    own: dict[str, Counter[str]] = {}
    for said in shared:
        for name, value in said.items():
            own.setdefault(name, Counter())[value] += 1
    favourite = {name: counts.most_common(1)[0] for name, counts in own.items()}
    expected = dict.fromkeys(own, 0.0)
    variance = dict.fromkeys(own, 0.0)
    for said in shared:
        for name in said:
            others = [value for who, value in said.items() if who != name]
            # One pseudo-answer: others who agree by chance do not make a value certain.
            p = (others.count(favourite[name][0]) + 0.5) / (len(others) + 1)
            expected[name] += p
            variance[name] += p * (1 - p)
    found = set()
    for name, (_, often) in favourite.items():
        total = own[name].total()
        if total < _LEAST or often < _SHARE * total:
            continue
        z = (often - expected[name]) / math.sqrt(variance[name])
        if 0.5 * math.erfc(z / math.sqrt(2)) < ALPHA / len(own):
            found.add(name)
    return found


def _pairs(shared: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], _Pair]:
    pairs: dict[tuple[str, str], _Pair] = {}
    for said in shared:
        for one, other in combinations(sorted(said), 2):
            value = _most([v for who, v in said.items() if who not in (one, other)])
            if value is None:
                continue  # the rest do not know
            pair = pairs.setdefault((one, other), _Pair())
            wrong = (said[one] != value, said[other] != value)
            pair.both += 1
            pair.errors[0] += wrong[0]
            pair.errors[1] += wrong[1]
            pair.same_error += wrong[0] and said[one] == said[other]
    return pairs


def _most(values: list[str]) -> str | None:
    heads = {value: values.count(value) for value in values}
    best = max(heads, key=heads.__getitem__)
    return best if sum(n == heads[best] for n in heads.values()) == 1 else None


def _colluding(shared: list[dict[str, str]]) -> set[str]:
    """Pair after pair with those who are in it with them, the likeliest first and without the answers of those found before.

    A ring is often the majority, and makes honest people look wrong together: nobody is judged by its answers once it is found.
    """
    found = set[str]()
    while names := _likeliest(shared):
        found |= names
        shared = [kept for said in shared if len(kept := {who: v for who, v in said.items() if who not in names}) >= 3]
    return found


def _likeliest(shared: list[dict[str, str]]) -> set[str]:
    """The two who share the most unlikely errors, and who shares such errors with one of them; nobody where none are unlikely enough.

    Who is left of a ring without a partner could never be found.
    """
    pairs = _pairs(shared)
    bound = ALPHA / max(1, len(pairs))
    tails = {names: _tail(pair, 0.0) for names, pair in pairs.items() if pair.both >= _LEAST}
    likeliest = [names for names in sorted(tails, key=lambda names: tails[names])[:_LOOKED_AT] if tails[names] < bound]
    doubted = {name for names in likeliest for name in names}
    for names in likeliest[:1]:
        # Where the two are together they may be the majority. And the others of a ring would make every task look hard.
        apart = _pairs(said for said in shared if not said.keys() >= set(names)).items()
        elsewhere = [pair for others, pair in apart if not doubted.issuperset(others)]
        hard = (sum(p.same_error for p in elsewhere) + 1) / (sum(p.expected for p in elsewhere) + 1)
        if _tail(pairs[names], _MARGIN * hard) < bound:
            beside = (p for p in likeliest if not set(names).isdisjoint(p))
            return {name for p in beside if _tail(pairs[p], _MARGIN * hard) < bound for name in p}
    return set()


def _tail(pair: _Pair, hard: float) -> float:
    """The chance of so many shared errors or more among the tasks of the pair (binomial)."""
    n, p = pair.both, min(0.999, max(_REST_WRONG, hard * pair.expected / pair.both))
    if pair.same_error <= p * n:
        return 1.0
    every = math.lgamma(n + 1)
    return sum(
        math.exp(every - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log(1 - p))
        for k in range(pair.same_error, n + 1)
    )

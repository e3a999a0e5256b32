"""Simulated rollouts: what the gate says of challengers whose worth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.candidate import Evaluation, Interval, Paired
from tiebreak.contracts.confidence import running_evidence_above
from tiebreak.contracts.project import Gate
from tiebreak.deployment.gate import Verdict, judge
from tiebreak.training.evaluation import wilson

_NONE = Interval(0.0, 0.0, 1.0, 0)
_RIGHT = 0.85  # how often the champion is right
_DISAGREE = 0.1  # how often one of two models as good is right and the other is not
_BLOCK = 200

Differences = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Differences]


def differences(rng: np.random.Generator, shape: tuple[int, int], worse: float) -> Differences:
    """Challenger - champion per label: -1, 0 or 1, on average ``-worse``."""
    lost = (_DISAGREE + worse) / 2.0
    won = max(lost - worse, 0.0)
    drawn = rng.random(shape)
    return np.where(drawn < lost, -1.0, np.where(drawn < lost + won, 1.0, 0.0))


@dataclass(frozen=True, slots=True)
class Peeked:
    """Shares of rollouts in which it was said at least once, and the median label at which what is so was (None: not in half)."""

    worse: float
    better: float
    median_labels: float | None


def peek(runs: int, labels: int, worse: float, alpha: float, seed: int = 11) -> Peeked:
    """Look after every label of every rollout, as `judge_serving` may be asked."""
    return watched(lambda rng, shape: differences(rng, shape, worse), runs, labels, alpha, seed)


def watched(draw: Draw, runs: int, labels: int, alpha: float, seed: int, *, better: bool = False) -> Peeked:
    """The same of whatever ``draw`` gives; with ``better`` the median is of when that was said."""
    rng = np.random.default_rng(seed)
    condemned: list[int] = []
    praised: list[int] = []
    for start in range(0, runs, _BLOCK):
        gains = draw(rng, (min(_BLOCK, runs - start), labels))
        for sign, said in ((-1.0, condemned), (1.0, praised)):
            sure = running_evidence_above(sign * gains, 0.0) >= 1.0 / alpha
            said += [int(row.argmax()) + 1 for row in sure if row.any()]
    so = praised if better else condemned
    median = sorted(so)[runs // 2] if len(so) > 0.5 * runs else None
    return Peeked(len(condemned) / runs, len(praised) / runs, median)


def fixed_sample(worse: float, alpha: float, power: float = 0.5, spread: float | None = None) -> int:
    """Labels at which a one-sided z-test, looked at once, finds a challenger this much worse with probability ``power``.

    ``spread``: the standard deviation of a gain; None: of classes.
    """
    deviation = sqrt(_DISAGREE + worse - worse * worse) if spread is None else spread
    z = NormalDist().inv_cdf(1.0 - alpha) + NormalDist().inv_cdf(power)
    return int(np.ceil((z * deviation / worse) ** 2))


def flattered(runs: int, gate: Gate, audit: int, worse: float) -> int:
    """How often a challenger ``worse`` on audit labels, and far better on the training labels left out, is promoted."""
    promoted = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        pairs = _paired(rng, differences(rng, (1, audit), worse)[0])
        flattering = _paired(rng, np.abs(differences(rng, (1, 500), 0.0)[0]))
        verdict = judge(Evaluation("v1", pairs, flattering, _NONE, _NONE), (), gate).verdict
        promoted += verdict is Verdict.PROMOTE
    return promoted


@dataclass(frozen=True, slots=True)
class Worth:
    """By how much a challenger is better on audit labels, and on those ``left_out`` (as much, where ``promised`` is None).

    ``heavy`` of those left out weigh twenty, the others one; on them it is ``on_heavy`` better, where that is another figure.
    """

    better: float
    promised: float | None = None
    heavy: int = 0
    on_heavy: float | None = None
    left_out: int = 500


def fair(runs: int, gate: Gate, audit: int, worth: Worth, first_seed: int = 0) -> int:
    """How often such a challenger is promoted."""
    promised = worth.better if worth.promised is None else worth.promised
    parts = [(worth.left_out, promised)]
    if worth.on_heavy is not None:
        parts = [(worth.heavy, worth.on_heavy), (worth.left_out - worth.heavy, promised)]
    promoted = 0
    for seed in range(first_seed, first_seed + runs):
        rng = np.random.default_rng(seed)
        seen = _paired(rng, -differences(rng, (1, audit), worth.better)[0])
        left_out = _paired(rng, np.concatenate([-differences(rng, (1, n), gain)[0] for n, gain in parts]))
        left_out = replace(left_out, weights=(20.0,) * worth.heavy + left_out.weights[worth.heavy :])
        promoted += judge(Evaluation("v1", seen, left_out, _NONE, _NONE), (), gate).verdict is Verdict.PROMOTE
    return promoted


def collapsed(runs: int, gate: Gate, classes: int, audit: int) -> int:
    """How often a challenger that lost one class of ``classes`` entirely, and is a little better elsewhere, is promoted."""
    promoted = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        drawn = np.maximum(differences(rng, (1, audit), 0.0)[0], 0.0)
        kinds = rng.integers(0, classes, audit)
        drawn[kinds == 0] = -1.0
        pairs = _paired(rng, drawn, tuple(str(k) for k in kinds))
        promoted += judge(Evaluation("v1", pairs, Paired(), _NONE, _NONE), (), gate).verdict is Verdict.PROMOTE
    return promoted


def coverage(runs: int, alpha: float, audit: int = 200) -> tuple[float, float]:
    """How often the audit interval, and the naive one from selected labels, covers the accuracy on the whole stream.

    Events differ in difficulty; the selected ones are the hardest tenth.
    """
    honest = naive = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        chance = rng.beta(6.0, 1.5, 20_000)
        right = rng.random(len(chance)) < chance
        truth = float(right.mean())
        sample = rng.choice(len(chance), audit, replace=False)
        hardest = rng.choice(np.argsort(chance)[: len(chance) // 10], audit, replace=False)
        for rows, which in ((sample, "honest"), (hardest, "naive")):
            found = wilson(float(right[rows].sum()), audit, alpha)
            covers = found.low <= truth <= found.high
            honest, naive = honest + (covers and which == "honest"), naive + (covers and which == "naive")
    return honest / runs, naive / runs


def _paired(rng: np.random.Generator, drawn: Differences, classes: tuple[str, ...] = ()) -> Paired:
    # Where they agree, both are right as often as the champion is.
    both = (rng.random(len(drawn)) < _RIGHT).astype(float)
    champion = np.where(drawn < 0, 1.0, np.where(drawn > 0, 0.0, both))
    names = classes or ("a",) * len(drawn)
    ids = tuple(map(str, range(len(drawn))))
    return Paired(ids, names, tuple(champion.tolist()), tuple((champion + drawn).tolist()), (1.0,) * len(drawn))

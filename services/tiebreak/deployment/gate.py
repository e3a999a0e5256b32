"""Whether a challenger may serve: verdict and every reason for it, in plain words. Pure.

"Not enough evidence" is ``hold``, never ``promote``. The one exception is named as such in its reason: the fast lane for young
models, open while there are fewer audit labels than ``gate.young_labels``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import comb, sqrt
from statistics import NormalDist

from tiebreak.contracts.candidate import Evaluation, Paired
from tiebreak.contracts.project import Gate


class Verdict(StrEnum):
    """What the gate says. A closed set: it is a metric label."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with every reason for it."""

    verdict: Verdict
    reasons: tuple[str, ...]


def judge(evaluation: Evaluation, refusals: Sequence[str], gate: Gate) -> Decision:
    """May this challenger serve? ``refusals``: what the mechanical check found; any of them decides."""
    if refusals:
        return Decision(Verdict.HOLD, tuple(refusals))
    if not evaluation.champion:
        return Decision(Verdict.PROMOTE, ("no model serves yet, and this one passed every mechanical check",))
    if len(evaluation.audit) >= max(gate.young_labels, 1):
        return _grown(evaluation.audit, gate)
    return _young(evaluation, gate)


def judge_serving(previous_and_serving: Paired, gate: Gate) -> Decision:
    """Should the serving model (``challenger``) give way to the one before it (``champion``)? From audit labels alone."""
    n = len(previous_and_serving)
    if n < 2:
        return Decision(Verdict.HOLD, ("not enough audit labels judge both the serving model and the one before it",))
    low, high = _interval(previous_and_serving, gate.alpha)
    if high < -gate.non_inferiority:
        return Decision(
            Verdict.ROLL_BACK,
            (
                f"on {n} audit labels the serving model is {_points(-high)} to {_points(-low)} points worse than the one before",
            ),
        )
    return Decision(
        Verdict.HOLD, (f"on {n} audit labels the serving model is not shown to be worse than the one before",)
    )


def _grown(audit: Paired, gate: Gate) -> Decision:
    low, high = _interval(audit, gate.alpha)
    seen = f"on {len(audit)} audit labels the challenger is {_points(low)} to {_points(high)} points better"
    if low >= -gate.non_inferiority:
        return Decision(Verdict.PROMOTE, (f"{seen}: no worse than {_points(gate.non_inferiority)} points",))
    if high < -gate.non_inferiority:
        return Decision(Verdict.HOLD, (f"{seen}: it is worse by more than {_points(gate.non_inferiority)} points",))
    return Decision(
        Verdict.HOLD, (f"{seen}: not enough evidence that it is no worse than {_points(gate.non_inferiority)} points",)
    )


def _young(evaluation: Evaluation, gate: Gate) -> Decision:
    audit, left_out = evaluation.audit, evaluation.left_out
    if not len(audit) and not len(left_out):
        return Decision(Verdict.HOLD, ("not enough evidence: no label judges both models without having trained one",))
    lane = f"fast lane for young models ({len(audit)} of {gate.young_labels} audit labels)"
    worse = sum(1 for a, b in zip(audit.champion, audit.challenger, strict=True) if b < a)
    better = sum(1 for a, b in zip(audit.champion, audit.challenger, strict=True) if b > a)
    chance = _sign_test(worse, better)
    if worse > better and chance <= gate.alpha:
        reason = f"{lane}: worse on {worse} audit labels, better on {better} (p = {chance:.3f})"
        return Decision(Verdict.HOLD, (reason,))
    gain = _pooled_gain(audit, left_out)
    evidence = f"{len(audit)} audit and {len(left_out)} left-out labels: {_points(gain):+} points"
    if gain >= 0.0:
        what = "beats" if gain > 0.0 else "ties with"
        return Decision(Verdict.PROMOTE, (f"{lane}: it {what} the champion on what evidence there is", evidence))
    return Decision(Verdict.HOLD, (f"{lane}: it does not reach the champion on what evidence there is", evidence))


def _pooled_gain(audit: Paired, left_out: Paired) -> float:
    # Within the training labels, weights undo the selection; between the two sources each label counts once.
    mean = sum(left_out.weights) / len(left_out) if len(left_out) else 1.0
    total = sum(b - a for a, b in zip(audit.champion, audit.challenger, strict=True))
    rows = zip(left_out.champion, left_out.challenger, left_out.weights, strict=True)
    total += sum((b - a) * w / mean for a, b, w in rows)
    return total / (len(audit) + len(left_out))


def _interval(pairs: Paired, alpha: float) -> tuple[float, float]:
    # Of the mean difference challenger - champion, each side at level alpha; a label more on either side keeps a run
    # without disagreements from having no width.
    gains = [b - a for a, b in zip(pairs.champion, pairs.challenger, strict=True)]
    n = len(gains) + 2
    mean = sum(gains) / n
    spread = sqrt(max((sum(g * g for g in gains) + 2.0) / n - mean * mean, 0.0) / n)
    z = NormalDist().inv_cdf(1.0 - alpha)
    return mean - z * spread, mean + z * spread


def _sign_test(worse: int, better: int) -> float:
    """One-sided: the chance of at least ``worse`` of these disagreements being losses if both models were as good.

    >>> round(_sign_test(5, 0), 4), _sign_test(0, 0)
    (0.0312, 1.0)
    """
    n = worse + better
    return float(sum(comb(n, i) for i in range(worse, n + 1)) / 2**n)


def _points(share: float) -> float:
    return round(100.0 * share, 2)

"""What a simulation found, as rows for a table and for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan, log, nan, sqrt

import numpy as np

from tiebreak.apps.simulate.arms import UNIFORM, Arm, grouped
from tiebreak.apps.simulate.replay import Outcome
from tiebreak.apps.simulate.stream import Stream
from tiebreak.contracts.project import AnswerKind

# Student's t, two-sided 95 %, for 2, 3, ... seeds; 2 from there on.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds, and half of its 95 % interval (NaN for one seed)."""

    value: float
    half: float


@dataclass(frozen=True, slots=True)
class Measure:
    """How the mean credit is told: as it is, in per cent, or where ``full`` is above 0 as an error, which is ``full`` at credit 0."""

    name: str = "accuracy"
    full: float = 0.0

    @property
    def drawn(self) -> str:
        """The name of the credit, on an axis."""
        return self.name if not self.full else f"1 - {self.name} / {self.full:g}"

    def told(self, mean: Mean) -> str:
        """For people."""
        if not self.full:
            return share(mean)
        half = "" if isnan(mean.half) else f" ±{self.full * mean.half:.3g}"
        return f"{self.full * (1.0 - mean.value):.4g}{half}"


def measure_of(stream: Stream) -> Measure:
    """What people know models for such answers by."""
    answer = stream.answer
    match answer.kind:
        case AnswerKind.NUMERIC:
            return Measure("abs. error", answer.most - answer.least)
        case AnswerKind.ORDINAL:
            return Measure("levels off", len(stream.classes) - 1.0)
        case AnswerKind.MULTI:
            return Measure("Jaccard")
        case _:
            return Measure()


def share(mean: Mean) -> str:
    """In per cent, with half of the interval; empty for NaN."""
    if isnan(mean.value):
        return ""
    return f"{100 * mean.value:.1f}" + ("" if isnan(mean.half) else f" ±{100 * mean.half:.1f}")


@dataclass(frozen=True, slots=True)
class Line:
    """One policy at one budget, over its seeds. ``accuracy`` is on held-out rows where there are any, else prequential; of
    answers that are no single class the mean credit (:class:`tiebreak.apps.simulate.replay.Outcome`).

    ``saved`` is the share of labels that uniform chance would have needed in addition; NaN without uniform arms to compare with.
    """

    policy: str
    budget: float
    labels: Mean
    spent: float
    accuracy: Mean
    prequential: Mean
    rare_f1: Mean
    saved: Mean
    bursts: float
    models: float
    decide_us: float


def lines(arms: Sequence[Arm], outcomes: Sequence[Outcome]) -> list[Line]:
    """A line per policy and budget, in the order they were asked for."""
    found = []
    reference = _reference(arms, outcomes)
    for (policy, budget), places in grouped(arms).items():
        mine = [outcomes[place] for place in places]
        events = len(mine[0].predicted)
        saved = [_saved(reference, len(one.asked), figure(one)) for one in mine]
        found.append(
            Line(
                policy=policy,
                budget=budget,
                labels=mean([float(len(one.asked)) for one in mine]),
                spent=float(np.mean([len(one.asked) / (budget * events) for one in mine])),
                accuracy=mean([figure(one) for one in mine]),
                prequential=mean([one.prequential for one in mine]),
                rare_f1=mean([one.rare_f1 for one in mine]),
                saved=mean(saved),
                bursts=float(np.mean([len(one.bursts.opened) for one in mine])),
                models=float(np.mean([one.models for one in mine])),
                decide_us=float(np.mean([one.decide_us for one in mine])),
            )
        )
    return found


def figure(outcome: Outcome) -> float:
    """What arms are compared by."""
    return outcome.prequential if isnan(outcome.held_out) else outcome.held_out


def mean(values: Sequence[float]) -> Mean:
    """
    >>> mean([1.0]).value, round(mean([0.0, 2.0]).half, 2)
    (1.0, 12.71)
    """
    n = len(values)
    if n < 2:
        return Mean(float(np.mean(values)) if n else nan, nan)
    t = _T[n - 2] if n - 2 < len(_T) else 2.0
    return Mean(float(np.mean(values)), t * float(np.std(values, ddof=1)) / sqrt(n))


def _reference(arms: Sequence[Arm], outcomes: Sequence[Outcome]) -> list[tuple[float, float]]:
    """Uniform chance's labels and the figure they buy, never falling."""
    points = []
    for (policy, _), places in grouped(arms).items():
        if policy == UNIFORM:
            mine = [outcomes[place] for place in places]
            points.append((float(np.mean([len(o.asked) for o in mine])), float(np.mean([figure(o) for o in mine]))))
    best, curve = -1.0, []
    for labels, value in sorted(points):
        best = max(best, value)
        curve.append((labels, best))
    return curve


def _saved(curve: Sequence[tuple[float, float]], labels: int, value: float) -> float:
    """``1 - labels / what chance needs``; NaN off the ends of chance's curve, where any number would be a guess."""
    for (low_labels, low), (high_labels, high) in pairwise(curve):
        if low <= value <= high and high > low:
            part = (value - low) / (high - low)
            return 1.0 - labels / float(np.exp(log(low_labels) * (1.0 - part) + log(high_labels) * part))
    return nan

"""A bandit over acquisition functions: which of them asks, learnt from what each one's labels brought. Pure.

What a label brought is taken, to first order, for how far its loss gradient points along those of the audit labels that the model got
wrong (TracIn, Pruthi et al. 2020). Of a softmax head it is ``<e_said - e_truth, e_said' - e_truth'> max(0, cos)^4``, the predicted
class standing for the probabilities, since labels tell no more. So a label counts where it corrects errors that the traffic has, which
the uniform audit slice shows; where it was no surprise, or is noise that no audit label shares, it counts nothing.

The arms are drawn with the probability that each has the highest mean gain (Thompson 1933), which for normal means is an integral and
not a draw, so that propensities stay exact; a part is drawn evenly, so that no arm starves. Gains of long ago are forgotten label by
label, and at an alarm for the most part: what paid before a drift need not pay after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray, product
from tiebreak.sampling.diversity import unit_rows
from tiebreak.sampling.neighbours import Stream

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PREFIX = "bandit: "  # of the strategy that a selection names
EVENLY = 0.2  # of the draws
FORGETS = 256.0  # labels over which gains are remembered
AFTER_ALARM = 0.25  # of what was learnt is kept
PRIOR = 4.0  # labels of the mean gain that every arm starts with
MISTAKES = 64  # audit labels that the model got wrong, the newest
LEAST_MISTAKES = 8  # before gains mean anything
_GRID = np.linspace(-6.0, 6.0, 97)


@dataclass(frozen=True, slots=True)
class Returned:
    """A settled label: which strategy asked for it, what the model had ``said``, and the ``truth``."""

    strategy: str
    audit: bool
    said: str
    truth: str
    features: Sequence[float] | FloatArray


@dataclass(frozen=True, slots=True)
class Bandit:
    """``labels``, ``gains`` ``(a,)`` and ``squares`` sum over the labels of each arm, forgotten with time; ``weights`` ``(a,)`` are the
    arms' chances. ``mistakes`` ``(m, d)`` unit features, ``truths`` and ``saids`` ``(m,)`` hashes of their classes.

    ``recent`` ``(1 + a, w)`` utilities of the margin and of each arm, ``since`` events of the open block being in ``fresh``;
    ``around``: what each arm that looks at neighbours compares with.
    """

    labels: Floats = field(default_factory=lambda: np.zeros(0))
    gains: Floats = field(default_factory=lambda: np.zeros(0))
    squares: float = 0.0
    weights: Floats = field(default_factory=lambda: np.zeros(0))
    mistakes: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    truths: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    saids: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    recent: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    fresh: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    around: tuple[Stream, ...] = ()


def fresh(arms: int) -> Bandit:
    """Before anything came back: every arm has the same chance."""
    none = np.zeros((1 + arms, 0))
    return Bandit(
        labels=np.zeros(arms),
        gains=np.zeros(arms),
        weights=np.full(arms, 1.0 / max(1, arms)),
        recent=none,
        fresh=none,
        around=tuple(Stream() for _ in range(arms)),
    )


def learned(bandit: Bandit, arms: Sequence[str], returned: Sequence[Returned], *, alarm: bool = False) -> Bandit:
    """The bandit after labels came back, in their order; after an ``alarm`` of drift most is forgotten."""
    if not returned and not alarm:
        return bandit
    # A label that an acquisition alone asked for, before there was a bandit, is no arm's.
    names = [f"{PREFIX}{arm}" for arm in arms]
    for one in returned:
        if not one.said or not len(one.features):
            continue
        unit = unit_rows(np.asarray([one.features], np.float32))
        bandit = _fitted(bandit, unit.shape[1])
        if one.audit:
            bandit = bandit if one.said == one.truth else _mistaken(bandit, one, unit)
        elif one.strategy in names and len(bandit.truths) >= LEAST_MISTAKES:
            bandit = _paid(bandit, names.index(one.strategy), gain(bandit, one, unit[0]))
    bandit = forgotten(bandit) if alarm else bandit
    return replace(bandit, weights=chances(bandit.labels, bandit.gains, bandit.squares))


def gain(bandit: Bandit, one: Returned, unit: FloatArray) -> float:
    """What a label brought, in [-1, 1]: 0 where the model was right, 1 where all that it gets wrong is this very event."""
    if one.said == one.truth:
        return 0.0
    truth, said = _hash(one.truth), _hash(one.said)
    alike = (bandit.truths == truth) * 1.0 + (bandit.saids == said) - (bandit.truths == said) - (bandit.saids == truth)
    near = np.maximum(0.0, product(bandit.mistakes, unit[:, None])[:, 0].astype(np.float64)) ** 4
    return float(0.5 * (alike * near).mean())


def forgotten(bandit: Bandit) -> Bandit:
    """A quarter of what was learnt, and the newest mistakes."""
    newest = -int(AFTER_ALARM * MISTAKES)
    return replace(
        bandit,
        labels=bandit.labels * AFTER_ALARM,
        gains=bandit.gains * AFTER_ALARM,
        squares=bandit.squares * AFTER_ALARM,
        mistakes=bandit.mistakes[newest:],
        truths=bandit.truths[newest:],
        saids=bandit.saids[newest:],
    )


def chances(labels: Floats, gains: Floats, squares: float) -> Floats:
    """``(a,)``: the probability that each arm has the highest mean gain, ``EVENLY`` of it shared out; sums to 1.

    >>> chances(np.array([50.0, 50.0]), np.array([0.0, 25.0]), 25.0).round(2).tolist()
    [0.1, 0.9]
    """
    arms, total = len(labels), float(labels.sum())
    spread = squares / total - (float(gains.sum()) / total) ** 2 if total > 0.0 else 0.0
    if spread <= 0.0 or arms < 2:
        return np.full(arms, 1.0 / max(1, arms))
    middle = float(gains.sum()) / total
    means = (gains + PRIOR * middle) / (labels + PRIOR)
    errors = np.sqrt(spread / (labels + PRIOR))
    # Arm by arm over its own grid: P(best) = E over its mean of the product of what the others stay below.
    density = np.exp(-0.5 * _GRID**2)
    density /= density.sum()
    best = np.zeros(arms)
    for arm in range(arms):
        at = means[arm] + errors[arm] * _GRID
        below = np.ones(len(at))
        for other in range(arms):
            if other != arm:
                z = (at - means[other]) / (errors[other] * sqrt(2.0))
                below *= np.array([0.5 * (1.0 + erf(one)) for one in z.tolist()])
        best[arm] = float((density * below).sum())
    return np.asarray((1.0 - EVENLY) * best / best.sum() + EVENLY / arms)


def _paid(bandit: Bandit, arm: int, value: float) -> Bandit:
    kept = 1.0 - 1.0 / FORGETS
    labels, gains = bandit.labels * kept, bandit.gains * kept
    labels[arm] += 1.0
    gains[arm] += value
    return replace(bandit, labels=labels, gains=gains, squares=bandit.squares * kept + value * value)


def _mistaken(bandit: Bandit, one: Returned, unit: FloatArray) -> Bandit:
    return replace(
        bandit,
        mistakes=np.concatenate([bandit.mistakes, unit])[-MISTAKES:],
        truths=np.append(bandit.truths, _hash(one.truth))[-MISTAKES:],
        saids=np.append(bandit.saids, _hash(one.said))[-MISTAKES:],
    )


def _fitted(bandit: Bandit, width: int) -> Bandit:
    """Features of another width are compared with those that are to come."""
    if bandit.mistakes.shape[1] == width:
        return bandit
    none = np.zeros(0, np.int64)
    return replace(bandit, mistakes=np.zeros((0, width), np.float32), truths=none, saids=none)


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)

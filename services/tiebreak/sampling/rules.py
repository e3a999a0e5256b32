"""The published budget rules as choices (``sampling.rule``): what papers compare, pure and event by event.

``fixed``, ``variable``, ``randomised`` and ``split`` are the uncertainty strategies of Zliobaite, Bifet, Pfahringer and Holmes (Active
Learning With Drifting Streaming Data, TNNLS 2014): a label is asked for where the highest posterior falls below a threshold, while
the spending estimate ``u' = u (w - 1) / w + asked``, over ``w``, is below the budget. ``biqf`` is the balanced incremental
quantile filter of Kottke, Krempl and Spiliopoulou (IDA 2015) over the strategy's utility.
None of them knows duplicates, novelty or bursts; the audit slice is drawn beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import cos, erfc, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPENDING_WINDOW = 100.0  # w of the spending estimate
STEP = 0.01  # s: how fast the variable threshold moves
SPREAD = 1.0  # delta: the spread of the randomised threshold's factor
AT_RANDOM = 0.1  # v: the part of the stream that split hands to chance
QUANTILE_WINDOW = 100  # w of the quantile filter
TOLERANCE = 50.0  # w_tol: labels of imbalance that move its threshold by the range of its window


@dataclass(frozen=True, slots=True)
class RuleState:
    """``spent`` is the decayed count u, ``theta`` the variable threshold; ``scores``, ``observed`` and ``asked`` are the filter's."""

    spent: float = 0.0
    theta: float = 1.0
    scores: Floats = field(default_factory=lambda: np.zeros(0))
    observed: float = 0.0
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One event: ``confidence`` its highest posterior (0 without a model), ``utility`` the strategy's, ``draws`` three uniform
    numbers of its own, ``classes`` how many the model knows."""

    confidence: float
    utility: float
    draws: tuple[float, float, float]
    classes: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to ask, the probability of asking given the state, and the uncertainty that was needed."""

    ask: bool
    probability: float
    needed: float


def judge(rule: str, state: RuleState, seen: Seen, budget: float) -> tuple[Verdict, RuleState]:
    """The rule's verdict on one event, and its state after it. ``budget`` is a share of the events; 0 and less never asks.

    >>> judge("variable", RuleState(), Seen(0.4, 0.6, (0.5, 0.5, 0.5), 3), 0.1)[0].ask
    True
    """
    if budget <= 0.0:
        return Verdict(ask=False, probability=0.0, needed=1.0), state
    if rule == "biqf":
        return _quantile(state, seen, budget)
    if state.spent / SPENDING_WINDOW >= budget:
        return Verdict(ask=False, probability=0.0, needed=1.0), _spent(state, ask=False)
    verdict, state = _BY_UNCERTAINTY[rule](state, seen, budget)
    return verdict, _spent(state, verdict.ask)


def refused(rule: str, state: RuleState) -> RuleState:
    """The state after an ask that the shared budget refused: it was not spent."""
    if rule == "biqf":
        return replace(state, asked=state.asked - 1)
    return replace(state, spent=max(0.0, state.spent - 1.0))


def _fixed(state: RuleState, seen: Seen, budget: float) -> tuple[Verdict, RuleState]:
    # The paper leaves the threshold open; as in scikit-activeml it stands a budget's part of the way from uniform to sure.
    k = max(2, seen.classes)
    return _below(seen.confidence, 1.0 / k + budget * (1.0 - 1.0 / k)), state


def _variable(state: RuleState, seen: Seen, budget: float) -> tuple[Verdict, RuleState]:
    del budget
    verdict = _below(seen.confidence, state.theta)
    return verdict, _moved(state, verdict.ask)


def _randomised(state: RuleState, seen: Seen, budget: float) -> tuple[Verdict, RuleState]:
    del budget
    # Box and Muller 1958, from two uniform numbers of the event's own.
    normal = sqrt(-2.0 * log(seen.draws[0])) * cos(2.0 * pi * seen.draws[1])
    threshold = state.theta * (1.0 + SPREAD * normal)
    chance = 0.5 * erfc((seen.confidence / state.theta - 1.0) / (SPREAD * sqrt(2.0)))
    verdict = Verdict(seen.confidence < threshold, chance, min(1.0, max(0.0, 1.0 - threshold)))
    return verdict, _moved(state, verdict.ask)


def _split(state: RuleState, seen: Seen, budget: float) -> tuple[Verdict, RuleState]:
    by_threshold = _below(seen.confidence, state.theta)
    chance = AT_RANDOM * min(1.0, budget) + (1.0 - AT_RANDOM) * by_threshold.probability
    if seen.draws[0] < AT_RANDOM:
        # The random part leaves the threshold alone: drift is looked for on it, unbiased.
        return Verdict(seen.draws[1] < budget, chance, 0.0), state
    return replace(by_threshold, probability=chance), _moved(state, by_threshold.ask)


def _quantile(state: RuleState, seen: Seen, budget: float) -> tuple[Verdict, RuleState]:
    scores = np.append(state.scores, seen.utility)[-QUANTILE_WINDOW:]
    observed = state.observed + budget
    level = float(np.quantile(scores, max(0.0, 1.0 - budget)))
    threshold = level - float(scores.max() - scores.min()) * (observed - state.asked) / TOLERANCE
    ask = seen.utility >= threshold
    after = replace(state, scores=scores, observed=observed, asked=state.asked + ask)
    return Verdict(ask, 1.0 if ask else 0.0, max(0.0, threshold)), after


def _below(confidence: float, threshold: float) -> Verdict:
    ask = confidence < threshold
    return Verdict(ask, 1.0 if ask else 0.0, min(1.0, max(0.0, 1.0 - threshold)))


def _moved(state: RuleState, ask: bool) -> RuleState:
    return replace(state, theta=state.theta * (1.0 - STEP if ask else 1.0 + STEP))


def _spent(state: RuleState, ask: bool) -> RuleState:
    return replace(state, spent=state.spent * (SPENDING_WINDOW - 1.0) / SPENDING_WINDOW + ask)


_BY_UNCERTAINTY: Mapping[str, Callable[[RuleState, Seen, float], tuple[Verdict, RuleState]]] = {
    "fixed": _fixed,
    "variable": _variable,
    "randomised": _randomised,
    "split": _split,
}

"""What a question costs: utility is worth its price, and a budget may be in money. Pure.

The unit is the **ordinary answer**: one of no length in a lane without a ``cost`` of its own. A kilobyte of the event costs
``sampling.cost_per_kilobyte`` more; what a routing rule sends elsewhere costs its ``cost`` times as much. In money a task is its price,
times the votes it wants, times ``labeling.cost_per_answer``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import Reason, Selection
from tiebreak.contracts.project import Budget, Project, RoutingRule
from tiebreak.sampling.budget import Limits

Floats = NDArray[np.float64]

REMEMBERED = 50.0  # questions over which the usual price is learnt
PURSE_S = 3600.0  # unspent money piles up for so long


@dataclass(frozen=True, slots=True)
class Tariff:
    """What makes prices differ, and ``ordinary``: the money that a task of price 1 costs (0: no money is counted)."""

    per_kilobyte: float
    rules: tuple[RoutingRule, ...]
    ordinary: float

    @property
    def differs(self) -> bool:
        """Whether one question may cost more than another."""
        return bool(self.per_kilobyte or self.rules)

    @property
    def by_class(self) -> bool:
        """Whether prices depend on predicted classes."""
        return any(rule.predicted for rule in self.rules)

    def prices(self, utility: Floats, predicted: Sequence[str], kilobytes: Floats | None) -> Floats:
        """``(n,)`` in ordinary answers, were each event asked about for its uncertainty. ``predicted``: class names, or nothing."""
        size = 1.0 if kilobytes is None else 1.0 + self.per_kilobyte * kilobytes
        factor = np.ones(len(utility))
        # The first rule that says holds, so the last is written first.
        for rule in reversed(self.rules):
            holds = np.ones(len(utility), dtype=np.bool_)
            if rule.uncertainty_over is not None:
                holds &= utility > rule.uncertainty_over
            if rule.predicted:
                holds &= np.array([name in rule.predicted for name in predicted] or [False] * len(utility))
            if rule.reasons:
                holds &= Reason.UNCERTAIN in rule.reasons
            factor[holds] = float(rule.cost or 1.0)
        return np.asarray(size * factor)

    def price(self, selection: Selection, predicted: str, kilobytes: float) -> float:
        """What this very selection costs, in ordinary answers."""
        for rule in self.rules:
            if (
                (rule.uncertainty_over is None or selection.uncertainty > rule.uncertainty_over)
                and (not rule.predicted or predicted in rule.predicted)
                and (not rule.reasons or selection.reason in rule.reasons)
            ):
                return (1.0 + self.per_kilobyte * kilobytes) * float(rule.cost or 1.0)
        return 1.0 + self.per_kilobyte * kilobytes


@dataclass(frozen=True, slots=True)
class Spending:
    """``price``: what a question has cost lately, in ordinary answers, over ``asked`` questions (at most ``REMEMBERED``)."""

    price: float = 1.0
    asked: float = 0.0


def tariff_of(project: Project) -> Tariff | None:
    """The tariff of a project file; None where every question costs the same and no money is counted."""
    rules = tuple(rule for rule in project.labeling.rules if rule.cost is not None)
    per_kilobyte, paid = project.sampling.cost_per_kilobyte, project.budget.money_per_hour is not None
    if not rules and not per_kilobyte and not paid:
        return None
    ordinary = project.labeling.votes * project.labeling.cost_per_answer if paid else 0.0
    return Tariff(per_kilobyte, rules, ordinary)


def purse_limits(budget: Budget) -> Limits | None:
    """The money of a project as a bucket like that of labels; None where no money is counted."""
    if budget.money_per_hour is None:
        return None
    per_s = budget.money_per_hour / 3600.0
    return Limits(per_s, per_s * PURSE_S, budget.max_open_tasks)


def learned(spending: Spending, prices: Sequence[float]) -> Spending:
    """The usual price after more questions.

    >>> learned(learned(Spending(), [2.0]), [4.0])
    Spending(price=3.0, asked=2.0)
    """
    for price in prices:
        asked = min(REMEMBERED, spending.asked + 1.0)
        spending = Spending(spending.price + (price - spending.price) / asked, asked)
    return spending


def affordable_labels(budget: Budget, tariff: Tariff | None, spending: Spending) -> float:
    """Labels per hour: what people can give, and no more than the money buys at the usual price."""
    if tariff is None or budget.money_per_hour is None:
        return budget.labels_per_hour
    return min(budget.labels_per_hour, budget.money_per_hour / (tariff.ordinary * spending.price))


def bill(tariff: Tariff | None, selections: Sequence[Selection]) -> tuple[float, ...]:
    """What each selection costs in money, audits first as a budget takes them; nothing where no money is counted."""
    if tariff is None or not tariff.ordinary:
        return ()
    audits = [s.price for s in selections if s.audit]
    return tuple(tariff.ordinary * price for price in (*audits, *(s.price for s in selections if not s.audit)))

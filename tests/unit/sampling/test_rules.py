"""The published rules decide as their papers define them, through the real policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest

from tiebreak.contracts.messages import Reason
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Budget, Project, Sampling
from tiebreak.sampling import rules
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.chance import draws
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import restore, snapshot

RULES = ("fixed", "variable", "randomised", "split", "biqf")
SHARE = 0.2
PLENTY = Grant(10**9, 0)
N = 1500
P = np.random.default_rng(4).dirichlet(np.ones(3) * 0.4, size=N).astype(np.float32)
IDS = [b"r%d" % i for i in range(N)]


def policy(rule: str, audit_share: float = 0.0) -> Policy:
    sampling = Sampling.model_validate({"rule": rule, "target_share": SHARE, "audit_share": audit_share})
    return Policy.of(Project.model_validate({
        "project": "p", "input": {"tensors": [{"name": "x", "shape": [2]}]}, "classes": {"names": ["a", "b", "c"]},
        "sampling": sampling, "budget": Budget(labels_per_hour=1e9),
    }))  # fmt: skip


def asked(made: Policy, cuts: Sequence[int]) -> list[int]:
    state, found = initial(made), []
    edges = [0, *cuts, N]
    for start, stop in pairwise(edges):
        batch = Scored(IDS[start:stop], "v1", P[start:stop])
        decision, state = decide(made, state, batch, PLENTY, Moment(0.0))
        found += [start + row for row in decision.rows]
    return found


def by_hand(choose: Callable[[float, float, Sequence[float]], tuple[bool, float]]) -> list[int]:
    """The papers' frame: choose while the decayed spending is below the budget; ``choose(posterior, theta, draws)``."""
    spent, theta, found = 0.0, 1.0, []
    numbers = draws(Sampling().seed, "audit", IDS, 3)[1].tolist()
    for i in range(N):
        ask = False
        if spent / 100 < SHARE:
            ask, theta = choose(float(P[i].max()), theta, numbers[i])
        spent = spent * 99 / 100 + ask
        found += [i] if ask else []
    return found


def moved(ask: bool, theta: float) -> tuple[bool, float]:
    return ask, theta * (0.99 if ask else 1.01)


def test_fixed_uncertainty() -> None:
    """A posterior below one threshold, a fifth of the way from a third to one, is asked about."""
    threshold = 1 / 3 + SHARE * 2 / 3
    assert asked(policy("fixed"), []) == by_hand(lambda p, theta, _: (p < threshold, theta))


def test_variable_uncertainty() -> None:
    """The threshold falls by a hundredth with each ask and rises by a hundredth with each pass."""
    assert asked(policy("variable"), []) == by_hand(lambda p, theta, _: moved(p < theta, theta))


def test_randomised_variable_uncertainty() -> None:
    """The variable threshold is multiplied by a normal number of mean and spread one."""

    def choose(p: float, theta: float, u: Sequence[float]) -> tuple[bool, float]:
        normal = np.sqrt(-2 * np.log(u[0])) * np.cos(2 * np.pi * u[1])
        return moved(bool(p < theta * (1 + normal)), theta)

    assert asked(policy("randomised"), []) == by_hand(choose)


def test_split() -> None:
    """A tenth of the stream is asked at the budget's chance and moves nothing; the rest follows the variable threshold."""

    def choose(p: float, theta: float, u: Sequence[float]) -> tuple[bool, float]:
        return (u[1] < SHARE, theta) if u[0] < 0.1 else moved(p < theta, theta)

    assert asked(policy("split"), []) == by_hand(choose)


def test_balanced_incremental_quantile_filter() -> None:
    """The quantile of the last hundred utilities, moved by their range times the labels left over fifty."""
    top = np.sort(P, axis=1).astype(np.float64)
    utility = 1.0 - (top[:, -1] - top[:, -2])
    found: list[int] = []
    for i in range(N):
        window = utility[max(0, i - 99) : i + 1]
        left = SHARE * (i + 1) - len(found)
        if utility[i] >= np.quantile(window, 1 - SHARE) - (window.max() - window.min()) * left / 50:
            found.append(i)
    mine = asked(policy("biqf"), [])
    assert (
        len(set(mine) ^ set(found)) <= 2
    )  # a utility that equals its threshold may fall on either side of the last bit


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_does_not_see_batches(rule: str) -> None:
    """However a stream is cut, the same events are asked about; where a rule spends, it keeps to the budget."""
    whole = asked(policy(rule), [])
    assert asked(policy(rule), [1, 2, 700, 733]) == whole
    assert 0 < len(whole) <= SHARE * N * 1.1 + 20


@pytest.mark.parametrize("rule", RULES)
def test_audits_chance_and_bad_rows(rule: str) -> None:
    """The audit slice is drawn beside a rule; chances are in (0, 1]; a row of NaN is asked about by no rule, only by audit."""
    p = P.copy()
    p[::3] = np.nan
    decision, _ = decide(policy(rule, 0.5), initial(policy(rule, 0.5)), Scored(IDS, "v1", p), PLENTY, Moment(0.0))
    assert all(0.0 < s.propensity <= 1.0 and s.uncertainty >= s.threshold for s in decision.selections)
    assert {s.reason for s in decision.selections} == {Reason.AUDIT, Reason.UNCERTAIN}
    others = [row for row, s in zip(decision.rows, decision.selections, strict=True) if not s.audit]
    assert all(row % 3 for row in others)


@pytest.mark.parametrize("rule", RULES)
def test_refused_labels_are_not_spent(rule: str) -> None:
    """With nothing granted nothing is asked, and the budget is all there for the next batch."""
    made = policy(rule)
    state = initial(made)
    decision, state = decide(made, state, Scored(IDS[:500], "v1", P[:500]), Grant(0, 0), Moment(0.0))
    assert (decision.rows, state.rule.asked) == ((), 0)
    assert state.rule.spent < 1e-9
    decision, _ = decide(made, state, Scored(IDS[500:], "v1", P[500:]), PLENTY, Moment(1.0))
    assert decision.rows


@pytest.mark.parametrize("rule", RULES)
def test_without_a_model_and_after_a_restart(rule: str) -> None:
    """Without classes a rule asks within its budget, and a restored snapshot goes on as if nothing had happened."""
    made = policy(rule)
    cold = Scored(IDS[:400], "", np.zeros((400, 0), np.float32))
    decision, state = decide(made, initial(made), cold, PLENTY, Moment(0.0))
    assert {s.reason for s in decision.selections} <= {Reason.COLD_START}
    back = restore(snapshot(state, "f"), initial(made), "f")
    rest = Scored(IDS[400:], "v1", P[400:])
    assert (
        decide(made, back, rest, PLENTY, Moment(1.0))[0].rows == decide(made, state, rest, PLENTY, Moment(1.0))[0].rows
    )


def test_no_budget_asks_nobody() -> None:
    """A budget of nothing, or less, is no reason to divide by it."""
    seen = rules.Seen(0.1, 0.9, (0.5, 0.5, 0.5), 3)
    for rule in RULES:
        for budget in (0.0, -1.0):
            before = rules.RuleState()
            verdict, after = rules.judge(rule, before, seen, budget)
            assert (verdict, after is before) == (rules.Verdict(ask=False, probability=0.0, needed=1.0), True)

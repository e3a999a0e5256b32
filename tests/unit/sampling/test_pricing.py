"""Utility per price, and budgets in money."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.sampling import PLENTY, columns_of, pieces, run, scored, scores_of
from tiebreak.contracts.log import StoredRecord
from tiebreak.contracts.messages import Reason, Selection
from tiebreak.contracts.project import Project
from tiebreak.runtime.clock import ManualClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling import budget as b
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.appraising import appraise
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.policy import decide
from tiebreak.sampling.pricing import Tariff, tariff_of
from tiebreak.sampling.stage import Sampler

EVENTS, SHARE = 20_000, 0.05
EXPERTS = {"rules": [{"predicted": ["c"], "lane": "triage", "cost": 4.0}, {"uncertainty_over": 0.9, "cost": 2.0}]}


def project(**sections: Any) -> Project:
    sampling = {"target_share": SHARE, "novelty": False, "audit_share": 0.1, **sections.pop("sampling", {})}
    return Project.model_validate({
        "project": "p", "partitions": 2, "input": {"tensors": [{"name": "x", "shape": [4]}]},
        "classes": {"names": ["a", "b", "c"]}, "budget": {"labels_per_hour": 1e9, "carry_over": 10**6},
        "drift": {"burst": {"labels": 0}}, "sampling": sampling, **sections,
    })  # fmt: skip


def stream(events: int, seed: int = 1) -> Scored:
    """Three classes, equally often; every other text is a kilobyte long, whatever is in it."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(3, 0.5), events).astype(np.float32)
    return replace(scored(p), classes=("a", "b", "c"), kilobytes=np.where(np.arange(events) % 2, 1.0, 0.0))


def asked(made: Policy, batch: Scored) -> list[tuple[int, Selection]]:
    decision, _ = decide(made, initial(made), batch, PLENTY, Moment(0.0))
    return list(zip(decision.rows, decision.selections, strict=True))


def test_a_long_text_must_be_worth_its_length() -> None:
    """At the same utility, texts twice as dear are asked about less, and those that are, are more uncertain; audits stay even."""
    batch, made = stream(EVENTS), Policy.of(project(sampling={"cost_per_kilobyte": 1.0}))
    found = asked(made, batch)
    long = [(row % 2 == 1, s) for row, s in found]
    chosen = [is_long for is_long, s in long if not s.audit]
    assert 0.005 < np.mean(chosen) < 0.2
    assert np.mean([is_long for is_long, s in long if s.audit]) == pytest.approx(0.5, abs=0.15)
    assert {s.price for is_long, s in long} == {1.0, 2.0}
    assert len(found) == pytest.approx(SHARE * EVENTS, rel=0.02)
    assert all(s.uncertainty >= s.threshold for _, s in long)


def test_a_dear_lane_must_be_worth_its_experts() -> None:
    """What a rule sends to dear people has its cost: the first rule that says, by predicted class or by uncertainty."""
    batch = stream(EVENTS)
    chosen = [(row, s) for row, s in asked(Policy.of(project(labeling=EXPERTS)), batch) if not s.audit]
    predicted = [int(batch.probabilities[row].argmax()) for row, _ in chosen]
    assert predicted.count(2) < 0.2 * len(chosen)
    for c, (_, s) in zip(predicted, chosen, strict=True):
        assert s.price == (4.0 if c == 2 else 2.0 if s.uncertainty > 0.9 else 1.0)


def test_the_propensity_of_a_priced_event_is_how_often_chance_selects_it() -> None:
    """Of one state and one dear event under 3,000 seeds, the share of selections (audits apart) is what they report."""
    made = Policy.of(project(sampling={"cost_per_kilobyte": 1.0, "target_share": 0.2}))
    _, state = run(made, [stream(4000)])
    event = replace(scored(np.array([[0.5, 0.48, 0.02]], np.float32), start=4000), kilobytes=np.array([0.5]))
    reported: list[float] = []
    for seed in range(3000):
        seeded = Policy.of(project(sampling={"cost_per_kilobyte": 1.0, "target_share": 0.2, "seed": seed}))
        decision, _ = decide(seeded, replace(state, balance=0.0), event, PLENTY, Moment(4000.0))
        reported += [s.propensity for s in decision.selections if not s.audit]
    assert len(set(reported)) == 1
    assert len(reported) / 3000 == pytest.approx(reported[0], abs=4.0 * np.sqrt(0.25 / 3000))


def test_chance_that_is_asked_for_knows_no_prices() -> None:
    """Strategy `random` stays uniform: long texts are half of what it asks about."""
    made = Policy.of(project(sampling={"strategy": "random", "cost_per_kilobyte": 1.0}))
    assert np.mean([row % 2 for row, _ in asked(made, stream(EVENTS))]) == pytest.approx(0.5, abs=0.06)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), cuts=st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_prices_do_not_depend_on_how_the_stream_is_cut(seed: int, cuts: list[int]) -> None:
    """Any way to cut a priced stream selects the same events, at the same prices."""
    made, whole = Policy.of(project(labeling=EXPERTS)), stream(1500, seed)
    cut = [replace(part, classes=whole.classes) for part in pieces(whole, cuts)]
    at_once = asked(made, replace(whole, kilobytes=None))
    bit_by_bit = [s for decision in run(made, cut)[0] for s in decision.selections]
    assert [(s.uncertainty, s.price) for _, s in at_once] == [(s.uncertainty, s.price) for s in bit_by_bit]


@settings(deadline=None)
@given(
    per_s=st.floats(0.01, 5.0),
    steps=st.lists(
        st.tuples(st.floats(0.0, 600.0), st.lists(st.floats(0.01, 50.0), max_size=8), st.floats(0.0, 5.0)), max_size=40
    ),
)
def test_a_purse_spends_what_it_has_and_one_task_more_at_most(
    per_s: float, steps: list[tuple[float, list[float], float]]
) -> None:
    """Over every window of any history, tasks cost no more than an hour's money, the window's, what bursts borrowed, and one task."""
    limits = b.Limits(per_s, per_s * 3600.0, 10**9)
    purse, now, history, borrowed = b.full(limits, 0.0), 0.0, list[tuple[float, float]](), 0.0
    for gap, bill, loan in steps:
        now += gap
        purse, borrowed = b.borrow(purse, loan), borrowed + loan
        purse = b.refill(purse, limits, now)
        bought = bill[: b.within_purse(purse, limits, bill)]
        purse = b.pay(purse, sum(bought))
        history.append((now, sum(bought)))
    for first, (start, _) in enumerate(history):
        total = 0.0
        for end, cost in history[first:]:
            total += cost
            assert total <= limits.carry_over + per_s * (end - start) + borrowed + 50.0 + 1e-6 * (1 + len(history))


def test_a_model_of_one_class_prices_what_a_selection_costs() -> None:
    """While a model knows one class alone, its lane's price is in the prices that are weighed as it is in the selection."""
    made = Policy.of(project(labeling={"rules": [{"predicted": ["a"], "lane": "triage", "cost": 4.0}]}))
    batch = replace(scored(np.ones((500, 1), np.float32)), classes=("a",))
    appraisal, _ = appraise(made, initial(made), batch, Moment(0.0))
    assert appraisal.prices is not None
    assert {s.price for _, s in asked(made, batch)} == set(appraisal.prices.tolist()) == {4.0}


def test_money_alone_makes_no_prices() -> None:
    """Where money is counted and every question costs the same, nothing is weighed, and each selection has its price."""
    made = Policy.of(project(budget={"labels_per_hour": 1e9, "money_per_hour": 1e9}, labeling={"cost_per_answer": 0.1}))
    appraisal, _ = appraise(made, initial(made), stream(500), Moment(0.0))
    assert appraisal.prices is None
    assert {s.price for _, s in asked(made, stream(500))} == {1.0}


async def test_a_stream_costs_what_an_hour_may_cost() -> None:
    """Dear and cheap texts for six hours: what they cost is the money of that time, however many labels there are."""
    made = project(
        sampling={"cost_per_kilobyte": 1.0, "target_share": 0.2},
        budget={"labels_per_hour": 1e6, "carry_over": 10**6, "money_per_hour": 12.0, "max_open_tasks": 10**6},
        labeling={"votes": 2, "cost_per_answer": 0.05},
    )
    clock, budget = ManualClock(), MemoryBudget(made)
    sampler = Sampler(made, budget, MemorySnapshots(), Metrics("p"), clock)
    spent = 0.0
    for turn in range(360):
        columns = columns_of(100, start=100 * turn)
        bytes_of = [b"x" * (3 * 1024 if row % 2 else 0) for row in range(100)]
        records = [
            replace(r, value=v) for r, v in zip(columns.records, bytes_of, strict=True) if isinstance(r, StoredRecord)
        ]
        columns = replace(columns, records=records)
        sampled = await sampler.select(columns, scores_of(columns))
        spent += sum(0.1 * s.price for s in sampled.selections)
        clock.advance(60.0)
    # At the start there is an hour's money in the purse.
    assert 0.95 * 12.0 * 6 <= spent <= 12.0 * 7


def test_without_prices_selections_have_none() -> None:
    """A project in which every question costs the same has no tariff, and its selections say nothing of prices."""
    made = project()
    assert tariff_of(made) is None
    assert {s.price for _, s in asked(Policy.of(made), stream(1000))} == {0.0}


def test_money_needs_a_price() -> None:
    """A budget in money without a price of answers is refused, with the key that is missing."""
    with pytest.raises(ValidationError, match=r"say what an answer costs \(labeling.cost_per_answer\)"):
        project(budget={"money_per_hour": 5.0})
    with pytest.raises(ValidationError, match="money_per_hour"):
        project(budget={"money_per_hour": 0.0}, labeling={"cost_per_answer": 1.0})


def test_rules_by_reason_price_what_was_selected_for_it() -> None:
    """A rule for novel events prices those, and an uncertain one is ordinary."""
    made = project(labeling={"rules": [{"reasons": ["novel"], "lane": "triage", "cost": 3.0}]})
    tariff = tariff_of(made)
    assert isinstance(tariff, Tariff)
    one = Selection("margin", 0.5, 0.4, 0.1, Reason.UNCERTAIN, False, "v1", "s")
    assert tariff.price(one, "a", 0.0) == 1.0
    assert tariff.price(replace(one, reason=Reason.NOVEL), "a", 0.0) == 3.0
    assert tariff.prices(np.array([0.5]), ["a"], None).tolist() == [1.0]

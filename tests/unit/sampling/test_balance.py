"""Floors for rare classes and declared slices: at least their share, at the right probability, and never a flood."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.sampling import PLENTY, chosen, pieces, run, scored
from tiebreak.contracts.messages import Reason, Selection
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import digest, restore, snapshot

EVENTS, SHARE = 20_000, 0.05
RARE = {"rare_share": 0.2}
NIGHT = {"slices": [{"name": "night", "share": 0.3}]}


def project(balance: dict[str, Any], **sampling: Any) -> Project:
    """Three classes over two named fields, of which `hour` cuts a slice; the budget never binds."""
    return Project.model_validate({
        "project": "p", "input": {"tensors": [{"name": "x", "shape": [2]}], "fields": ["hour", "amount"]},
        "classes": {"names": ["a", "b", "c"]}, "budget": {"labels_per_hour": 1e9},
        "gate": {"slices": [{"name": "night", "field": "hour", "at_least": 22.0}]},
        "sampling": {"target_share": SHARE, "balance": balance, "novelty": False, **sampling},
    })  # fmt: skip


def policy(balance: dict[str, Any], **sampling: Any) -> Policy:
    return Policy.of(project(balance, **sampling))


def stream(events: int = EVENTS, seed: int = 3, rare: float = 0.02) -> Scored:
    """A fiftieth is surely of class c, a fifth surely at night; the rest is undecided between a and b."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet((1.0, 1.0), events).astype(np.float32)
    p = np.column_stack([p, np.zeros(events, np.float32)])
    is_rare, night = rng.random(events) < rare, rng.random(events) < 0.2
    p[night] = (0.98, 0.01, 0.01)
    p[is_rare] = (0.01, 0.01, 0.98)
    features = np.column_stack([np.where(night, 23.0, 12.0), rng.normal(size=events)]).astype(np.float32)
    return scored(p, features=features, inputs=True)


def asked(batch: Scored, made: Policy, size: int = 500) -> list[tuple[int, Selection]]:
    """Row numbers of the whole stream and their selections, audits apart."""
    cut = list(pieces(batch, [size]))
    return [
        (size * number + row, selection)
        for number, decision in enumerate(run(made, cut)[0])
        for row, selection in zip(decision.rows, decision.selections, strict=True)
        if not selection.audit
    ]


def labels(made: Policy, batch: Scored, member: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """The part of all labels that the members get."""
    return sum(bool(member[row]) for row, _ in asked(batch, made)) / (SHARE * len(batch))


def test_rare_classes_get_their_floor() -> None:
    """The sure predictions of a rare class get next to nothing of their own, and a fifth of the labels by their floor."""
    batch = stream()
    rare = batch.probabilities[:, 2] > 0.5
    assert labels(policy({}), batch, rare) < 0.05
    assert labels(policy(RARE), batch, rare) == pytest.approx(0.2, abs=0.02)


def test_a_slice_gets_its_floor() -> None:
    """Events at night, of which the model is sure, get three tenths of the labels."""
    batch = stream()
    night = np.asarray(batch.inputs)[:, 0] >= 22.0
    assert labels(policy({}), batch, night) < 0.15
    assert labels(policy(NIGHT), batch, night) == pytest.approx(0.3, abs=0.03)


def test_floors_spend_no_more_than_the_budget() -> None:
    """With both floors, what is spent is the share asked for, within 1 %."""
    cut = list(pieces(stream(), [500]))
    decisions, _ = run(policy(RARE | NIGHT), cut)
    assert sum(len(d.rows) for d in decisions) == pytest.approx(SHARE * EVENTS, rel=0.01)


def test_what_uncertainty_asks_about_anyway_counts() -> None:
    """A slice that uncertainty is full of is owed nothing: no question is asked on its account."""
    batch = stream(rare=0.0)
    everyone = {"slices": [{"name": "night", "share": 0.3}]}
    swapped = replace(batch, probabilities=np.where(
        (np.asarray(batch.inputs)[:, 0] >= 22.0)[:, None], (0.5, 0.5, 0.0), (0.98, 0.01, 0.01)
    ).astype(np.float32))  # fmt: skip
    reasons = [s.reason for _, s in asked(swapped, policy(everyone))]
    assert reasons.count(Reason.RARE) <= 10
    assert reasons.count(Reason.UNCERTAIN) > 800


def test_a_floor_says_whose_it_is() -> None:
    """The reason is `rare`, and the strategy names the group."""
    found = {(s.reason, s.strategy) for _, s in asked(stream(), policy(RARE | NIGHT))}
    assert {(Reason.RARE, "floor: rare classes"), (Reason.RARE, "floor: slice night")} <= found
    assert all(s.uncertainty >= s.threshold >= 0.0 for _, s in asked(stream(), policy(RARE | NIGHT)))


def test_a_group_that_was_away_does_not_flood() -> None:
    """Ten thousand events without a single member, then nothing but members: what they are owed is at most 25 labels."""
    made = policy(NIGHT)
    day, night = stream(10_000, rare=0.0), stream(200, rare=0.0)
    inputs = [np.full((n, 2), hour, np.float32) for n, hour in ((10_000, 12.0), (200, 23.0))]
    _, state = run(made, list(pieces(replace(day, inputs=inputs[0]), [500])))
    decision, _ = decide(made, state, replace(night, inputs=inputs[1]), PLENTY, Moment(1000.0))
    assert len(decision.rows) <= 25 + 0.3 * 10


def test_the_propensity_is_how_often_chance_selects_a_member() -> None:
    """Of one state and one rare event under 3,000 seeds, the share of selections (audits apart) is the propensity they report."""
    made = policy(RARE | NIGHT)
    _, state = run(made, list(pieces(stream(5000), [500])))
    state = replace(state, balance=0.0)
    p = np.array([[0.05, 0.05, 0.9]], dtype=np.float32)
    event = replace(scored(p, start=5000, features=np.array([[23.0, 0.1]], np.float32), inputs=True))
    reported: list[float] = []
    for seed in range(3000):
        decision, _ = decide(policy(RARE | NIGHT, seed=seed), state, event, PLENTY, Moment(5000.0))
        reported += [s.propensity for s in decision.selections if not s.audit]
    assert len(set(reported)) == 1
    assert 0.05 < reported[0] < 0.95
    assert len(reported) / 3000 == pytest.approx(reported[0], abs=4.0 * np.sqrt(0.25 / 3000))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), cuts=st.lists(st.integers(1, 400), min_size=1, max_size=20), at=st.integers(1, 7))
def test_floors_do_not_depend_on_how_the_stream_is_cut_or_interrupted(seed: int, cuts: list[int], at: int) -> None:
    """Any cut selects the same events with the same chances; a restored state goes on as the one it was written from."""
    made, whole = policy(RARE | NIGHT), stream(2000, seed)
    cut = list(pieces(whole, cuts))
    at_once, _ = decide(made, initial(made), whole, PLENTY, Moment(0.0))
    bit_by_bit, _ = run(made, cut)
    assert chosen(cut, bit_by_bit) == chosen([whole], [at_once])
    chances = [s.propensity for d in bit_by_bit for s in d.selections]
    assert np.allclose(chances, [s.propensity for s in at_once.selections], rtol=1e-4)
    batches = list(pieces(whole, [200]))
    _, state = run(made, batches[:at])
    restored = restore(snapshot(state, made.fingerprint), initial(made), made.fingerprint)
    (first, one), (second, other) = (run(made, batches[at:], start) for start in (state, restored))
    assert [d.selections for d in first] == [d.selections for d in second]
    assert digest(one) == digest(other)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), grants=st.lists(st.integers(0, 9), min_size=1, max_size=9))
def test_floors_exceed_no_grant(seed: int, grants: list[int]) -> None:
    """Whatever is granted per batch, no more is selected, and every propensity is in (0, 1]."""
    made = policy(RARE | NIGHT)
    state = initial(made)
    for turn, batch in enumerate(pieces(stream(1500, seed), [90])):
        grant = Grant(grants[turn % len(grants)], 0)
        decision, state = decide(made, state, batch, grant, Moment(float(turn)))
        assert len(decision.rows) <= grant.granted
        assert all(0.0 < s.propensity <= 1.0 for s in decision.selections)


def test_malformed_rows_belong_to_no_group() -> None:
    """A row that is no distribution is asked about by the audit slice alone, floor or not."""
    batch = stream(4000)
    broken: FloatArray = np.full_like(batch.probabilities, np.nan)
    decisions = run(policy(NIGHT, temper=0.0), list(pieces(replace(batch, probabilities=broken), [500])))[0]
    assert Reason.RARE not in {s.reason for d in decisions for s in d.selections}


def test_without_floors_nothing_is_drawn_or_kept() -> None:
    """A project without floors decides as before there were any, and its state holds nothing of them."""
    made = policy({})
    _, state = run(made, list(pieces(stream(2000), [500])))
    assert (len(state.floors.owed), state.floors.events, state.floors.since) == (0, 0.0, 0)


@pytest.mark.parametrize(
    ("balance", "said"),
    [
        ({"slices": [{"name": "day", "share": 0.1}]}, "'day' is not one of gate.slices"),
        ({"rare_share": 0.8, **NIGHT}, "come to more than 1"),
        ({"slices": [{"name": "night", "share": 0.1}] * 2}, "a slice has two floors"),
        ({"rare_share": -0.1}, "rare_share"),
    ],
)
def test_a_floor_that_cannot_be_is_refused(balance: dict[str, Any], said: str) -> None:
    """The error names the key and what is wrong."""
    with pytest.raises(ValidationError, match=said):
        project(balance)


def test_floors_are_not_for_published_rules_or_for_numbers() -> None:
    """A rule from a paper knows no floors; an answer that is no class has no rare ones."""
    with pytest.raises(ValidationError, match="belong to the rule 'adaptive'"):
        project(RARE, rule="split")
    made = project(RARE).model_dump(exclude_unset=True) | {"labeling": {"answer": {"kind": "multi"}}}
    with pytest.raises(ValidationError, match="rare_share: is for answers of one class"):
        Project.model_validate(made)


def test_floors_hold_within_a_window_too() -> None:
    """The best of each window, and of the labels a fifth for the rare and three tenths for the night, within the budget."""
    batch = stream()
    rare, night = batch.probabilities[:, 2] > 0.5, np.asarray(batch.inputs)[:, 0] >= 22.0
    window = {"window_s": 1.0, "near_duplicates": {"memory": 0}}
    assert labels(policy({}, **window), batch, rare) < 0.08
    floored = policy(RARE | NIGHT, **window)
    assert labels(floored, batch, rare) == pytest.approx(0.2, abs=0.03)
    assert labels(floored, batch, night) == pytest.approx(0.3, abs=0.03)
    found = asked(batch, floored)
    assert {s.reason for _, s in found} == {Reason.RARE, Reason.UNCERTAIN}
    assert {s.strategy for _, s in found if s.reason is Reason.RARE} == {"floor: rare classes", "floor: slice night"}
    decisions, _ = run(floored, list(pieces(batch, [500])))
    assert sum(len(d.rows) for d in decisions) == pytest.approx(SHARE * EVENTS, rel=0.01)


def test_chances_within_a_window_count_coins_and_clusters() -> None:
    """Weighted by one over its propensity, what is asked about of a group comes to the size of the group, over 300 seeds."""
    made = policy(RARE | NIGHT, window_s=1.0, temper=0.5, near_duplicates={"memory": 0}, audit_share=0.0)
    batch = stream(3_000, rare=0.1)
    p = np.where(batch.probabilities[:, 2:] > 0.5, np.array([[0.02, 0.48, 0.5]], np.float32), batch.probabilities)
    cut = list(pieces(replace(batch, probabilities=p), [200]))
    _, state = run(made, cut[:-1])
    state = replace(state, balance=12.0)
    rare = cut[-1].probabilities[:, 2] == 0.5
    estimates, reasons = [], set()
    for seed in range(300):
        own = replace(made, sampling=made.sampling.model_copy(update={"seed": seed}))
        decision, _ = decide(own, state, cut[-1], PLENTY, Moment(99.0))
        mine = [s for row, s in zip(decision.rows, decision.selections, strict=True) if rare[row]]
        estimates.append(sum(1.0 / s.propensity for s in mine))
        reasons |= {s.reason for s in mine}
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(int(rare.sum()), abs=4.0 * error)
    assert error < 0.1 * rare.sum()
    assert Reason.RARE in reasons


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), at=st.integers(1, 5))
def test_floors_of_a_window_survive_a_restart(seed: int, at: int) -> None:
    """Restored between two windows, the same groups are owed the same and the same events are asked about."""
    made, cut = policy(RARE | NIGHT, window_s=1.0), list(pieces(stream(1_800, seed), [300]))
    _, state = run(made, cut[:at])
    again = restore(snapshot(state, made.fingerprint), initial(made), made.fingerprint)
    (first, one), (second, other) = (run(made, cut[at:], start) for start in (state, again))
    assert chosen(cut[at:], first) == chosen(cut[at:], second)
    assert digest(one) == digest(other)

"""Density and expected error reduction: what they prefer, and that they are ranks whoever the model is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sampling import PLENTY, chosen, pieces, policy, probabilities, run, scored
from tiebreak.contracts.messages import Reason
from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.sampling import neighbours as nb
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.appraising import appraise
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import digest, restore, snapshot

KINDS = sorted(nb.KINDS)
kinds = st.sampled_from(KINDS)


def made(strategy: str, **more: object) -> Policy:
    settings = {"target_share": 0.1, "novelty": False, "near_duplicates": {"memory": 0}, "temper": 0.25}
    return policy(strategy=strategy, **settings, **more)


def crowd(events: int, seed: int = 1, dense: float = 0.8) -> tuple[FloatArray, np.ndarray]:
    """Features of which a part lies in one narrow cone and the rest anywhere, and which of them are in it."""
    rng = np.random.default_rng(seed)
    inside = rng.random(events) < dense
    near = np.eye(8)[0] * 4.0 + rng.normal(size=(events, 8))
    return np.where(inside[:, None], near, 2.0 * rng.normal(size=(events, 8))).astype(np.float32), inside


def utilities(strategy: str, batch: Scored) -> np.ndarray:
    return appraise(made(strategy), initial(made(strategy)), batch, Moment(0.0))[0].utility


def asked(strategy: str, batch: Scored) -> list[int]:
    decision, _ = decide(made(strategy, audit_share=0.0), initial(made(strategy)), batch, PLENTY, Moment(0.0))
    return list(decision.rows)


@pytest.mark.parametrize("strategy", KINDS)
def test_what_many_events_resemble_is_worth_more(strategy: str) -> None:
    """Where the model is equally unsure of all, the crowd gets more of the questions than margin gives it."""
    features, inside = crowd(6000)
    lean = np.random.default_rng(2).uniform(0.5, 0.7, 6000)
    p = np.column_stack([lean, 0.9 - lean, np.full(6000, 0.1)]).astype(np.float32)
    batch = scored(p, features=features)
    crowded, by_margin = (float(np.mean(inside[asked(name, batch)])) for name in (strategy, "margin"))
    assert crowded > by_margin + 0.05


@pytest.mark.parametrize("strategy", KINDS)
def test_another_model_changes_no_scale(strategy: str) -> None:
    """A swap to a much surer model moves the margins, and the ranks keep their spread: spending goes on as planned."""
    features, _ = crowd(12_000)
    rng = np.random.default_rng(3)
    soft, sharp = (probabilities(rng, 6000, sharpness=s) for s in (2.0, 0.1))
    batches = [
        *pieces(scored(soft, features=features[:6000]), [500]),
        *pieces(scored(sharp, start=6000, version="v2", features=features[6000:]), [500]),
    ]
    decisions, _ = run(made(strategy), batches)
    before, after = (sum(len(d.rows) for d in part) for part in (decisions[4:12], decisions[16:]))
    assert before == pytest.approx(400, rel=0.05)
    assert after == pytest.approx(400, rel=0.05)


def test_a_label_that_tells_of_an_unsure_crowd_is_worth_more_than_one_of_a_sure() -> None:
    """At one place the sample is unsure, at another sure: the expected error falls more with a label at the first."""
    sample = np.array([[0.5, 0.5], [0.55, 0.45], [0.99, 0.01], [0.98, 0.02]], np.float32)
    cosines = np.array([[1.0, 0.9, 0.0, 0.0], [0.0, 0.0, 0.9, 1.0]])
    unsure, sure = nb.expected_reduction(np.array([[0.5, 0.5], [0.5, 0.5]], np.float32), cosines, sample).tolist()
    assert unsure > 0.0 > sure


@settings(deadline=None)
@given(seed=st.integers(0, 2**16), classes=st.integers(2, 6))
def test_expected_reduction_follows_candidates_and_ignores_the_order_of_classes(seed: int, classes: int) -> None:
    """Permuting candidates permutes the answers; permuting classes, or the sample, changes none."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), 9).astype(np.float32)
    sample = rng.dirichlet(np.ones(classes), 12).astype(np.float32)
    cosines = rng.uniform(-1.0, 1.0, (9, 12))
    whole = nb.expected_reduction(p, cosines, sample)
    rows, columns, others = rng.permutation(9), rng.permutation(classes), rng.permutation(12)
    assert np.allclose(nb.expected_reduction(p[rows], cosines[rows], sample), whole[rows])
    assert np.allclose(nb.expected_reduction(p[:, columns], cosines, sample[:, columns]), whole)
    assert np.allclose(nb.expected_reduction(p, cosines[:, others], sample[others]), whole)


@settings(max_examples=20, deadline=None)
@given(
    kind=kinds,
    seed=st.integers(0, 2**16),
    cuts=st.lists(st.integers(1, 300), min_size=1, max_size=9),
    at=st.integers(1, 9),
)
def test_neither_cuts_nor_restarts_change_what_is_asked(kind: str, seed: int, cuts: list[int], at: int) -> None:
    """Any cut selects the same events; a restored state goes on as the one it was written from, to the bit."""
    own, rng = made(kind), np.random.default_rng(seed)
    whole = scored(probabilities(rng, 1500), features=rng.normal(size=(1500, 6)).astype(np.float32))
    cut = list(pieces(whole, cuts))
    at_once, _ = decide(own, initial(own), whole, PLENTY, Moment(0.0))
    assert chosen(cut, run(own, cut)[0]) == chosen([whole], [at_once])
    batches = list(pieces(whole, [150]))
    _, state = run(own, batches[:at])
    restored = restore(snapshot(state, own.fingerprint), initial(own), own.fingerprint)
    (first, one), (second, other) = (run(own, batches[at:], start) for start in (state, restored))
    assert [d.selections for d in first] == [d.selections for d in second]
    assert digest(one) == digest(other)


@pytest.mark.parametrize("strategy", KINDS)
def test_utilities_of_anything_are_in_the_unit_interval(strategy: str) -> None:
    """Rows that are no distribution have 0; features that are not finite resemble nothing; the rest is in [0, 1]."""
    rng = np.random.default_rng(5)
    p, features = probabilities(rng, 600), rng.normal(size=(600, 4)).astype(np.float32)
    p[::7], features[::5] = np.nan, np.inf
    utility = utilities(strategy, scored(p, features=features))
    assert ((utility >= 0.0) & (utility <= 1.0)).all()
    assert not utility[::7].any()
    assert utility[1::7].any()


@pytest.mark.parametrize("strategy", KINDS)
def test_without_neighbours_it_is_margin(strategy: str) -> None:
    """No features, or answers of several classes: the kind that is reported is the one that decided."""
    p = probabilities(np.random.default_rng(6), 200)
    for batch in (scored(p), replace(scored(p, features=np.ones((200, 3), np.float32)), form=Form.MULTI)):
        appraisal, _ = appraise(made(strategy), initial(made(strategy)), batch, Moment(0.0))
        assert appraisal.kind == "margin"


@pytest.mark.parametrize("strategy", KINDS)
def test_a_selection_names_its_acquisition_and_reaches_its_threshold(strategy: str) -> None:
    """Kind, value and threshold are those of the acquisition that chose."""
    features, _ = crowd(3000)
    decisions, _ = run(made(strategy), [scored(probabilities(np.random.default_rng(7), 3000), features=features)])
    uncertain = [s for s in decisions[0].selections if s.reason is Reason.UNCERTAIN]
    assert {s.strategy for s in uncertain} == {strategy}
    assert all(1.0 >= s.uncertainty >= s.threshold >= 0.0 and 0.0 < s.propensity <= 1.0 for s in uncertain)


@pytest.mark.parametrize("strategy", ["bald", "kl", "vote_entropy"])
@pytest.mark.parametrize("form", [Form.CLASSES, Form.MULTI])
def test_a_committee_of_one_agrees_with_itself_and_is_no_committee(strategy: str, form: Form) -> None:
    """Its disagreement would be 0 for every event, and chance decide: the margin does instead, and says so."""
    p = probabilities(np.random.default_rng(8), 50)
    batch = replace(scored(p), members=p[None], form=form)
    appraisal, _ = appraise(made(strategy), initial(made(strategy)), batch, Moment(0.0))
    assert appraisal.kind == "margin"
    assert np.array_equal(appraisal.utility, utilities("margin", replace(batch, members=None)))

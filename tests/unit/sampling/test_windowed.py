"""The best of a window, spread over what it holds, with known chances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.sampling import PLENTY, pieces, policy, probabilities, project, run, scored
from tiebreak.contracts.messages import Reason
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Sampling
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import digest, restore, snapshot
from tiebreak.sampling.windowed import chance_in, k_center, winners

SHARE = 0.05


def made(**more: Any) -> Policy:
    return policy(**{"target_share": SHARE, "window_s": 1.0, **more})


def clustered(events: int, clusters: int, seed: int = 1) -> tuple[Scored, np.ndarray]:
    """Events in narrow clusters of very different size, equally unsure throughout, and which cluster each is of."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, clusters + 1) ** 1.5
    of = rng.choice(clusters, events, p=weights / weights.sum())
    features = (10.0 * np.eye(clusters)[of] + 0.1 * rng.normal(size=(events, clusters))).astype(np.float32)
    return scored(np.full((events, 3), 1.0 / 3.0, np.float32), features=features), of


def stream(seed: int, events: int) -> Scored:
    rng = np.random.default_rng(seed)
    return scored(probabilities(rng, events), features=rng.normal(size=(events, 5)).astype(np.float32))


def test_a_window_is_asked_about_all_over() -> None:
    """Of forty labels for twenty clusters, uncertainty alone leaves several out; the window asks about nearly each."""
    batch, of = clustered(800, 20)
    chosen, _ = decide(made(audit_share=0.0), initial(made()), batch, PLENTY, Moment(0.0))
    one_by_one = policy(target_share=SHARE, audit_share=0.0, novelty=False, near_duplicates={"memory": 0})
    before, _ = decide(one_by_one, initial(one_by_one), batch, PLENTY, Moment(0.0))
    assert len(set(of[list(chosen.rows)])) >= 18 > len(set(of[list(before.rows)]))


def test_what_is_spent_is_the_share_asked_for() -> None:
    """Over many windows the share of selected events is the target, within 1 % and the early labels."""
    decisions, _ = run(made(), list(pieces(stream(2, 40_000), [800])))
    assert sum(len(d.rows) for d in decisions) == pytest.approx(SHARE * 40_000, abs=20.0)


def test_within_a_cluster_the_more_uncertain_are_likelier() -> None:
    """Selections for uncertainty come from the most uncertain part of the window, and name what they had to beat."""
    decisions, _ = run(made(temper=0.25), list(pieces(stream(3, 20_000), [1000])))
    selections = [s for d in decisions for s in d.selections if s.reason is Reason.UNCERTAIN]
    top = np.quantile(np.concatenate([d.utility for d in decisions]), 0.7)
    assert np.mean([s.uncertainty >= top for s in selections]) > 0.8
    assert all(s.uncertainty >= s.threshold >= 0.0 and 0.0 < s.propensity <= 1.0 for s in selections)
    assert {s.reason for d in decisions for s in d.selections} == {Reason.UNCERTAIN, Reason.AUDIT}


@pytest.mark.parametrize("units", [True, False])
def test_the_probability_is_how_often_a_row_wins(units: bool) -> None:
    """Over 4,000 draws of the noise, each row wins as often as it is said to when it does."""
    rng = np.random.default_rng(4)
    base, features = rng.normal(size=60), rng.normal(size=(60, 3)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    won, said = np.zeros(60), np.zeros(60)
    for _ in range(4000):
        for row, probability, _ in winners(base, rng.gumbel(size=60), features if units else None, 0.5, 5):
            won[row] += 1.0 / 4000
            said[row] = probability
    those = base, np.zeros(60), features if units else None, 0.5
    assert [chance_in(those, 5, row) for row in np.flatnonzero(said).tolist()] == said[said > 0.0].tolist()
    assert chance_in(those, 5, int(base.argmin())) == 0.0
    seen = said > 0.0
    assert np.allclose(won[seen], said[seen], atol=4.0 * np.sqrt(0.25 / 4000))
    assert won.sum() == pytest.approx(5.0)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**16), grants=st.lists(st.integers(0, 9), min_size=1, max_size=9), share=st.floats(0.01, 1.0)
)
def test_no_grant_is_exceeded_and_rows_are_unique(seed: int, grants: list[int], share: float) -> None:
    """Whatever is granted per window: no more rows, ascending, none twice, none replayed, none that is no distribution but audits."""
    own = made(target_share=share)
    state = initial(own)
    for turn, batch in enumerate(pieces(stream(seed, 1200), [200])):
        p = batch.probabilities.copy()
        p[::9] = np.nan
        holed = replace(batch, probabilities=p, replayed=frozenset(range(0, len(batch), 5)))
        grant = Grant(grants[turn % len(grants)], 0)
        decision, state = decide(own, state, holed, grant, Moment(float(turn)))
        assert len(decision.rows) <= grant.granted
        assert list(decision.rows) == sorted(set(decision.rows))
        assert not holed.replayed & set(decision.rows)
        assert all(s.audit or row % 9 for row, s in zip(decision.rows, decision.selections, strict=True))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), at=st.integers(1, 9))
def test_a_restored_state_decides_as_the_one_it_was_written_from(seed: int, at: int) -> None:
    """Between two windows a restart changes nothing, to the bit."""
    own, batches = made(), list(pieces(stream(seed, 2000), [200]))
    _, state = run(own, batches[:at])
    restored = restore(snapshot(state, own.fingerprint), initial(own), own.fingerprint)
    (first, one), (second, other) = (run(own, batches[at:], start) for start in (state, restored))
    assert [d.selections for d in first] == [d.selections for d in second]
    assert digest(one) == digest(other)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_the_order_of_a_window_does_not_matter(seed: int) -> None:
    """Permuting a window's events permutes the choice."""
    own = made(audit_share=0.0)
    whole = stream(seed, 300)
    order = np.random.default_rng(seed).permutation(300)
    ids, features = [whole.ids[i] for i in order], np.asarray(whole.features)[order]
    mixed = replace(whole, ids=ids, probabilities=whole.probabilities[order], features=features)
    first, second = (decide(own, initial(own), batch, PLENTY, Moment(0.0))[0] for batch in (whole, mixed))
    assert {whole.ids[row] for row in first.rows} == {mixed.ids[row] for row in second.rows}


def test_identical_events_are_one_question() -> None:
    """A window of a thousand copies is asked about once, not forty times."""
    batch = scored(np.full((1000, 3), 1.0 / 3.0, np.float32), features=np.ones((1000, 4), np.float32))
    decision, _ = decide(made(audit_share=0.0), initial(made()), batch, PLENTY, Moment(0.0))
    assert len(decision.rows) == 1


def test_a_large_window_is_cut() -> None:
    """A replay that hands over a hundred thousand events at once chooses in parts, and spends what it should."""
    decision, _ = decide(made(), initial(made()), stream(5, 60_000), PLENTY, Moment(0.0))
    assert len(decision.rows) == pytest.approx(SHARE * 60_000, rel=0.02)


def test_without_features_or_model_the_window_still_chooses() -> None:
    """Clusters are then dealt out by rank; without a model each event is as good as any other."""
    p = probabilities(np.random.default_rng(6), 1000)
    for batch, reason in ((scored(p), Reason.UNCERTAIN), (scored(np.zeros((1000, 0), np.float32)), Reason.COLD_START)):
        decision, _ = decide(made(audit_share=0.0), initial(made()), batch, PLENTY, Moment(0.0))
        assert {s.reason for s in decision.selections} == {reason}
        assert len(decision.rows) == pytest.approx(SHARE * 1000, abs=20)


def test_centres_are_as_far_apart_as_can_be() -> None:
    """Three groups, three centres: every row is with its own; a fourth centre finds nothing that is apart."""
    units = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    assert k_center(units, 3).tolist() == k_center(units, 9).tolist()
    assert len(set(k_center(units, 3).tolist())) == 3


def test_a_window_knows_no_published_rules() -> None:
    """What cannot be together is refused by name."""
    with pytest.raises(ValidationError, match="window_s: a window is for the rule 'adaptive', not for 'split'"):
        project(sampling=Sampling.model_validate({"window_s": 1.0, "rule": "split"}))

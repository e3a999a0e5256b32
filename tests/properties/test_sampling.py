"""What holds of sampling whatever the stream: properties, not examples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.support.sampling import PLENTY, chosen, pieces, policy, probabilities, run, scored
from tiebreak.contracts.ports import Grant
from tiebreak.sampling import acquisition as a
from tiebreak.sampling import budget as b
from tiebreak.sampling.appraisal import Moment, Scored, initial
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import digest, restore, snapshot

FUNCTIONS = (a.margin, a.least_confidence, a.entropy, a.expected_gradient_length)
seeds = st.integers(0, 2**16)
shares = st.sampled_from((0.01, 0.05, 0.2, 0.7, 1.0))
strategies = st.sampled_from(("margin", "least_confidence", "entropy", "random"))
anything = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6), elements=st.floats(width=64)
)


def stream(seed: int, events: int, *, width: int = 5) -> Scored:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(events, width)).astype(np.float32)
    return scored(probabilities(rng, events, sharpness=float(rng.uniform(0.1, 2.0))), features=features, inputs=True)


@pytest.mark.parametrize("utility", FUNCTIONS)
@settings(deadline=None)
@given(seed=seeds, classes=st.integers(2, 9))
def test_utilities_follow_the_rows_and_ignore_the_order_of_classes(
    utility: Callable[[a.AnyFloats], a.Floats], seed: int, classes: int
) -> None:
    """Permuting rows permutes utilities; permuting classes changes none."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), 12)
    rows, columns = rng.permutation(12), rng.permutation(classes)
    assert np.array_equal(utility(p[rows]), utility(p)[rows])
    assert np.allclose(utility(p[:, columns]), utility(p))


@pytest.mark.parametrize("utility", FUNCTIONS)
@settings(deadline=None)
@given(p=anything)
def test_utilities_of_anything_at_all_are_in_the_unit_interval(
    utility: Callable[[a.AnyFloats], a.Floats], p: a.AnyFloats
) -> None:
    """NaN, infinities, negatives and huge numbers give a number in [0, 1] for every row, and no warning."""
    answer = utility(p)
    assert answer.shape == (len(p),)
    assert ((answer >= 0.0) & (answer <= 1.0)).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=seeds,
    share=st.one_of(shares, st.sampled_from((1e-5, 4e-4))),
    strategy=strategies,
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=20),
)
def test_cutting_the_stream_into_batches_changes_nothing(
    seed: int, share: float, strategy: str, cuts: list[int]
) -> None:
    """Any way to cut a stream into batches selects the same events, with the same propensities, and ends in the same state."""
    made = policy(strategy=strategy, target_share=share)
    whole = stream(seed, 2000)
    cut = list(pieces(whole, cuts))
    at_once, _ = decide(made, initial(made), whole, PLENTY, Moment(0.0))
    bit_by_bit, _ = run(made, cut)
    assert chosen(cut, bit_by_bit) == chosen([whole], [at_once])
    propensities = [s.propensity for d in bit_by_bit for s in d.selections]
    assert np.allclose(propensities, [s.propensity for s in at_once.selections], rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, share=shares, at=st.integers(1, 19))
def test_a_restored_state_decides_as_the_one_it_was_written_from(seed: int, share: float, at: int) -> None:
    """Wherever a stream is interrupted, what comes after the restore is what would have come without it, to the bit."""
    made = policy(target_share=share)
    batches = list(pieces(stream(seed, 4000), [200]))
    _, state = run(made, batches[:at])
    restored = restore(snapshot(state, made.fingerprint), initial(made), made.fingerprint)
    (first, one), (second, other) = (run(made, batches[at:], start) for start in (state, restored))
    assert [d.selections for d in first] == [d.selections for d in second]
    assert digest(one) == digest(other)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, share=shares, strategy=strategies, grants=st.lists(st.integers(0, 9), min_size=1, max_size=9))
def test_no_grant_is_ever_exceeded_and_every_selection_has_a_chance(
    seed: int, share: float, strategy: str, grants: list[int]
) -> None:
    """Whatever is granted per batch, no more is selected; propensities are in (0, 1], uncertainty reaches its threshold."""
    made = policy(strategy=strategy, target_share=share)
    state = initial(made)
    for turn, batch in enumerate(pieces(stream(seed, 1500), [90])):
        grant = Grant(grants[turn % len(grants)], 0)
        decision, state = decide(made, state, batch, grant, Moment(float(turn)))
        assert len(decision.rows) <= grant.granted
        assert list(decision.rows) == sorted(set(decision.rows))
        assert all(0.0 < s.propensity <= 1.0 and s.uncertainty >= s.threshold >= 0.0 for s in decision.selections)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, share=st.floats(0.005, 0.9))
def test_spending_never_runs_ahead_of_its_plan(seed: int, share: float) -> None:
    """At every event, labels asked are within the plan: the share, what may come early, the audits' chance, and two labels."""
    made = policy(target_share=share, audit_share=0.0)
    spent = 0
    batches = list(pieces(stream(seed, 3000), [50]))
    for turn, decision in enumerate(run(made, batches)[0]):
        spent += len(decision.rows)
        assert spent <= share * 50 * (turn + 1) + 30 + 3 * share * 64 + 2


@settings(deadline=None)
@given(
    rate=st.floats(0.001, 100.0),
    carry_over=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0.0, 50.0), st.integers(0, 60), st.integers(0, 20)), max_size=40),
)
def test_a_bucket_is_never_overdrawn(rate: float, carry_over: int, steps: list[tuple[float, int, int]]) -> None:
    """Over every window of any history, grants are within carry-over, refills of the window, and everything borrowed."""
    limits = b.Limits(rate, float(carry_over), 10**9)
    bucket, now, history, borrowed = b.full(limits, 0.0), 0.0, list[tuple[float, int]](), 0
    for gap, wanted, loan in steps:
        now += gap
        bucket, borrowed = b.borrow(bucket, loan), borrowed + loan
        bucket, granted = b.take(bucket, limits, wanted, 0, now)
        assert 0.0 <= bucket.debt <= borrowed
        history.append((now, granted))
    for first, (start, _) in enumerate(history):
        total = 0
        for end, granted in history[first:]:
            total += granted
            assert total <= carry_over + rate * (end - start) + borrowed + 1e-6 * (1 + len(history))

"""Anytime-valid bounds: they hold however often one looks, they close in, and they depend on the labels alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.models import disagreements
from tiebreak.contracts import confidence
from tiebreak.contracts.confidence import Bounds, bounds, evidence_above, running_evidence_above

DIFFERENCES = st.lists(st.floats(-1.0, 1.0), max_size=60)


@given(DIFFERENCES, st.sampled_from([0.01, 0.05, 0.2]))
def test_bounds_enclose_the_mean_of_the_sample(values: list[float], alpha: float) -> None:
    """Whatever the values, the bounds are in order, within [-1, 1], and the sample's own mean lies between them."""
    found = bounds(values, alpha)
    assert -1.0 <= found.low <= found.high <= 1.0
    if values:
        assert found.low <= float(np.mean(values)) + 1e-6
        assert found.high >= float(np.mean(values)) - 1e-6


@given(DIFFERENCES)
def test_the_order_of_the_labels_does_not_matter(values: list[float]) -> None:
    """Partitions interleave anew at each replay: the verdict must not."""
    shuffled = sorted(values)
    assert bounds(values, 0.05) == bounds(shuffled, 0.05)


@given(DIFFERENCES)
def test_the_two_sides_mirror_each_other(values: list[float]) -> None:
    """Champion and challenger changed places: the bounds change sign."""
    there, back = bounds(values, 0.05), bounds([-v for v in values], 0.05)
    assert (there.low, there.high) == (-back.high, -back.low)


@pytest.mark.parametrize("disagree", [0.04, 0.2, 0.8])
def test_looking_after_every_label_does_not_raise_the_error_above_its_level(disagree: float) -> None:
    """2,000 streams of 400 labels on which both are as good, looked at 400 times each: "better" is said in 5 % at most."""
    rng = np.random.default_rng(3)
    signs = rng.choice([-1.0, 0.0, 1.0], size=(2000, 400), p=[disagree / 2, 1 - disagree, disagree / 2])
    ever = (running_evidence_above(signs, 0.0) >= 20.0).any(axis=1).mean()
    assert ever <= 0.05


WEIGHTED = st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(0.01, 1.0)), max_size=40)


@given(WEIGHTED)
def test_weights_of_one_are_no_weights_and_a_weight_of_nothing_is_no_label(drawn: list[tuple[float, float]]) -> None:
    """Labels from before the field change nothing, nor does one that stands for nothing; order is of no account."""
    values, weights = [v for v, _ in drawn], [w for _, w in drawn]
    assert bounds(values, 0.05, [1.0] * len(values)) == bounds(values, 0.05)
    found, longer = bounds(values, 0.05, weights), bounds([*values, 1.0], 0.05, [*weights, 0.0])
    assert (found.low, found.high) == pytest.approx((longer.low, longer.high), abs=1e-9)
    assert bounds(values[::-1], 0.05, weights[::-1]) == found


def test_bounds_of_labels_drawn_unequally_enclose_the_mean_of_the_stream() -> None:
    """1,000 streams of 300 labels of which half are of the tenth where two models differ, one of them 4 points worse, looked at

    after each: a bound is wrong in 5 % at most. Counted alike, the labels say what is not so in nearly all of them.
    """
    rng = np.random.default_rng(8)
    apart, weight = disagreements.looked_for(rng, (1000, 300), 1.0)
    gains = np.where(apart, np.where(rng.random(apart.shape) < 0.7, -1.0, 1.0), 0.0)
    weights = np.where(apart, weight, 1.0)
    for sign, mean in ((1.0, -0.04), (-1.0, 0.04)):
        wealth = np.cumsum(
            np.log1p(confidence._BETS[:, None, None] * (weights * (sign * gains - mean))[None] / (1 + mean)), 2
        )
        assert (np.exp(wealth).mean(axis=0) >= 20.0).any(axis=1).mean() <= 0.05
    for row, own in zip(gains[:50].tolist(), weights[:50].tolist(), strict=True):
        found = bounds(row, 0.05, own)
        assert found.low <= -0.04 <= found.high
    assert sum(bounds(row, 0.05).high < -0.04 for row in gains[:50].tolist()) > 40


@pytest.mark.parametrize("weight", [1.5, -0.1, float("nan")])
def test_what_is_no_weight_is_refused(weight: float) -> None:
    """Above 1 the wealth could turn negative and the promise with it."""
    with pytest.raises(ValueError, match="weights"):
        bounds([0.0], 0.05, [weight])


def test_the_running_evidence_is_what_the_bounds_are_made_of() -> None:
    """Simulations and the gate look at the same number."""
    values = np.random.default_rng(4).choice([-1.0, 0.0, 0.5, 1.0], 50)
    running = running_evidence_above(values, -0.1)
    assert running[-1] == pytest.approx(evidence_above(values.tolist(), -0.1))
    low = bounds(values.tolist(), 0.05).low
    assert evidence_above(values.tolist(), low) == pytest.approx(20.0, rel=1e-3)


def test_bounds_close_in_on_the_truth() -> None:
    """Ten times the labels, a fraction of the width."""
    widths = []
    for n in (100, 1000, 10_000):
        found = bounds([1.0] * (n // 10) + [0.0] * (n - n // 10), 0.05)
        widths.append(found.high - found.low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]
    assert bounds([], 0.05) == Bounds(-1.0, 1.0, 0)


@pytest.mark.parametrize("value", [1.5, float("nan"), float("-inf")])
def test_what_is_no_difference_of_shares_is_refused(value: float) -> None:
    """Outside [-1, 1] the wealth could turn negative and the promise with it."""
    with pytest.raises(ValueError, match="within"):
        bounds([0.0, value], 0.05)

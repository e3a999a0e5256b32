"""What is worth asking about where answers are several classes or a number."""

from __future__ import annotations

import numpy as np
import pytest

from tiebreak.sampling.acquisition_forms import of_numbers, of_several

STRATEGIES = [
    "margin",
    "least_confidence",
    "entropy",
    "expected_gradient_length",
    "vote_entropy",
    "kl",
    "bald",
    "random",
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_undecided_class_is_worth_more_than_decided_ones_whatever_the_rows_sum_to(strategy: str) -> None:
    """Every strategy ranks a doubtful list above a certain one, gives values in [0, 1], and 0 to a malformed row."""
    p = np.array([[0.5, 0.5, 0.9], [1.0, 0.0, 1.0], [np.nan, 0.2, 0.2], [1.7, 0.1, 0.1]], np.float32)
    members = np.stack([p, np.array([[0.1, 0.9, 0.9], [1.0, 0.0, 1.0], [0.0] * 3, [0.0] * 3], np.float32)])
    _, found = of_several(strategy, p, members)
    assert found[0] > found[1] == 0.0
    assert found[2:].tolist() == [0.0, 0.0]
    assert found.max() <= 1.0


def test_rows_are_ranked_alike_in_any_order() -> None:
    """Permuting events permutes utilities: no row's value hangs on its neighbours."""
    rng = np.random.default_rng(0)
    p, order = rng.random((40, 5)).astype(np.float32), rng.permutation(40)
    numbers = rng.random((4, 40, 1)).astype(np.float32)
    for strategy in STRATEGIES:
        np.testing.assert_array_equal(of_several(strategy, p, None)[1][order], of_several(strategy, p[order], None)[1])
        one = of_numbers(strategy, numbers[0, :, 0], numbers)[1][order]
        np.testing.assert_array_equal(one, of_numbers(strategy, numbers[0, order, 0], numbers[:, order])[1])


def test_numbers_are_worth_what_the_committee_differs_upon() -> None:
    """Twice the spread, or twice the mean distance from what serves; without a committee every event is as good as another."""
    members = np.array([[[0.5], [0.2]], [[0.5], [0.8]]], np.float32)
    served = np.array([0.5, 0.2], np.float32)
    np.testing.assert_allclose(of_numbers("margin", served, members)[1], [0.0, 0.6], atol=1e-6)
    kind, change = of_numbers("expected_gradient_length", served, members)
    assert kind == "expected_gradient_length"
    np.testing.assert_allclose(change, [0.0, 0.6], atol=1e-6)
    assert of_numbers("margin", served, None)[1].tolist() == [1.0, 1.0]

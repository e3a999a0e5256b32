"""What acquisition functions answer, for good rows and for bad ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tiebreak.contracts.errors import Invalid
from tiebreak.sampling import acquisition as a

ROWWISE = (a.margin, a.least_confidence, a.entropy, a.expected_gradient_length)
COMMITTEE = (a.vote_entropy, a.kl_to_consensus, a.bald)


@pytest.mark.parametrize("utility", ROWWISE)
def test_a_tie_is_worth_most_and_certainty_nothing(utility: Callable[[a.AnyFloats], a.Floats]) -> None:
    """Of an even row, a leaning row and a sure row, the even one has the highest utility and the sure one has 0."""
    even, leaning, sure = utility(np.array([[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1], [1.0, 0.0, 0.0, 0.0]]))
    assert even > leaning > sure == 0.0


@pytest.mark.parametrize("utility", ROWWISE)
@pytest.mark.parametrize(
    "bad", [[np.nan, 0.5, 0.5], [np.inf, 0.0, 0.0], [0.9, 0.9, 0.9], [0.0, 0.0, 0.0], [-1.0, 1.0, 1.0]]
)
def test_a_malformed_row_is_left_to_the_audit_slice(
    utility: Callable[[a.AnyFloats], a.Floats], bad: list[float]
) -> None:
    """A row that is no probability gets utility 0 and leaves the rows beside it as they were."""
    good = [0.5, 0.3, 0.2]
    alone = utility(np.array([good]))
    assert utility(np.array([bad, good])).tolist() == [0.0, alone[0]]


@pytest.mark.parametrize("utility", ROWWISE)
@pytest.mark.parametrize("classes", [0, 1])
def test_fewer_than_two_classes_leave_nothing_to_ask(utility: Callable[[a.AnyFloats], a.Floats], classes: int) -> None:
    """With no class, or one, there is no uncertainty: 0 throughout."""
    assert utility(np.ones((3, classes))).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("utility", COMMITTEE)
def test_members_that_agree_have_nothing_to_settle(utility: Callable[[a.AnyFloats], a.Floats]) -> None:
    """Members of one opinion give 0, members of opposite certainties give 1, a committee of one gives 0."""
    one, other = [[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]
    assert utility(np.array([one, other])).round(9).tolist() == [0.0, 1.0]
    assert utility(np.array([other])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("utility", COMMITTEE)
def test_one_malformed_member_spoils_its_row_alone(utility: Callable[[a.AnyFloats], a.Floats]) -> None:
    """A NaN from one member gives that row 0, and the other row its own answer."""
    members = np.array([[[np.nan, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    assert utility(members).round(9).tolist() == [0.0, 1.0]


def test_mutual_information_is_the_mean_divergence_from_the_consensus() -> None:
    """BALD and the mean Kullback-Leibler divergence are the same quantity for members of equal weight."""
    members = np.random.default_rng(3).dirichlet(np.ones(5), (4, 50))
    assert np.allclose(a.bald(members), a.kl_to_consensus(members))


def test_the_gradient_of_a_softmax_head_is_matched_by_its_closed_form() -> None:
    """Expected gradient length equals the average norm of the gradients written out label by label."""
    rng = np.random.default_rng(5)
    p, x = rng.dirichlet(np.ones(4), 6), rng.normal(size=(6, 3))
    lengths = [
        sum(row[c] * np.linalg.norm(np.outer(row - np.eye(4)[c], vector)) for c in range(4))
        for row, vector in zip(p, x, strict=True)
    ]
    assert np.allclose(a.expected_gradient_length(p, x), np.array(lengths) / np.linalg.norm(x, axis=1).max())


def test_another_number_of_axes_is_refused() -> None:
    """A vector where a matrix belongs is a programming error, said so."""
    with pytest.raises(Invalid, match="1 axes"):
        a.margin(np.ones(3))
    with pytest.raises(Invalid, match="2 axes"):
        a.bald(np.ones((2, 3)))


def test_an_empty_batch_has_an_empty_answer() -> None:
    """No rows in, no utilities out."""
    assert a.margin(np.ones((0, 3))).tolist() == []
    assert a.bald(np.ones((2, 0, 3))).tolist() == []

"""Every strategy of the project file is the acquisition function of that name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tiebreak.sampling import acquisition
from tiebreak.sampling.appraisal import Scored, utilities

_MEMBERS = np.random.default_rng(1).dirichlet(np.ones(4), size=(3, 20)).astype(np.float32)


@pytest.mark.parametrize(
    ("strategy", "function"),
    [
        ("margin", acquisition.margin),
        ("least_confidence", acquisition.least_confidence),
        ("entropy", acquisition.entropy),
        ("expected_gradient_length", acquisition.expected_gradient_length),
    ],
)
def test_of_probabilities(strategy: str, function: Callable[[Any], Any]) -> None:
    """A strategy over the probabilities ranks by its function, and says so."""
    batch = Scored([b"%d" % i for i in range(20)], "v1", _MEMBERS.mean(axis=0), _MEMBERS)
    kind, utility = utilities(strategy, batch)
    assert (kind, utility.tolist()) == (strategy, function(batch.probabilities).tolist())


@pytest.mark.parametrize(
    ("strategy", "function"),
    [
        ("vote_entropy", acquisition.vote_entropy),
        ("kl", acquisition.kl_to_consensus),
        ("bald", acquisition.bald),
    ],
)
def test_of_a_committee(strategy: str, function: Callable[[Any], Any]) -> None:
    """A strategy over a committee ranks by its function; without a committee in the graph it is the margin, and says so."""
    ids = [b"%d" % i for i in range(20)]
    mean = _MEMBERS.mean(axis=0)
    kind, utility = utilities(strategy, Scored(ids, "v1", mean, _MEMBERS))
    assert (kind, utility.tolist()) == (strategy, function(_MEMBERS).tolist())
    assert utilities(strategy, Scored(ids, "v1", mean))[0] == "margin"

"""Resemblance: what is remembered, what it costs, what has none."""

from __future__ import annotations

import numpy as np

from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling import diversity as d


def unit(*values: float) -> FloatArray:
    row: FloatArray = d.unit_rows(np.array([values]))[0]
    return row


def test_the_memory_forgets_the_oldest_first() -> None:
    """After three vectors, a memory of two holds the last two in order."""
    memory = d.Memory()
    for vector in (unit(1, 0), unit(0, 1), unit(-1, 0)):
        memory = d.remember(memory, vector, 2)
    assert memory.units.tolist() == [[0.0, 1.0], [-1.0, 0.0]]


def test_a_row_without_a_direction_resembles_nothing() -> None:
    """Zero, NaN and infinite rows become zero rows, at cosine 0 to everything."""
    rows = d.unit_rows(np.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]]))
    assert rows.tolist() == [[0.0, 0.0]] * 3
    assert d.nearest(d.remember(d.Memory(), unit(1, 0), 4), rows).tolist() == [0.0, 0.0, 0.0]


def test_coverage_keeps_only_what_it_does_not_have() -> None:
    """A vector close to one that is there is not added; a distant one is."""
    memory = d.cover(d.Memory(), unit(1, 0), 8, 0.75)
    memory = d.cover(memory, unit(1, 0.1), 8, 0.75)
    memory = d.cover(memory, unit(0, 1), 8, 0.75)
    assert memory.units.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_vectors_of_another_width_start_a_new_memory() -> None:
    """After a model with another embedding, old vectors are forgotten and compare as unlike."""
    memory = d.remember(d.Memory(), unit(1, 0), 4)
    assert d.nearest_one(memory, unit(1, 0, 0)) == 0.0
    assert d.remember(memory, unit(1, 0, 0), 4).units.tolist() == [[1.0, 0.0, 0.0]]


def test_a_memory_of_none_remembers_none() -> None:
    """Size 0 switches the memory off."""
    assert len(d.remember(d.Memory(), unit(1, 0), 0)) == 0


def test_the_penalty_grows_with_resemblance_and_never_ends_a_row() -> None:
    """No loss up to the limit, then ever more, and finite for an exact repetition."""
    losses = [d.penalty(cosine, 0.75) for cosine in (0.0, 0.75, 0.8, 0.9, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == losses[1]
    assert np.isfinite(losses[-1])

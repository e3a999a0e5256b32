"""Declared slices of the stream."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.support.labels import dataset_of, make_label
from tiebreak.contracts.project import Project
from tiebreak.training.slices import slices_of

CUTS = [
    {"name": "large", "field": "amount", "at_least": 100},
    {"name": "small", "field": "amount", "below": 100},
    {"name": "young", "field": "age", "at_least": 18, "below": 30},
]


def project_of(cuts: list[dict[str, object]]) -> Project:
    return Project.model_validate(
        {
            "project": "tests",
            "input": {"tensors": [{"name": "x", "shape": [2]}], "fields": ["amount", "age"]},
            "classes": {"names": ["a", "b"]},
            "gate": {"slices": cuts},
        }
    )


def test_a_label_is_in_every_slice_whose_bounds_hold_its_field() -> None:
    """The lower bound is in, the upper one is out, a side that is not given is open."""
    points = [(100.0, 18.0), (99.5, 30.0), (-1.0, 29.0)]
    rows = dataset_of([make_label(f"e{i}", "a", p, settled_ms=i) for i, p in enumerate(points)]).rows(
        audit=False, newest=10
    )
    by_amount = {row.features[0].item(): place for place, row in enumerate(rows)}
    found = slices_of(rows, project_of(CUTS))
    said = {name: [members[by_amount[amount]] for amount, _ in points] for name, members in found.items()}
    assert said == {"large": [True, False, False], "small": [False, True, True], "young": [True, False, True]}
    assert slices_of(rows, project_of([])) == {}


def test_a_slice_of_an_unknown_field_or_a_name_used_twice_is_refused() -> None:
    """With the key and the name."""
    with pytest.raises(ValidationError, match=r"gate.slices: 'weight' is not one of input.fields"):
        project_of([{"name": "heavy", "field": "weight"}])
    with pytest.raises(ValidationError, match=r"gate.slices: two slices have the same name"):
        project_of([CUTS[0], CUTS[0]])

"""What the demo may be told, and the project that follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiebreak.apps.demo.options import DemoOptions, project_text
from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.project_file import parse_project


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"events": 10}, "--events is 10, not a number from 1000 to 1e+06."),
        ({"seconds": 1.0}, "--seconds is 1, not a number from 5 to 3600."),
        ({"annotators": -1}, "--annotators is -1, not a number from 0 to 200."),
        ({"error_rate": 0.7}, "--error-rate is 0.7, not a number from 0 to 0.5."),
        ({"seed": -1}, "--seed is -1, not a number from 0 to 4.29497e+09."),
    ],
)
def test_an_option_out_of_its_range_is_one_clear_line(changes: dict[str, Any], message: str) -> None:
    """The option and its range are named before anything is started."""
    with pytest.raises(ConfigError) as refused:
        DemoOptions(Path("out"), **changes)
    assert str(refused.value) == message


def test_the_project_asks_for_what_people_can_answer_and_keeps_the_seed() -> None:
    """2 % of the stream as it is told in the summary, and no more than the people there are can do."""
    project = parse_project(project_text(DemoOptions(Path("out"), seed=3), "digits-demo"))
    alone = DemoOptions(Path("out"), annotators=0)
    assert (project.project, project.sampling.seed, project.training.seed) == ("digits-demo", 3, 3)
    assert project.sampling.target_share == pytest.approx(0.02)
    assert project.budget.labels_per_hour / 3600 > 400 * project.sampling.target_share
    assert parse_project(project_text(alone, "alone")).sampling.target_share * alone.rate == pytest.approx(0.5)


def test_a_short_stream_is_asked_about_more_densely() -> None:
    """A model needs its labels, however few events there are; never more than a tenth of them."""
    assert DemoOptions(Path("out"), events=3000, seconds=60).share == pytest.approx(0.1)
    assert DemoOptions(Path("out"), events=10_000, seconds=60).share == pytest.approx(0.06)

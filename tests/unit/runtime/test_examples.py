"""Every example that a newcomer copies is accepted, and stays so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiebreak.runtime.project_file import load_project

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/project.yaml"))


def test_there_is_an_example_per_kind_of_project() -> None:
    """Images, text and tables: the three kinds of payload that the page can show."""
    assert {load_project(path).labeling.payload.value for path in EXAMPLES} == {"image", "text", "table"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.parent.name)
def test_an_example_is_valid_and_explains_itself(path: Path) -> None:
    """It loads without an error, and comments say what the keys are for."""
    load_project(path)
    lines = path.read_text().splitlines()
    assert sum(line.lstrip().startswith("#") for line in lines) >= 10

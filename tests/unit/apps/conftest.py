"""What the tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A project file with the ``TEXT`` of the test's module."""
    path = tmp_path / "project.yaml"
    path.write_text(request.module.TEXT)
    return path

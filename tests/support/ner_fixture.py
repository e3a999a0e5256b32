"""A named-entity pipeline, made once for all tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.named_corpus import trained


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small spaCy pipeline, trained on the first half of the corpus (some four seconds)."""
    return trained(tmp_path_factory.mktemp("ner") / "pipeline")

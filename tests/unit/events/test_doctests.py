"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from tiebreak.contracts import champions
from tiebreak.events import assignment, bad_share, partitioner, redis_store


@pytest.mark.parametrize(
    "module", [champions, assignment, bad_share, partitioner, redis_store], ids=lambda m: m.__name__
)
def test_examples(module: ModuleType) -> None:
    """Each example gives what it says."""
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)

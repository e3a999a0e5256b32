"""Fixtures that every test may ask for, and one that leaves the logs to the next test as they were."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

pytest_plugins = (
    "tests.support.redis_fixture",
    "tests.support.kafka_fixture",
    "tests.support.command_line",
    "tests.support.site_fixture",
    "tests.support.ner_fixture",
)

# Examples are timed by nobody, neither as they run nor as they are made: where others use the processor, any of them may take long.
hypothesis.settings.register_profile(
    "untimed", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command that was called in this process sent all logs to a stream that its test has closed since."""
    level = logging.getLogger().level
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        root = logging.getLogger()
        root.handlers = [h for h in root.handlers if not isinstance(h.formatter, structlog.stdlib.ProcessorFormatter)]
        root.setLevel(level)

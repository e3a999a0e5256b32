"""Fixtures that every test may ask for."""

pytest_plugins = (
    "tests.support.redis_fixture",
    "tests.support.kafka_fixture",
    "tests.support.command_line",
    "tests.support.site_fixture",
)

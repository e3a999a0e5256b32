"""A real Apache Kafka for tests: one broker per session. No Java, Maven or address: skip, or fail where CI=true."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from scripts.kafka import Broker, KafkaError, fetch, missing_tools
from tests.support.redis_fixture import missing


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker | None]:
    """The session's broker; None when TIEBREAK_TEST_KAFKA names one that is not ours to stop."""
    if os.environ.get("TIEBREAK_TEST_KAFKA"):
        yield None
        return
    reason = missing_tools()
    if reason:
        missing(f"No Kafka: {reason} Install it, or name a broker in TIEBREAK_TEST_KAFKA.")
    try:
        fetch()
    except KafkaError as error:
        missing(f"No Kafka: {error}")
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()  # nobody reads its data again


@pytest.fixture
def kafka_address(kafka_broker: Broker | None) -> str:
    """A bootstrap address. Tests share the broker: make topics with names of your own."""
    if kafka_broker is None:
        return os.environ["TIEBREAK_TEST_KAFKA"]
    if not kafka_broker.pid:
        kafka_broker.start()  # a test before this one stopped it and failed
    return kafka_broker.address


@pytest.fixture
def own_broker(kafka_broker: Broker | None, kafka_address: str) -> Broker:
    """The broker, for a test that stops it and starts it again."""
    if kafka_broker is None:
        pytest.skip(f"The broker at {kafka_address} is not ours to stop.")
    return kafka_broker

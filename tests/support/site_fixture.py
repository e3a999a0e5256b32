"""A project of digits for scenarios, on either log; what is missing for it skips, or fails where CI=true."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import whole_loop
from tests.support.redis_fixture import missing
from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.redis_server import find_binary


@pytest.fixture(params=["redis-streams", pytest.param("kafka", marks=pytest.mark.kafka)])
def site(request: pytest.FixtureRequest, tmp_path: Path, project_name: str) -> whole_loop.Site:
    """Nothing runs yet; the queue is an embedded Redis of its own in both."""
    try:
        find_binary()
    except ConfigError as error:
        missing(str(error))
    kafka = request.getfixturevalue("kafka_address") if request.param == "kafka" else ""
    return whole_loop.site(tmp_path, project_name, kafka)

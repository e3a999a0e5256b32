"""A real Redis for tests: one server per session, emptied before each test. No server: skip, or fail where CI=true."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.redis_server import RedisServer, find_binary


def missing(reason: str) -> None:
    """Skip with one clear line on a laptop; fail in CI, where every server must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The session's server, with the settings of the embedded mode."""
    try:
        find_binary()
    except ConfigError as error:
        missing(str(error))
    # Not tmp_path: pytest's names are long, and a unix socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tb-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty server."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.script_flush()
    return redis_server.url


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """An asyncio client on an empty server; answers are bytes."""
    client = redis.asyncio.Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def project_name() -> str:
    """A project nobody else uses."""
    return f"p-{uuid.uuid4().hex[:12]}"

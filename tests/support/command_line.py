"""The command line, called in this process: what it printed and how it ended."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from tests.support.redis_fixture import missing
from tiebreak.apps.cli import main
from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.redis_server import RedisServer, find_binary


@dataclass(frozen=True, slots=True)
class Ended:
    """Exit code and what was written to the two streams."""

    code: int
    out: str
    err: str


CommandLine = Callable[..., Ended]


@pytest.fixture
def tiebreak(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[CommandLine]:
    """Call ``tiebreak`` with arguments, on a wide terminal that is none, without settings from the environment."""
    for name in ("KAFKA", "REDIS", "DATA", "HOST", "PORT"):
        monkeypatch.delenv(f"TIEBREAK_{name}", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["tiebreak", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, captured.out, captured.err)

    logs = logging.getLogger()
    handlers, level = list(logs.handlers), logs.level
    yield call
    structlog.reset_defaults()
    logs.handlers, logs.level = handlers, level


@pytest.fixture
def embedded_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """The running Redis of the data directory ``data``, as `tiebreak up` keeps one."""
    try:
        find_binary()
    except ConfigError as error:
        missing(str(error))
    server = RedisServer(tmp_path / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def data(embedded_redis: RedisServer) -> Path:
    """A data directory whose embedded Redis runs: what commands take as ``--data``."""
    return embedded_redis.data_dir.parent

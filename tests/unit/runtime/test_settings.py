"""Options win over the environment, which wins over defaults; a wrong one is named with its range."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.redis_server import socket_path
from tiebreak.runtime.settings import Options, Settings, Tls, resolve


def test_without_anything_given_the_embedded_redis_of_the_data_directory_is_used() -> None:
    """A newcomer names no server: the log and the queue are on the private Redis under ./.tiebreak."""
    data = Path(".tiebreak").resolve()
    expected = Settings(kafka="", redis=f"unix://{socket_path(data)}", embedded=True, data_dir=data)
    assert resolve(Options(), {}) == expected


def test_an_option_wins_over_the_environment_and_that_over_the_default() -> None:
    """The same three sources, always in the same order."""
    environ = {
        "TIEBREAK_KAFKA": "env:9092",
        "TIEBREAK_REDIS": "redis://env:6379/0",
        "TIEBREAK_PORT": "81",
        "TIEBREAK_DATA": "/tmp",
        "TIEBREAK_VERIFY_KEY": "/keys/models.pub",
    }
    assert resolve(Options(kafka="one:1,two:2", port=0), environ, default_port=8080) == Settings(
        kafka="one:1,two:2",
        redis="redis://env:6379/0",
        embedded=False,
        data_dir=Path("/tmp"),
        port=0,
        verify_key=Path("/keys/models.pub"),
    )


@pytest.mark.parametrize(
    ("options", "environ", "message"),
    [
        (Options(kafka="localhost"), {}, "--kafka: 'localhost' is not HOST:PORT"),
        (Options(kafka="a:9092,b:70000"), {}, "--kafka: 'b:70000' is not HOST:PORT with a port from 1 to 65535"),
        (Options(redis="localhost:6379"), {}, "--redis: 'localhost:6379' is not a redis://"),
        (Options(redis="http://u:secret@host"), {}, "--redis: 'host' is not a redis://"),
        (Options(port=70_000), {}, "TIEBREAK_PORT (or its option) is 70000, not a number from 0 to 65535"),
        (
            Options(),
            {"TIEBREAK_STOP_TIMEOUT_S": "soon"},
            "TIEBREAK_STOP_TIMEOUT_S (or its option) is 'soon', not a number from 1 to 3600",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_range(options: Options, environ: dict[str, str], message: str) -> None:
    """One line, no secret in it."""
    with pytest.raises(ConfigError) as caught:
        resolve(options, environ)
    assert str(caught.value).startswith(message)
    assert "secret" not in str(caught.value)


def test_tls_needs_both_files(tmp_path: Path) -> None:
    """A key without a certificate, or a file that is not there, is said before anything listens."""
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    with pytest.raises(ConfigError, match="both --tls-cert and --tls-key"):
        resolve(Options(tls_cert=str(cert)), {})
    with pytest.raises(ConfigError, match="There is no TLS file"):
        resolve(Options(tls_cert=str(cert), tls_key=str(key)), {})
    cert.touch()
    key.touch()
    assert resolve(Options(tls_cert=str(cert), tls_key=str(key)), {}).tls == Tls(str(cert), str(key))


@pytest.mark.parametrize(("value", "behind"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_word_of_an_operator_that_a_proxy_does_tls_comes_from_the_environment_too(value: str, behind: bool) -> None:
    """A container image says it once, where nobody types options."""
    assert resolve(Options(), {"TIEBREAK_BEHIND_PROXY": value}).behind_proxy is behind

"""Options win over the environment, which wins over defaults; a wrong one is named with its range."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.redis_server import socket_path
from tiebreak.runtime.settings import Options, Settings, Tls, resolve

PEM = serialization.Encoding.PEM


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
    certificate(cert, key)
    assert resolve(Options(tls_cert=str(cert), tls_key=str(key)), {}).tls == Tls(str(cert), str(key))


def test_a_certificate_that_cannot_be_served_is_told_before_anything_listens(tmp_path: Path) -> None:
    """Empty files, another's key, a key behind a password: one line with both files, and nobody is asked for a password."""
    cert, key, other, empty, locked = (str(tmp_path / name) for name in ("c.pem", "k.pem", "o.pem", "e.pem", "l.pem"))
    private = certificate(Path(cert), Path(key))
    certificate(tmp_path / "c2.pem", Path(other))
    Path(empty).touch()
    hidden = serialization.BestAvailableEncryption(b"never-to-be-shown")
    Path(locked).write_bytes(private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, hidden))
    for wrong in ((empty, empty), (cert, empty), (cert, other), (cert, locked)):
        with pytest.raises(ConfigError, match=f"TLS cannot be served with {wrong[0]} and {wrong[1]}: "):
            resolve(Options(tls_cert=wrong[0], tls_key=wrong[1]), {})


def certificate(cert: Path, key: Path) -> ec.EllipticCurvePrivateKey:
    """A self-signed certificate and its key, written there."""
    private, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + timedelta(days=1))
    cert.write_bytes(builder.sign(private, hashes.SHA256()).public_bytes(PEM))
    key.write_bytes(private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return private


@pytest.mark.parametrize(("value", "behind"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_word_of_an_operator_that_a_proxy_does_tls_comes_from_the_environment_too(value: str, behind: bool) -> None:
    """A container image says it once, where nobody types options."""
    assert resolve(Options(), {"TIEBREAK_BEHIND_PROXY": value}).behind_proxy is behind

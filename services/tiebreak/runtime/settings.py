"""Where a process finds its servers and files: resolved once, at the edge, from options and the environment.

An option on the command line wins over the environment, which wins over the default. The environment is an argument, so
that a test needs no patching.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.redis_server import socket_path

_BROKER = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})$")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line gave; None means "not given"."""

    kafka: str | None = None
    redis: str | None = None
    data: str | None = None
    host: str | None = None
    port: int | None = None
    stop_timeout_s: float | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    behind_proxy: bool | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of a certificate and its key."""

    cert: str
    key: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The resolved surroundings of a process.

    ``kafka`` "" means that the log is Redis Streams on ``redis``. ``embedded`` says that ``redis`` is the private server of
    ``data_dir``, which `tiebreak up` starts. ``port`` 0 asks the system for a free one. ``behind_proxy`` is the operator's word
    that a proxy in front does TLS. ``signing_key`` and ``verify_key`` are PEM files (TIEBREAK_SIGNING_KEY, TIEBREAK_VERIFY_KEY): with
    the first a trainer signs its models, with the second models without that signature are refused.
    """

    kafka: str
    redis: str
    embedded: bool
    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    stop_timeout_s: float = 25.0
    tls: Tls | None = None
    behind_proxy: bool = False
    signing_key: Path | None = None
    verify_key: Path | None = None


def resolve(options: Options, environ: Mapping[str, str], default_port: int = 0) -> Settings:
    """Settings from ``options`` over ``environ`` over defaults. Raises ConfigError naming the option and its range."""
    kafka = _pick(options.kafka, environ, "TIEBREAK_KAFKA", "")
    redis = _pick(options.redis, environ, "TIEBREAK_REDIS", "")
    data_dir = Path(_pick(options.data, environ, "TIEBREAK_DATA", ".tiebreak")).expanduser().resolve()
    port = _number(options.port, environ, "TIEBREAK_PORT", default_port, (0, 65_535))
    stop = _number(options.stop_timeout_s, environ, "TIEBREAK_STOP_TIMEOUT_S", 25.0, (1.0, 3600.0))
    _check_kafka(kafka)
    _check_redis(redis)
    return Settings(
        kafka=kafka,
        redis=redis or f"unix://{socket_path(data_dir)}",
        embedded=not redis,
        data_dir=data_dir,
        host=_pick(options.host, environ, "TIEBREAK_HOST", "127.0.0.1"),
        port=int(port),
        stop_timeout_s=stop,
        tls=_tls(options, environ),
        behind_proxy=_flag(options.behind_proxy, environ, "TIEBREAK_BEHIND_PROXY"),
        signing_key=_path(environ, "TIEBREAK_SIGNING_KEY"),
        verify_key=_path(environ, "TIEBREAK_VERIFY_KEY"),
    )


def _pick(option: str | None, environ: Mapping[str, str], name: str, default: str) -> str:
    return option if option is not None else environ.get(name, default)


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]).expanduser().resolve() if environ.get(name) else None


def _number(
    option: float | None, environ: Mapping[str, str], name: str, default: float, bounds: tuple[float, float]
) -> float:
    raw = option if option is not None else environ.get(name, default)
    low, high = bounds
    try:
        value = float(raw)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ConfigError(f"{name} (or its option) is {raw!r}, not a number from {low:g} to {high:g}.")
    return value


def _flag(option: bool | None, environ: Mapping[str, str], name: str) -> bool:
    if option is not None:
        return option
    value = environ.get(name, "").lower()
    if value not in {"", "0", "false", "1", "true"}:
        raise ConfigError(f"{name} is {value!r}, not true or false.")
    return value in {"1", "true"}


def _tls(options: Options, environ: Mapping[str, str]) -> Tls | None:
    cert = _pick(options.tls_cert, environ, "TIEBREAK_TLS_CERT", "")
    key = _pick(options.tls_key, environ, "TIEBREAK_TLS_KEY", "")
    if bool(cert) != bool(key):
        raise ConfigError("TLS needs both --tls-cert and --tls-key, and only one is given.")
    for path in (cert, key):
        if path and not Path(path).is_file():
            raise ConfigError(f"There is no TLS file {path}.", fix="Correct --tls-cert and --tls-key.")
    if not cert:
        return None
    try:
        # Tried here: the server's own error comes late, as a traceback, and from `up` again and again.
        # A key behind a password would ask for it at the terminal; nobody is there.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(
            f"TLS cannot be served with {cert} and {key}: {getattr(error, 'reason', None) or error}.",
            fix="Give a certificate in PEM and its own key, without a password and readable by this user.",
        ) from error
    return Tls(cert, key)


def _check_kafka(kafka: str) -> None:
    for broker in kafka.split(",") if kafka else ():
        found = _BROKER.match(broker.strip())
        if not found or not 1 <= int(found[2]) <= 65_535:
            raise ConfigError(
                f"--kafka: {broker.strip()!r} is not HOST:PORT with a port from 1 to 65535.",
                fix="Give one or more, separated by commas: --kafka localhost:9092",
            )


def _check_redis(redis: str) -> None:
    if redis and urlsplit(redis).scheme not in {"redis", "rediss", "unix"}:
        raise ConfigError(
            f"--redis: {redis.rsplit('@', maxsplit=1)[-1]!r} is not a redis://, rediss:// or unix:// address.",
            fix="For example: --redis redis://localhost:6379/0",
        )

"""What several commands share: options, settings, and how they run."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import uvloop

from tiebreak.runtime.settings import Options, Settings, resolve

T = TypeVar("T")

ProjectFile = Annotated[Path, typer.Argument(help="The project file.", metavar="PROJECT", show_default=False)]
Kafka = Annotated[
    str | None,
    typer.Option(help="Kafka brokers, HOST:PORT[,HOST:PORT]. Without it the log is on Redis. [env: TIEBREAK_KAFKA]"),
]
Redis = Annotated[
    str | None,
    typer.Option(
        help="redis://, rediss:// or unix:// address. Without it, the one of `up` in --data. [env: TIEBREAK_REDIS]"
    ),
]
Data = Annotated[
    str | None,
    typer.Option(help="Folder for models, the ledger and the embedded Redis. [env: TIEBREAK_DATA, default: .tiebreak]"),
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [env: TIEBREAK_HOST, default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one. [env: TIEBREAK_PORT]")]
StopTimeout = Annotated[
    float | None, typer.Option(help="Seconds to finish what is in flight. [env: TIEBREAK_STOP_TIMEOUT_S, default: 25]")
]
TlsCert = Annotated[str | None, typer.Option(help="Certificate (PEM). [env: TIEBREAK_TLS_CERT]")]
TlsKey = Annotated[str | None, typer.Option(help="Its key (PEM). [env: TIEBREAK_TLS_KEY]")]
BehindProxy = Annotated[
    bool | None,
    typer.Option(
        "--behind-proxy/--not-behind-proxy",
        help="A proxy in front does TLS, so listen without it outside loopback. [env: TIEBREAK_BEHIND_PROXY]",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]


def settings_of(options: Options, default_port: int = 0) -> Settings:
    """Options over the environment over defaults."""
    return resolve(options, os.environ, default_port)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C outside of a life cycle ends with the shell's code for it."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def moment(time_ms: int, timespec: str = "seconds") -> str:
    """A time in UTC, ISO 8601. Records are written by anybody: what is in no calendar is shown as the number that it is."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec=timespec)
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def interactive() -> bool:
    """Whether a person watches standard error, where progress and notes go."""
    return sys.stderr.isatty()

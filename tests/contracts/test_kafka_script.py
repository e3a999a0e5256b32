"""`scripts/kafka.py` as a developer uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.kafka import ROOT, Broker

pytestmark = pytest.mark.kafka


def kafka(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "kafka.py"), *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_help_teaches_by_example() -> None:
    """Every command is shown once, as it would be typed."""
    shown = kafka("--help")
    assert shown.returncode == 0
    for command in ("run", "run --port 0", "start", "status", "stop", "fetch"):
        assert f"scripts/kafka.py {command} " in shown.stdout


def test_background_broker_starts_once_keeps_its_data_and_stops(own_broker: Broker, tmp_path: Path) -> None:
    """start, start again, status, stop, status: the same broker each time, and no process is left behind."""
    assert own_broker.pid  # there is a Java and there are jars
    data = ("--data", str(tmp_path / "k"))
    assert kafka("status", *data).returncode == 1
    started = kafka("start", "--port", "0", *data)
    assert (started.returncode, started.stderr) == (0, "")
    try:
        address = started.stdout.strip()
        pid = int((tmp_path / "k" / "broker.pid").read_text())
        assert kafka("start", "--port", "0", *data).stdout.strip() == address
        assert kafka("status", *data).stdout.strip() == f"{address} (pid {pid})"
    finally:
        assert kafka("stop", *data).returncode == 0
    assert kafka("status", *data).stdout.strip() == "down"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_taken_port_is_one_clear_line(own_broker: Broker, tmp_path: Path) -> None:
    """The line names the port and the remedy; the exit code is not 0."""
    refused = kafka("run", "--port", str(own_broker.port), "--data", str(tmp_path / "k"))
    assert (refused.returncode, refused.stderr) == (
        1,
        f"error: Port {own_broker.port} is taken. Choose another with --port, or --port 0 for a free one.\n",
    )

"""`tiebreak demo` with its real processes: it ends by itself with a picture, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tests.support.eventually import eventually_sync
from tests.support.redis_fixture import missing
from tiebreak.apps.demo.journal import Known, read
from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.redis_server import find_binary

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

DEMO = (sys.executable, "-m", "tiebreak.apps.cli", "demo", "--no-wait")


@pytest.fixture(autouse=True)
def _needs_redis() -> None:
    try:
        find_binary()
    except ConfigError as error:
        missing(str(error))


def _environment(temporary: Path) -> Mapping[str, str]:
    temporary.mkdir()
    # One BLAS thread per process; what the demo keeps aside goes where this test can look.
    return {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary), "COLUMNS": "120"}


def test_a_short_demo_ends_with_a_picture_a_summary_and_nothing_left_over(tmp_path: Path) -> None:
    """3,000 events through all processes: each predicted, labels and models made, every accepted answer settled, exit code 0."""
    out = tmp_path / "out"
    command = [*DEMO, "--events", "3000", "--seconds", "15", "--out", str(out)]
    ended = subprocess.run(
        command, env=_environment(tmp_path / "tmp"), capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["events"], summary["predicted"], summary["dead"]) == (3000, 3000, 0)
    assert summary["labels"] >= 20
    assert summary["models"] >= 1
    assert summary["swaps"] >= 1
    journal = read((out / "journal.jsonl").read_text().splitlines())
    accepted = journal.tasks("submit", Known.OK)
    assert set(accepted.values()) == {1}
    assert len(accepted) == summary["labels"]
    assert (out / "demo.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert (out / "demo.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "events predicted" in ended.stdout
    assert list((tmp_path / "tmp").glob("tiebreak*")) == []


def _family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_interrupted_stops_everything_it_started(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C or a SIGTERM in the middle of the stream: no process, no Redis and no folder stay behind."""
    out = tmp_path / "out"
    command = [*DEMO, "--events", "30000", "--seconds", "60", "--out", str(out)]
    environment = _environment(tmp_path / "tmp")
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        try:
            assert demo.stdout is not None
            eventually_sync(lambda: (line := demo.stdout.readline()) and "Label beside" in line, 120)  # type: ignore[union-attr]
            family = _family(demo)
            demo.send_signal(number)
            rest, _ = demo.communicate(timeout=60)
        finally:
            demo.kill()
    assert demo.returncode == 130, rest
    assert len(family) >= 4
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    assert list((tmp_path / "tmp").glob("tiebreak*")) == []

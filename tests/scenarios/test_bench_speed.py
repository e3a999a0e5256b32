"""The speed benchmark, short: times are nobody's business here, but every figure is there and every event has its prediction."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from loadtests.speed.clocked import Measured, together
from scripts.kafka import ROOT
from tests.support.eventually import eventually_sync

pytestmark = [pytest.mark.kafka, pytest.mark.scenario, pytest.mark.usefixtures("kafka_address")]

COMMAND = [sys.executable, "-m", "loadtests.bench_speed"]


def environment(cache: Path, sections: str) -> dict[str, str]:
    return {**os.environ, "QUICK": "1", "CACHE": str(cache), "SECTIONS": sections, "OMP_NUM_THREADS": "1"}


def test_a_section_prints_and_keeps_its_figures(tmp_path: Path) -> None:
    """Drain and pipeline run to the end on a broker of their own; a run that found fewer predictions than events has no figure."""
    run = subprocess.run(
        COMMAND, env=environment(tmp_path, "raw"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    (figure,) = json.loads((tmp_path / "quick" / "raw.json").read_text())["figures"]
    assert (figure["figure"], figure["ok"]) == ("raw: pipeline / bare drain", None)
    assert figure["value"] > 0.0
    assert "40,000 events, 1 turns" in figure["how"]
    assert figure["figure"] in run.stdout


def test_latency_and_replicas_print_their_figures_too(tmp_path: Path) -> None:
    """The sections of several processes: nothing is lost while models are swapped, and each figure says what it was taken at."""
    run = subprocess.run(
        COMMAND,
        env=environment(tmp_path, "latency,replicas"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr
    found = {
        figure["figure"]: figure
        for name in ("latency", "replicas")
        for figure in json.loads((tmp_path / "quick" / f"{name}.json").read_text())["figures"]
    }
    assert found.keys() == {
        "latency p50: pipeline / echo",
        "latency p99: pipeline / echo",
        "swap: events that failed or got lost",
        "swap: longest wait / p99 without",
        "two replicas / one",
    }
    assert found["swap: events that failed or got lost"]["value"] == 0.0
    assert "half of the lower peak" in found["latency p50: pipeline / echo"]["how"]
    assert all(figure["value"] > 0.0 for name, figure in found.items() if "lost" not in name)


def test_a_common_rate_counts_what_several_do_while_all_are_at_work() -> None:
    """One begins earlier and ends later: what it does alone is nobody's; between two steps, in proportion."""
    early = Measured(300, 3.0, 1.0, steps=[(0.0, 0), (2.0, 200), (3.0, 300)])
    late = Measured(150, 1.5, 1.0, steps=[(1.0, 50), (2.5, 200)])
    assert together([early, late]) == pytest.approx((150 + 150) / 1.5)
    apart = Measured(100, 1.0, 1.0, steps=[(5.0, 0), (6.0, 100)])
    with pytest.raises(ValueError, match="never at work at the same time"):
        together([early, apart])


def test_a_benchmark_that_is_told_to_end_leaves_nothing_running(tmp_path: Path) -> None:
    """SIGTERM while something is measured: broker, Redis and the measured process end with it."""
    bench = subprocess.Popen(
        COMMAND, env=environment(tmp_path, "memory"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    children: list[psutil.Process] = []

    def measuring() -> bool:
        children[:] = psutil.Process(bench.pid).children(recursive=True)
        return any("loadtests.speed.worker" in child.cmdline() for child in children if child.is_running())

    try:
        # A child may end while its command line is being read.
        eventually_sync(measuring, 60.0, retry_on=(psutil.Error,))
        bench.send_signal(signal.SIGTERM)
        assert bench.wait(30.0) == 143
        _, alive = psutil.wait_procs(children, timeout=10.0)
        assert [child.pid for child in alive] == []
    finally:
        if bench.poll() is None:
            bench.kill()
            bench.wait()

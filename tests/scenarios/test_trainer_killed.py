"""The trainer killed in the middle of a step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POINTS = 4


def run_child(ledger: Path, kill_at: int, learner: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.support.training_child", str(ledger), str(kill_at), learner]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("learner", ["auto", "partial_fit"])
def test_a_trainer_killed_around_its_transaction_ends_at_the_same_weights(tmp_path: Path, learner: str) -> None:
    """kill -9 at statements spread over the run, then again later, then a run to the end: digest and version of a run unkilled."""
    clean = run_child(tmp_path / "clean", 0, learner)
    assert clean.returncode == 0, clean.stderr
    made, digest, version = clean.stdout.split()
    step = int(made) // (POINTS + 1)
    for point in range(1, POINTS + 1):
        ledger = tmp_path / f"killed-{point}"
        first = run_child(ledger, point * step, learner)
        assert first.returncode == -9, first.stderr
        run_child(ledger, 40 + point, learner)  # a second death, soon after the restart
        last = run_child(ledger, 0, learner)
        assert last.returncode == 0, last.stderr
        assert last.stdout.split()[1:] == [digest, version], f"killed at statement {point * step}"

"""A child process whose system calls on a ledger's files are counted, made to fail, or its last: by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# All by which SQLite changes a file, or makes the change durable. Locks and reads change nothing.
WRITING = ("openat", "pwrite64", "fdatasync", "fsync", "ftruncate", "unlink")


def tracer() -> str:
    """strace, or a skip with one clear line on a laptop and a failure in CI."""
    found = shutil.which("strace")
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail("strace is not installed: faults in system calls cannot be made.", pytrace=False)
    pytest.skip("strace is not installed: faults in system calls cannot be made.")


def traced(
    ledger: Path, fault: str = "", calls: tuple[str, ...] = WRITING, *, child: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """A Python child over ``ledger`` to its end, or to its death: what ``child`` says, or the trainer's.

    ``fault``: what strace's ``inject`` is told after the calls.
    """
    files = [ledger, *(Path(f"{ledger}{suffix}") for suffix in ("-journal", "-wal", "-shm")), ledger.parent]
    command = [tracer(), "-f", "-qq", "-e", "signal=none", "-e", f"trace={','.join(calls)}", "-o", f"{ledger}.trace"]
    command += [word for path in files for word in ("-P", str(path))]
    command += ["-e", f"inject={','.join(calls)}:{fault}"] if fault else []
    command += [sys.executable, *(child or ("-m", "tests.support.training_child", str(ledger), "0"))]
    ledger.parent.mkdir(exist_ok=True)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def made(ledger: Path) -> list[tuple[str, int]]:
    """The calls that a traced child made, in order: which, and the how-manieth of its kind, as strace counts them."""
    counts: Counter[str] = Counter()
    found = []
    for line in Path(f"{ledger}.trace").read_text().splitlines():
        call = re.match(rf"\d+ +({'|'.join(WRITING)})\(", line)
        if call is not None:
            counts[call[1]] += 1
            found.append((call[1], counts[call[1]]))
    return found

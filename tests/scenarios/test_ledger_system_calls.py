"""The trainer killed at a system call of its ledger's write path, and a disk that refuses: the weights of an undisturbed run."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.system_calls import made, traced
from tests.support.training_child import live

SAMPLED = 12


@dataclass(frozen=True, slots=True)
class Clean:
    """An undisturbed run: the system calls that it made on the ledger, and what it ended at."""

    calls: list[tuple[str, int]]
    ended: tuple[str, str]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    ledger = tmp_path_factory.mktemp("clean") / "ledger"
    done = traced(ledger)
    assert done.returncode == 0, done.stderr
    _, digest, version = done.stdout.split()
    return Clean(made(ledger), (digest, version))


@pytest.fixture(scope="module")
def opening(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many times opening a new ledger's file makes it durable."""
    ledger = tmp_path_factory.mktemp("opening") / "ledger"
    # The child ends without closing: that would write the log back.
    opens = f"import os, pathlib; from tiebreak.training.sqlite import Ledger; l = Ledger(pathlib.Path({str(ledger)!r})); os._exit(0)"
    done = traced(ledger, calls=("fdatasync",), child=("-c", opens))
    assert done.returncode == 0, done.stderr
    return len(made(ledger))


async def dies_and_goes_on(ledger: Path, call: tuple[str, int]) -> tuple[str, str]:
    """Killed as it enters this call; what a trainer over what is left ends at."""
    name, count = call
    killed = traced(ledger, f"signal=SIGKILL:when={count}", (name,))
    assert killed.returncode == -9, f"{name} {count}: {killed.stderr}"
    _, digest, version = await live(ledger)
    with sqlite3.connect(ledger) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*), count(DISTINCT label_id) FROM labels").fetchone() == (60, 60)
    return digest, version


@pytest.mark.parametrize("part", range(SAMPLED))
async def test_killed_at_a_system_call_the_trainer_ends_at_the_same_weights(
    tmp_path: Path, clean: Clean, part: int
) -> None:
    """kill -9 at the first call, the last, or one between: sound file, each label once, digest and version of a run unkilled."""
    call = clean.calls[part * (len(clean.calls) - 1) // (SAMPLED - 1)]
    assert await dies_and_goes_on(tmp_path / "ledger", call) == clean.ended, call


@pytest.mark.parametrize(
    "after_opening",
    [pytest.param(1, id="as the trainer becomes the one writer"), pytest.param(3, id="of a step")],
)
def test_an_fsync_that_fails_costs_time_and_nothing_else(
    tmp_path: Path, clean: Clean, opening: int, after_opening: int
) -> None:
    """The trainer says so, waits, and ends at the same weights."""
    refused_and_done(tmp_path, clean, f"error=EIO:when={opening + after_opening}", "fdatasync")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("error=ENOSPC:when=80", id="a full disk"),
        pytest.param("error=EIO:when=100", id="a failing write"),
    ],
)
def test_a_disk_that_refuses_a_write_costs_time_and_nothing_else(tmp_path: Path, clean: Clean, fault: str) -> None:
    """A write that fails, a disk that is full for a while: the trainer says so, waits, and ends at the same weights."""
    refused_and_done(tmp_path, clean, fault, "pwrite64")


def refused_and_done(folder: Path, clean: Clean, fault: str, call: str) -> None:
    done = traced(folder / "ledger", fault, (call,))
    assert done.returncode == 0, done.stderr
    assert tuple(done.stdout.split()[1:]) == clean.ended
    assert "cannot be written" in done.stderr


async def test_a_disk_that_is_full_when_the_ledger_is_opened_is_called_that(tmp_path: Path, clean: Clean) -> None:
    """It ends in one line that says to make room and not to move the ledger away; with room, the same weights."""
    ledger = tmp_path / "ledger"
    refused = traced(ledger, "error=ENOSPC:when=20..60", ("pwrite64",))
    assert refused.returncode == 1
    assert "SlowDown" in refused.stderr
    assert "Make room on the disk" in refused.stderr
    assert "Move it away" not in refused.stderr
    _, digest, version = await live(ledger)
    assert (digest, version) == clean.ended

"""Holds a process to a share of one core (Linux control groups), so that it, and nothing behind it, is what limits a loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PERIOD_US = 10_000
_ROOT = Path("/sys/fs/cgroup")


class CannotHold(RuntimeError):
    """This machine, or this user, may not make control groups. The text says which and why."""


class Held:
    """A held process, by its group."""

    def __init__(self, group: Path) -> None:
        self._group = group

    def throttled(self) -> float:
        """Of the spans in which it wanted to run, the share in which it was stopped for having had its part."""
        words = (self._group / "cpu.stat").read_text(encoding="ascii").split()
        counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        return counts["nr_throttled"] / max(1, counts["nr_periods"])


@contextmanager
def held(pid: int, share: float) -> Iterator[Held]:
    """All threads of ``pid`` have ``share`` of one core at most. Raises CannotHold."""
    first = (_ROOT / "cpu").is_dir()  # version 1 has a tree per resource
    root = _ROOT / "cpu" if first else _ROOT
    group, quota_us = root / f"tiebreak-bench-{os.getpid()}-{pid}", round(share * _PERIOD_US)
    try:
        if not first:
            (root / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
    except OSError as error:
        raise CannotHold(f"{error.strerror}: {error.filename} (root on Linux may make control groups)") from error
    try:
        if first:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
        yield Held(group)
    finally:
        with suppress(ProcessLookupError):  # it has ended, and left the group by that
            (root / "cgroup.procs").write_text(str(pid))
        group.rmdir()

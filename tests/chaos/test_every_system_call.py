"""The trainer killed at each system call of its ledger's write path in turn: `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.test_ledger_system_calls import Clean, clean, dies_and_goes_on

pytestmark = pytest.mark.chaos
__all__ = ["clean"]


async def test_killed_at_each_system_call_the_trainer_ends_at_the_same_weights(tmp_path: Path, clean: Clean) -> None:
    """Every call of the run, one death each: sound file, each label once, digest and version of a run unkilled."""
    ended = {call: await dies_and_goes_on(tmp_path / "{}-{}".format(*call) / "ledger", call) for call in clean.calls}
    assert {call: end for call, end in ended.items() if end != clean.ended} == {}
    print(f"{len(clean.calls)} system calls, a death at each")

"""When a dead child is started again, and when another start has no use."""

from __future__ import annotations

import pytest

from tiebreak.apps.children import options_of
from tiebreak.apps.restarts import RestartPolicy, Restarts, after_death, worth_restarting
from tiebreak.runtime.lifecycle import ExitCode


def test_deaths_in_a_row_are_waited_out_longer_and_a_steady_life_forgives_them() -> None:
    """Half a second, doubled with each death up to the limit; after a minute of life it begins again."""
    policy, restarts, waits = RestartPolicy(), Restarts(), []
    for lived_s in (1, 1, 1, 1, 1, 1, 1, 1, 90, 1):
        wait, restarts = after_death(policy, restarts, lived_s)
        waits.append(wait)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 0.5, 1.0]


def test_ten_thousand_deaths_in_a_row_are_still_waited_out() -> None:
    """Weeks of an unreachable broker must not overflow the wait."""
    assert after_death(RestartPolicy(), Restarts(10_000), 0.1) == (30.0, Restarts(10_001))


@pytest.mark.parametrize(
    ("code", "was_ready", "again"),
    [
        (ExitCode.FAILED, False, True),
        (-9, True, True),
        (ExitCode.UNREACHABLE, True, True),
        (ExitCode.UNREACHABLE, False, False),
        (ExitCode.CONFIG, True, False),
        (ExitCode.MODEL, True, False),
        (ExitCode.BAD_RECORDS, True, False),
    ],
)
def test_what_another_start_would_repeat_is_not_started_again(code: int, was_ready: bool, again: bool) -> None:
    """A crash is; a wrong file is not; a broker that never answered is told to the person at the terminal."""
    assert worth_restarting(code, was_ready) is again


def test_options_without_a_value_are_left_out() -> None:
    """An empty --kafka would be another thing than none."""
    assert options_of({"--redis": "unix:///r", "--kafka": "", "--port": "0"}) == ("--redis", "unix:///r", "--port", "0")

"""When a dead child is started again, and when another start has no use."""

from __future__ import annotations

import asyncio
import sys

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tiebreak.apps.children import Child, ChildEnded, Part, options_of
from tiebreak.apps.restarts import RestartPolicy, Restarts, after_death, worth_restarting
from tiebreak.runtime.clock import SystemClock
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
    ("code", "was_ready", "since_s", "again"),
    [
        (ExitCode.FAILED, False, 999.0, True),
        (-9, True, 0.0, True),
        (ExitCode.UNREACHABLE, True, 999.0, True),
        (ExitCode.UNREACHABLE, False, 59.0, True),
        (ExitCode.UNREACHABLE, False, 60.0, False),
        (ExitCode.CONFIG, True, 0.0, False),
        (ExitCode.MODEL, True, 0.0, False),
        (ExitCode.BAD_RECORDS, True, 0.0, False),
    ],
)
def test_what_another_start_would_repeat_is_not_started_again(
    code: int, was_ready: bool, since_s: float, again: bool
) -> None:
    """A crash is; a wrong file is not; a server that does not answer is waited for, for a minute."""
    assert worth_restarting(RestartPolicy(), code, was_ready, since_s) is again


class Unreached(Part):
    """A process that ends as one does whose server does not answer."""

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-c", f"raise SystemExit({int(ExitCode.UNREACHABLE)})")


async def test_a_child_that_never_reached_its_server_is_started_again_for_a_while() -> None:
    """The machine is busy, or the server on its way: it says that it waits and how long still, and `up` goes on."""
    child = Child(Unreached("stream", (), ""), SystemClock(), 1.0, RestartPolicy(first_s=0.01, most_s=0.01))
    stop = asyncio.Event()
    with capture_logs() as logs:
        keeping = asyncio.create_task(child.keep(stop))
        await eventually(lambda: child.deaths > 1)
        stop.set()
        await keeping
    assert {entry["event"] for entry in logs} == {"child_waits_for_a_server"}
    assert 0 < logs[0]["ends_in_s"] <= 60


async def test_a_server_that_does_not_come_ends_the_child_in_the_end() -> None:
    """Past its patience the code is the supervisor's own: another start would end the same way."""
    child = Child(Unreached("stream", (), ""), SystemClock(), 1.0, RestartPolicy(patience_s=0.0))
    with pytest.raises(ChildEnded) as ended:
        await child.keep(asyncio.Event())
    assert ended.value.code == ExitCode.UNREACHABLE


def test_options_without_a_value_are_left_out() -> None:
    """An empty --kafka would be another thing than none."""
    assert options_of({"--redis": "unix:///r", "--kafka": "", "--port": "0"}) == ("--redis", "unix:///r", "--port", "0")

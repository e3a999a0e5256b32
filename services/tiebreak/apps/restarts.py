"""When a dead child is started again. Pure: time comes in as how long it lived."""

from __future__ import annotations

from dataclasses import dataclass

from tiebreak.runtime.lifecycle import ExitCode

# Another start would end the same way: the reason is in a file or an option.
_HOPELESS = frozenset({ExitCode.CONFIG, ExitCode.MODEL, ExitCode.BAD_RECORDS})


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Wait ``first_s`` after a death, twice as long after each further one, at most ``most_s``; ``steady_s`` of life forgive all.

    ``patience_s``: so long a child that was never ready is started again though a server does not answer it.
    """

    first_s: float = 0.5
    most_s: float = 30.0
    steady_s: float = 60.0
    patience_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """Deaths in a row, none of them after a steady life."""

    in_a_row: int = 0


def after_death(policy: RestartPolicy, restarts: Restarts, lived_s: float) -> tuple[float, Restarts]:
    """Seconds to wait before the next start, and the new count.

    >>> after_death(RestartPolicy(), Restarts(3), lived_s=2.0)
    (4.0, Restarts(in_a_row=4))
    >>> after_death(RestartPolicy(), Restarts(3), lived_s=100.0)
    (0.5, Restarts(in_a_row=1))
    """
    before = 0 if lived_s >= policy.steady_s else restarts.in_a_row
    # The exponent is bounded: 2.0 ** 2000 would raise after weeks of deaths.
    wait = min(policy.most_s, policy.first_s * 2.0 ** min(before, 30))
    return wait, Restarts(before + 1)


def worth_restarting(policy: RestartPolicy, code: int, was_ready: bool, since_s: float) -> bool:
    """Whether another start may end differently, ``since_s`` seconds after the first.

    The supervisor had an answer of every server before it started a child: one that does not answer is slow, or on its way. A child
    that was never ready waits for it, and after a while tells the person at the terminal more by ending.
    """
    if code in _HOPELESS:
        return False
    return was_ready or code != ExitCode.UNREACHABLE or since_s < policy.patience_s

"""Who is at work, and whom of them to ask about a task that is not sure. Pure: a function of the answers in the order of the log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tiebreak.labeling.posterior import Crowd

PRESENT_MS = 120_000
# The newest so many are looked at: the cost of an answer does not grow with the crowd. It is people x likely classes (20 at most) x
# classes, so in proportion to the classes.
_MOST = 64
# Who tells hardly more than the others is not worth waiting for.
_WORTH = 1.1


@dataclass(slots=True)
class AtWork:
    """When each person last answered (ms), as the log tells; whoever answered last is last."""

    _last_ms: dict[str, int] = field(default_factory=dict)
    _now_ms: int = 0

    def hear(self, annotator: str, at_ms: int) -> None:
        """One answer of the log."""
        self._last_ms.pop(annotator, None)
        self._last_ms[annotator] = at_ms
        self._now_ms = max(self._now_ms, at_ms)
        if len(self._last_ms) > _MOST:
            del self._last_ms[next(iter(self._last_ms))]

    def leave(self, annotator: str) -> None:
        """They are not to be asked first."""
        self._last_ms.pop(annotator, None)

    def present(self) -> list[str]:
        """Who answered lately."""
        return [name for name, at_ms in self._last_ms.items() if at_ms > self._now_ms - PRESENT_MS]


def best_next(
    crowd: Crowd,
    votes: Mapping[str, str],
    people: Sequence[str],
    asked: Collection[str],
    suspects: Collection[str] = (),
) -> Sequence[str]:
    """Of ``people`` but those ``asked``, who would tell more about a task with such ``votes`` than the average, the best first.

    By expected information (:meth:`Crowd.gains`); of equals the first by name. ``suspects``: whose votes weigh as one.
    """
    free = sorted(name for name in people if name not in asked)
    if len(free) < 2:
        return ()
    gains = crowd.gains(votes, free, suspects)
    worth = _WORTH * float(gains.mean())
    ranked = sorted(zip(-gains, free, strict=True))
    return [name for gain, name in ranked if -gain > worth]

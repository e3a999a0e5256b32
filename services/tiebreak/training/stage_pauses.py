"""What the trainer waits for before it tries again: told in the log, counted, and, where a disk refuses, in its health."""

from __future__ import annotations

import structlog

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import SlowDown
from tiebreak.runtime.metrics import Metrics

LEDGER = "the ledger cannot be written"
STORE = "the candidate cannot be stored"
_log = structlog.get_logger(__name__)


class Pauses:
    """Of one trainer. What was refused stands until it is written."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics, self._clock = metrics, clock
        self._refused: dict[str, str] = {}

    async def pause(self, what: str, seconds: float, error: Exception) -> None:
        """Wait: ``what`` failed by ``error``, and is tried again."""
        if isinstance(error, SlowDown):
            self._refused[what] = str(error)
        _log.warning(what, error=str(error), retry_s=seconds)
        self._metrics.count("tiebreak_training_steps_total", outcome="retried")
        await self._clock.sleep(seconds)

    def written(self, what: str) -> None:
        """There is room again."""
        self._refused.pop(what, None)

    def standing(self) -> str:
        """What no disk takes, and what to do; empty where there is nothing."""
        return " ".join(self._refused.values())

    async def check(self) -> str:
        """For ``Health.ready_when``."""
        return self.standing()

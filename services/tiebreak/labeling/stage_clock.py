"""Whether the log believes this machine's clock: while it does not, no answer can be taken, and nobody should be sent here."""

from __future__ import annotations

from collections.abc import Sequence

from tiebreak.contracts.errors import ClockRefused
from tiebreak.contracts.log import Outputs, Writer
from tiebreak.runtime.together import Together

# Whoever asks meanwhile shares an answer.
_MOST = 10_000


class TimelyWriter:
    """A :class:`tiebreak.contracts.log.Writer` that remembers what was refused for its time. An ordinary outage it does not mind.

    ``again`` writes that once more when somebody asks for :meth:`check`: without people no answer would tell that it is well. It is a
    writer of its own, or what fails there would drop what others have in flight. Anybody may ask, as often as they like: it is tried
    once at a time, and every ``every_s`` seconds.
    """

    def __init__(self, writer: Writer, again: Writer, every_s: float = 1.0) -> None:
        self._writer = writer
        self._again = again
        self._refused: Outputs | None = None
        self._trying = Together(self._try, _MOST, every_s)

    async def start(self) -> None:
        await self._writer.start()

    async def publish(self, outputs: Outputs) -> None:
        try:
            await self._writer.publish(outputs)
        except ClockRefused:
            # One is enough. Its sender was told to send it again, and may have said something newer since: ids and revisions make
            # it harmless, whenever it comes and however often.
            self._refused = Outputs(messages=outputs.messages[:1])
            raise
        self._refused = None

    async def check(self) -> str:
        """For ``Health.ready_when``. Raises the log's refusal, which says what to do."""
        if self._refused is not None:
            await self._trying.ask(None)
        return ""

    async def _try(self, askers: Sequence[None]) -> Sequence[None]:
        if (refused := self._refused) is not None:
            await self._again.publish(refused)
            if self._refused is refused:  # else another was refused meanwhile
                self._refused = None
        return askers

    async def close(self, timeout_s: float) -> None:
        self._refused = None  # who still asks opens nothing again
        await self._again.close(timeout_s)
        await self._writer.close(timeout_s)

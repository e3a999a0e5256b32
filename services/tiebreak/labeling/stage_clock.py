"""Whether the log believes this machine's clock: while it does not, no answer can be taken, and nobody should be sent here."""

from __future__ import annotations

from tiebreak.contracts.errors import ClockRefused
from tiebreak.contracts.log import Outputs, Writer


class TimelyWriter:
    """A :class:`tiebreak.contracts.log.Writer` that remembers what was refused for its time. An ordinary outage it does not mind.

    ``again`` writes that once more when somebody asks for :meth:`check`: without people no answer would tell that it is well. It is a
    writer of its own, as a probe is cut short and a writer that is cut short drops what others have in flight.
    """

    def __init__(self, writer: Writer, again: Writer) -> None:
        self._writer = writer
        self._again = again
        self._refused: Outputs | None = None

    async def start(self) -> None:
        await self._writer.start()

    async def publish(self, outputs: Outputs) -> None:
        try:
            await self._writer.publish(outputs)
        except ClockRefused:
            # One is enough, and ids make it harmless: its sender was told to send it again.
            self._refused = Outputs(messages=outputs.messages[:1])
            raise
        self._refused = None

    async def check(self) -> str:
        """For ``Health.ready_when``. Raises the log's refusal, which says what to do."""
        if self._refused is not None:
            await self._again.publish(self._refused)
            self._refused = None
        return ""

    async def close(self, timeout_s: float) -> None:
        await self._again.close(timeout_s)
        await self._writer.close(timeout_s)

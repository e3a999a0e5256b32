"""Token records remembered for a short time, so that a claim needs no question to the store before the claim itself.

What is remembered is only as good as the token epoch under which it was found. Whoever relies on it reads :meth:`TokenCache.epoch`
before, and again when the queue has answered: where it moved, or there is none, the store is to be asked before anything is given
away or put on the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tiebreak.contracts.clock import Clock
from tiebreak.labeling.tokens import TokenRecord, Tokens

_MAX_AGE_S = 10.0
_MOST = 10_000


class TokenCache:
    """Implements ``port.Tokens`` for requests that end in the queue. ``epoch``: the newest that the queue has seen, None if none."""

    def __init__(self, tokens: Tokens, epoch: Callable[[], bytes | None], clock: Clock) -> None:
        self._tokens = tokens
        self._epoch = epoch
        self._clock = clock
        self._known: dict[str, tuple[TokenRecord, float]] = {}
        self._valid_for: bytes | None = None

    def epoch(self) -> bytes | None:
        """Changes when a token was made or ended, or all were lost."""
        return self._epoch()

    async def get(self, digest: str) -> TokenRecord | None:
        epoch = self._epoch()
        if epoch != self._valid_for or len(self._known) >= _MOST:
            self._known.clear()
            self._valid_for = epoch
        known = self._known.get(digest)
        if known is not None and self._clock.monotonic() - known[1] < _MAX_AGE_S:
            return known[0]
        record = await self._tokens.get(digest)
        if record is not None and epoch is not None and epoch == self._valid_for:
            self._known[digest] = (record, self._clock.monotonic())
        return record

    async def put(self, record: TokenRecord) -> None:
        await self._tokens.put(record)

    async def revoke(self, name: str) -> int:
        return await self._tokens.revoke(name)

    async def records(self) -> Sequence[TokenRecord]:
        return await self._tokens.records()

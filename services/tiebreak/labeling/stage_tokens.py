"""Who is let in, on record: each token made or ended goes to ``audit`` first, and from there the tokens come back after a loss.

Redis is an index of the tokens, never the only place that knows of them. ``audit`` holds their hashes alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from tiebreak.contracts.audit import Action, Broken, Fault, Head
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import TiebreakError
from tiebreak.contracts.messages import AuditRecord
from tiebreak.labeling.tokens import TokenRecord, Tokens, detail_of, no_tokens, standing_tokens
from tiebreak.runtime.tasks import pause

_log = structlog.get_logger("tiebreak.labeling")


class Trail(Protocol):
    """What is needed of the audit trail."""

    async def append(self, actor: str, action: Action, target: str, detail: str = "") -> AuditRecord: ...

    async def read(self) -> tuple[Sequence[AuditRecord], Chained]: ...


class Chained(Protocol):
    """How far a trail was read, and what was wrong that nobody has accepted."""

    @property
    def head(self) -> Head: ...

    @property
    def open_faults(self) -> Sequence[Fault]: ...


class TokenIndex(Tokens, Protocol):
    """A store of tokens that knows whether it lost them."""

    async def unbuilt(self) -> str | None:
        """None where it holds all tokens of the trail, as far as it knows; else the life of the store in which it lacks some.

        In a later life it may lack what was put in this one.
        """

    async def built(self, life: str) -> None:
        """It holds all of them, all put in ``life``."""

    async def drop(self, digest: str) -> None:
        """End one token."""


class Doorkeeper:
    """Makes and ends tokens."""

    def __init__(self, tokens: Tokens, trail: Trail) -> None:
        self._tokens = tokens
        self._trail = trail

    async def admit(self, record: TokenRecord, by: str) -> None:
        """The token is on record and good when this returns."""
        await self._trail.append(by, Action.TOKEN_CREATED, record.name, detail_of(record))
        await self._tokens.put(record)

    async def revoke(self, name: str, by: str) -> int:
        """End all tokens of a person; how many there were. When it raises, they are ended but may come back: do it again."""
        # At once, even with the log away; and again once it is on record, since a rebuild may have put them back in between.
        ended = await self._tokens.revoke(name)
        await self._trail.append(by, Action.TOKEN_REVOKED, name)
        return ended + await self._tokens.revoke(name)


class TokenRebuilder:
    """Puts the tokens of the trail back into an index that lost them. Any number may run."""

    def __init__(self, tokens: TokenIndex, trail: Trail, clock: Clock, every_s: float = 0.5) -> None:
        self._tokens = tokens
        self._trail = trail
        self._clock = clock
        self._every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. A trail with records missing gives no tokens: it could have lost the one that ended one."""
        while not stop.is_set():
            try:
                await self.ensure()
            except TiebreakError as error:
                _log.error("tokens_not_rebuilt", error=str(error))
            await pause(stop, self._every_s)

    async def ensure(self) -> int:
        """Build the index if it is missing; how many tokens were put back."""
        life = await self._tokens.unbuilt()
        if life is None:
            return 0
        # What is there may have been ended in the moment that the index lost.
        put = {record.digest for record in await self._tokens.records()}
        head: Head | None = None
        # Whoever ends a token records it before they delete it for the last time. So once a reading after our last
        # `put` brings nothing new, nobody's token can have come back.
        while True:
            records, chain = await self._trail.read()
            if lost := next((fault for fault in chain.open_faults if fault.missing), None):
                raise Broken(lost)
            if chain.head == head:
                break
            head = chain.head
            if odd := no_tokens(records):
                _log.error("audit_records_describe_no_token", sequences=odd[:20], count=len(odd))
            standing = standing_tokens(records, round(self._clock.wall() * 1000))
            for record in standing:
                await self._tokens.put(record)
            now = {record.digest for record in standing}
            for digest in put - now:
                await self._tokens.drop(digest)
            put = now
        await self._tokens.built(life)
        if put:
            _log.info("tokens_rebuilt", tokens=len(put))
        return len(put)

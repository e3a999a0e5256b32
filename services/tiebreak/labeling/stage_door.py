"""Whoever asks passes here: a token of ours or a JWT of the project's issuer in, a principal out, and not too often."""

from __future__ import annotations

from copy import copy
from typing import Protocol

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import Unauthenticated
from tiebreak.contracts.project import Access
from tiebreak.labeling.access import Principal
from tiebreak.labeling.rate import Buckets, TooMany
from tiebreak.labeling.tokens import MAX_JWT_LENGTH, MAX_LENGTH, PREFIX, Tokens, bearer_of, digest_of, principal_of


class Issuer(Protocol):
    """Who else may vouch for people."""

    async def principal(self, token: str) -> Principal | None:
        """Who the token stands for; None for whatever is wrong with it."""


class Door:
    """Authentication and rate limits of one process. Limits are kept in memory: the hot routes pay no round trip for them."""

    def __init__(self, tokens: Tokens, clock: Clock, access: Access, issuer: Issuer | None = None) -> None:
        self._tokens = tokens
        self._clock = clock
        self._issuer = issuer
        self._requests = Buckets(access.requests_per_s, access.request_burst)
        self._failures = Buckets(access.failures_per_s, access.failure_burst)

    async def enter(self, authorization: str | None, address: str) -> Principal:
        """The principal of an ``Authorization`` header. Raises Unauthenticated (the same words whatever is wrong), or TooMany.

        ``address`` is where it comes from: guesses are counted by it. A good token is never refused for the guesses of others.
        """
        who = await self._who(authorization)
        now = self._clock.monotonic()
        wait_s = self._requests.take(who.name, now) if who else self._failures.take(address, now)
        if wait_s:
            raise TooMany("Too many requests.", retry_after_s=wait_s, fix="Wait a second, then go on.")
        if who is None:
            raise Unauthenticated("No valid token.", fix="Send `Authorization: Bearer <token>`; ask a manager for one.")
        return who

    def remembering(self, tokens: Tokens) -> Door:
        """The same door with the same limits, that looks tokens up in ``tokens``."""
        other = copy(self)
        other._tokens = tokens  # noqa: SLF001 - our own copy
        return other

    async def _who(self, authorization: str | None) -> Principal | None:
        token = bearer_of(authorization, MAX_JWT_LENGTH if self._issuer else MAX_LENGTH)
        if token is None:
            return None
        if self._issuer is not None and not token.startswith(PREFIX):
            return await self._issuer.principal(token) if token.count(".") == 2 and token.isascii() else None
        return principal_of(await self._tokens.get(digest_of(token)), round(self._clock.wall() * 1000))

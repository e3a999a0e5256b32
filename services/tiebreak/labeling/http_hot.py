"""The two requests that people repeat all day, claim and submit, past the framework's layers, which cost more than the work itself.

Only what is plain goes this way: a known token with the right to annotate, a well-formed body, nothing to wait for. Everything else is
handed to the framework as it came, so that one place says no. Both ways end in the same queue, desk and models.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp

from tiebreak.contracts.codec_json import repeated_key
from tiebreak.contracts.errors import TiebreakError, Unauthenticated
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_errors import of_bug, of_error
from tiebreak.labeling.http_fields import annotation_fields, claim_fields
from tiebreak.labeling.http_models import ClaimIn, VoteIn, vote_of
from tiebreak.labeling.http_security import HEADERS
from tiebreak.labeling.port import Refused
from tiebreak.labeling.stage_answers import give_back
from tiebreak.labeling.stage_token_cache import TokenCache
from tiebreak.runtime.http_protocol import Answer, Asked, Reply

Body = TypeVar("Body", bound=BaseModel)
_SUBMIT = re.compile(rb"/v1/tasks/([0-9a-f]{32})/annotations(?:\?(?:next=(10|[0-9]))?)?")
_KEY = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_JSON = (b"content-type", b"application/json")
_COMMON = b"".join(
    b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in {**HEADERS, "cache-control": "no-store"}.items()
)
_HEAD = b"%b: %b\r\n%b" % (*_JSON, _COMMON)


@dataclass(frozen=True, slots=True)
class _Visit:
    """Who asks, and the token epoch under which they were remembered; None when the store was asked."""

    who: Principal
    epoch: bytes | None


class HotPaths:
    """The ``runtime.http_protocol.Door`` in front of the application of :func:`~tiebreak.labeling.http.create_app`."""

    def __init__(self, behind: ASGIApp, ctx: LabelingContext, max_body_bytes: int) -> None:
        self.behind = behind
        self.most = max_body_bytes
        self._ctx = ctx
        self._cache = cache = TokenCache(ctx.tokens, ctx.token_epoch, ctx.clock)
        self._claim_path = f"/v1/projects/{ctx.project.project}/tasks:claim".encode()
        self._known = ctx.door.remembering(cache)

    def answer_to(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> Answer | None:
        """See ``Door``."""
        if _JSON not in headers:
            return None
        if url == self._claim_path:
            return self._claim
        return self._submit if _SUBMIT.fullmatch(url) else None

    async def _claim(self, asked: Asked) -> Reply | None:
        return await self._timed("claim", self._claimed(asked))

    async def _submit(self, asked: Asked) -> Reply | None:
        return await self._timed("submit", self._submitted(asked))

    async def _timed(self, request: str, work: Awaitable[Reply | None]) -> Reply | None:
        began = self._ctx.clock.monotonic()
        try:
            reply = await work
        except TiebreakError as error:
            if isinstance(error, Refused):
                self._ctx.metrics.count("tiebreak_labeling_refusals_total", reason=error.refusal)
            return _reply_of(of_error(error))
        except Exception as error:  # noqa: BLE001 - answered, and told to whoever runs this
            return _reply_of(of_bug(error))
        if reply is not None:
            took_s = self._ctx.clock.monotonic() - began
            self._ctx.metrics.observe("tiebreak_labeling_request_seconds", took_s, request=request)
        return reply

    async def _claimed(self, asked: Asked) -> Reply | None:
        # Safe to repeat with or without a key: only its form matters, and the framework says what is wrong with that.
        key = asked.headers.get(b"idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            return None
        visit, wanted = await self._admit(asked), _read(ClaimIn, asked.body)
        if visit is None or wanted is None:
            return None
        queue, who, reviews = self._ctx.queue, visit.who, visit.who.may(Right.REVIEW)
        claimed = await queue.claim(who.name, wanted.max, review=reviews, skills=wanted.skills)
        if not claimed.leases:
            return None  # the framework's route knows how to wait, and why a person gets nothing
        try:
            await self._still(asked, visit)
        except TiebreakError:
            await give_back(queue, who.name, claimed)
            raise
        self._ctx.metrics.count("tiebreak_labeling_claims_total", outcome="leased")
        return Reply(200, _HEAD, orjson.dumps(claim_fields(claimed, await self._ctx.terms(), reviews=reviews)))

    async def _submitted(self, asked: Asked) -> Reply | None:
        found, key = _SUBMIT.fullmatch(asked.url), asked.headers.get(b"idempotency-key", b"")
        if found is None or not _KEY.fullmatch(key):
            return None
        visit, vote = await self._admit(asked), _read(VoteIn, asked.body)
        if visit is None or vote is None:
            return None

        async def still() -> None:
            await self._still(asked, visit)

        reviews = visit.who.may(Right.REVIEW)
        said = vote_of(found[1].decode(), key.decode(), vote)
        accepted = await self._ctx.desk.accept(visit.who, said, want=int(found[2] or 0), still=still)
        return Reply(201, _HEAD, orjson.dumps(annotation_fields(accepted, await self._ctx.terms(), reviews=reviews)))

    async def _admit(self, asked: Asked) -> _Visit | None:
        epoch = self._cache.epoch()
        door = self._ctx.door if epoch is None else self._known
        who = await door.enter(_authorization(asked), asked.address)
        return _Visit(who, epoch) if who.may(Right.ANNOTATE) else None

    async def _still(self, asked: Asked, visit: _Visit) -> None:
        """Raise Unauthenticated when the token was ended (or its role changed) before the queue answered."""
        if visit.epoch is None or visit.epoch == self._cache.epoch():
            return
        if await self._ctx.door.enter(_authorization(asked), asked.address) != visit.who:
            raise Unauthenticated("No valid token.", fix="Send the request again.")


def _authorization(asked: Asked) -> str | None:
    said = asked.headers.get(b"authorization")
    return None if said is None else said.decode("latin-1")


def _read(kind: type[Body], body: bytes) -> Body | None:
    try:
        read = kind.model_validate_json(body)
    except ValidationError:
        return None  # the framework says what is wrong with it
    return read if repeated_key(body, len(read.model_fields_set)) is None else None


def _reply_of(response: Response) -> Reply:
    lines = [b"%b: %b\r\n" % header for header in response.raw_headers if header[0] != b"content-length"]
    return Reply(response.status_code, b"".join([*lines, _COMMON]), bytes(response.body))

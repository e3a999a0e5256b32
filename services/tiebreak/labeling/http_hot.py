"""The two requests that people repeat all day, claim and submit, past the framework's layers, which cost more than the work itself.

Only what is plain goes this way: a known token with the right to annotate, a well-formed body, nothing to wait for. Everything else is
handed to the framework as it came, so that one place says no. Both ways end in the same queue, desk and models.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiebreak.contracts.errors import TiebreakError, Unauthenticated
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_errors import of_bug, of_error
from tiebreak.labeling.http_fields import annotation_fields, claim_fields
from tiebreak.labeling.http_models import ClaimIn, VoteIn, vote_of
from tiebreak.labeling.http_security import HEADERS
from tiebreak.labeling.port import Refused
from tiebreak.labeling.stage_token_cache import TokenCache
from tiebreak.runtime.http_protocol import whole_answer

Body = TypeVar("Body", bound=BaseModel)
_SUBMIT = re.compile(r"/v1/tasks/([0-9a-f]{32})/annotations")
_KEY = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_NEXT = re.compile(rb"(?:next=(10|[0-9]))?")
_JSON = (b"content-type", b"application/json")
_COMMON = [(name.encode(), value.encode()) for name, value in {**HEADERS, "cache-control": "no-store"}.items()]
_HEAD = b"".join(b"%b: %b\r\n" % header for header in (_JSON, *_COMMON))


@dataclass(frozen=True, slots=True)
class _Knock:
    """The parts of a request that matter here. ``query`` as it came; ``key`` b"" when there is none."""

    path: str
    query: bytes
    address: str
    authorization: str | None
    key: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class _Visit:
    """Who asks, and the token epoch under which they were remembered; None when the store was asked."""

    who: Principal
    epoch: bytes | None


class HotPaths:
    """ASGI application around the one of :func:`~tiebreak.labeling.http.create_app`: outside of all its layers."""

    def __init__(self, app: ASGIApp, ctx: LabelingContext, max_body_bytes: int) -> None:
        self._app = app
        self._ctx = ctx
        self._max_body_bytes = max_body_bytes
        self._cache = cache = TokenCache(ctx.tokens, ctx.token_epoch, ctx.clock)
        self._claim_path = f"/v1/projects/{ctx.project.project}/tasks:claim"
        self._known = ctx.door.remembering(cache)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer_of(scope)
        if answer is None:
            await self._app(scope, receive, send)
            return
        began = self._ctx.clock.monotonic()
        heard, body = await _hear(receive, self._max_body_bytes)
        knock = None if body is None else _knock(scope, body)
        try:
            reply = await answer(knock) if knock is not None else None
        except TiebreakError as error:
            if isinstance(error, Refused):
                self._ctx.metrics.count("tiebreak_labeling_refusals_total", reason=error.refusal)
            await _send_response(send, of_error(error))
            return
        except Exception as error:
            await _send_response(send, of_bug(error))
            raise
        if reply is None:
            await self._app(scope, _again(heard, receive), send)
        else:
            status, content = reply
            took_s, request = self._ctx.clock.monotonic() - began, "claim" if answer == self._claim else "submit"
            self._ctx.metrics.observe("tiebreak_labeling_request_seconds", took_s, request=request)
            if not whole_answer(scope, status, _HEAD, content):
                await _send(send, status, content, [_JSON, (b"content-length", b"%d" % len(content))])

    def _answer_of(self, scope: Scope) -> Callable[[_Knock], Awaitable[tuple[int, bytes] | None]] | None:
        if scope["type"] != "http" or scope["method"] != "POST" or _JSON not in scope["headers"]:
            return None
        path: str = scope["path"]
        if path == self._claim_path:
            return self._claim
        return self._submit if path.endswith("/annotations") else None

    async def _claim(self, knock: _Knock) -> tuple[int, bytes] | None:
        visit, wanted = await self._admit(knock), _read(ClaimIn, knock.body)
        if visit is None or wanted is None:
            return None
        queue, who = self._ctx.queue, visit.who
        claimed = await queue.claim(who.name, wanted.max, review=who.may(Right.REVIEW), skills=wanted.skills)
        if not claimed.leases:
            return None  # the framework's route knows how to wait, and why a person gets nothing
        try:
            await self._still(knock, visit)
        except TiebreakError:
            for lease in claimed.leases:
                await queue.release(who.name, lease.task.task_id, lease.token)
            raise
        self._ctx.metrics.count("tiebreak_labeling_claims_total", outcome="leased")
        return 200, orjson.dumps(claim_fields(claimed, await self._ctx.terms()))

    async def _submit(self, knock: _Knock) -> tuple[int, bytes] | None:
        found, further = _SUBMIT.fullmatch(knock.path), _NEXT.fullmatch(knock.query)
        if found is None or further is None or not _KEY.fullmatch(knock.key):
            return None
        visit, vote = await self._admit(knock), _read(VoteIn, knock.body)
        if visit is None or vote is None:
            return None

        async def still() -> None:
            await self._still(knock, visit)

        said = vote_of(found[1], knock.key.decode(), vote)
        accepted = await self._ctx.desk.accept(visit.who, said, want=int(further[1] or 0), still=still)
        return 201, orjson.dumps(annotation_fields(accepted, await self._ctx.terms()))

    async def _admit(self, knock: _Knock) -> _Visit | None:
        epoch = self._cache.epoch()
        door = self._ctx.door if epoch is None else self._known
        who = await door.enter(knock.authorization, knock.address)
        return _Visit(who, epoch) if who.may(Right.ANNOTATE) else None

    async def _still(self, knock: _Knock, visit: _Visit) -> None:
        """Raise Unauthenticated when the token was ended (or its role changed) before the queue answered."""
        if visit.epoch is None or visit.epoch == self._cache.epoch():
            return
        if await self._ctx.door.enter(knock.authorization, knock.address) != visit.who:
            raise Unauthenticated("No valid token.", fix="Send the request again.")


def _knock(scope: Scope, body: bytes) -> _Knock:
    # The first of several headers of one name counts, as in the framework.
    headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
    authorization, client = headers.get(b"authorization"), scope.get("client")
    return _Knock(
        scope["path"],
        scope["query_string"],
        client[0] if client else "",
        None if authorization is None else authorization.decode("latin-1"),
        headers.get(b"idempotency-key", b""),
        body,
    )


def _read(kind: type[Body], body: bytes) -> Body | None:
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        return None  # the framework says what is wrong with it


async def _hear(receive: Receive, most: int) -> tuple[deque[Message], bytes | None]:
    """What came, and the body made of it; None where it is longer than ``most``, or the client left."""
    heard, body = deque[Message](), b""
    while True:
        message = await receive()
        heard.append(message)
        body += message.get("body", b"")
        if message["type"] != "http.request" or len(body) > most:
            return heard, None
        if not message.get("more_body", False):
            return heard, body


def _again(heard: deque[Message], receive: Receive) -> Receive:
    async def again() -> Message:
        return heard.popleft() if heard else await receive()

    return again


async def _send(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_COMMON]})
    await send({"type": "http.response.body", "body": body})


async def _send_response(send: Send, response: Response) -> None:
    await _send(send, response.status_code, bytes(response.body), response.raw_headers)

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

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiebreak.contracts.errors import TiebreakError, Unauthenticated
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_errors import of_error
from tiebreak.labeling.http_models import ClaimIn, VoteIn, annotation_out, claim_out, vote_of
from tiebreak.labeling.http_security import HEADERS, authenticator
from tiebreak.labeling.port import Refused
from tiebreak.labeling.stage_token_cache import TokenCache

Body = TypeVar("Body", bound=BaseModel)
_SUBMIT = re.compile(r"/v1/tasks/([0-9a-f]{32})/annotations")
_KEY = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_NEXT = re.compile(rb"(?:next=(10|[0-9]))?")
_COMMON = [(name.encode(), value.encode()) for name, value in {**HEADERS, "cache-control": "no-store"}.items()]


@dataclass(frozen=True, slots=True)
class _Visit:
    """Who asks, and the token epoch under which they were remembered; None when the store was asked."""

    who: Principal
    epoch: bytes | None


class HotPaths:
    """ASGI middleware around the application of :func:`~tiebreak.labeling.http.create_app`."""

    def __init__(self, app: ASGIApp, ctx: LabelingContext) -> None:
        self._app = app
        self._ctx = ctx
        self._cache = cache = TokenCache(ctx.tokens, ctx.token_epoch, ctx.clock)
        self._claim_path = f"/v1/projects/{ctx.project.project}/tasks:claim"
        self._known = authenticator(ctx.door.remembering(cache))
        self._asked = authenticator(ctx.door)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer_of(scope)
        if answer is None or not _is_json(scope):
            await self._app(scope, receive, send)
            return
        heard, body = await _hear(receive)
        request = Request(scope)
        try:
            reply = await answer(request, body) if body is not None else None
        except TiebreakError as error:
            if isinstance(error, Refused):
                self._ctx.metrics.count("tiebreak_labeling_refusals_total", reason=error.refusal)
            response = of_error(error)
            await _send(send, response.status_code, bytes(response.body), response.raw_headers)
            return
        if reply is None:
            await self._app(scope, _again(heard, receive), send)
        else:
            status, model = reply
            content = model.__pydantic_serializer__.to_json(model)
            length = (b"content-length", b"%d" % len(content))
            await _send(send, status, content, [(b"content-type", b"application/json"), length])

    def _answer_of(self, scope: Scope) -> Callable[[Request, bytes], Awaitable[tuple[int, BaseModel] | None]] | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path: str = scope["path"]
        if path == self._claim_path:
            return self._claim
        return self._submit if _SUBMIT.fullmatch(path) else None

    async def _claim(self, request: Request, body: bytes) -> tuple[int, BaseModel] | None:
        visit, wanted = await self._admit(request), _read(ClaimIn, body)
        if visit is None or wanted is None:
            return None
        queue, who = self._ctx.queue, visit.who
        claimed = await queue.claim(who.name, wanted.max, review=who.may(Right.REVIEW), skills=wanted.skills)
        if not claimed.leases and wanted.wait_ms:
            return None  # a long poll: the framework's route knows how to wait
        try:
            await self._still(request, visit)
        except TiebreakError:
            for lease in claimed.leases:
                await queue.release(who.name, lease.task.task_id, lease.token)
            raise
        self._ctx.metrics.count("tiebreak_labeling_claims_total", outcome=claimed.reason or "leased")
        return 200, claim_out(claimed, self._ctx.project.labeling.lease_s)

    async def _submit(self, request: Request, body: bytes) -> tuple[int, BaseModel] | None:
        key = request.headers.get("idempotency-key", "").encode("latin-1")
        found, further = _SUBMIT.fullmatch(request.scope["path"]), _NEXT.fullmatch(request.scope["query_string"])
        if found is None or further is None or not _KEY.fullmatch(key):
            return None
        visit, vote = await self._admit(request), _read(VoteIn, body)
        if visit is None or vote is None:
            return None

        async def still() -> None:
            await self._still(request, visit)

        said = vote_of(found[1], key.decode(), vote)
        accepted = await self._ctx.desk.accept(visit.who, said, want=int(further[1] or 0), still=still)
        labeling = self._ctx.project.labeling
        return 201, annotation_out(accepted, labeling.lease_s, labeling.undo_s)

    async def _admit(self, request: Request) -> _Visit | None:
        epoch = self._cache.epoch()
        who = await (self._asked if epoch is None else self._known)(request)
        return _Visit(who, epoch) if who.may(Right.ANNOTATE) else None

    async def _still(self, request: Request, visit: _Visit) -> None:
        """Raise Unauthenticated when the token was ended (or its role changed) before the queue answered."""
        if visit.epoch is None or visit.epoch == self._cache.epoch():
            return
        if await self._asked(request) != visit.who:
            raise Unauthenticated("No valid token.", fix="Send the request again.")


def _read(kind: type[Body], body: bytes) -> Body | None:
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        return None  # the framework says what is wrong with it


def _is_json(scope: Scope) -> bool:
    return any(name == b"content-type" and value == b"application/json" for name, value in scope["headers"])


async def _hear(receive: Receive) -> tuple[deque[Message], bytes | None]:
    """The first message, and the body if it is all there: what people send comes in one piece."""
    message = await receive()
    whole = message["type"] == "http.request" and not message.get("more_body", False)
    return deque([message]), message.get("body", b"") if whole else None


def _again(heard: deque[Message], receive: Receive) -> Receive:
    async def again() -> Message:
        return heard.popleft() if heard else await receive()

    return again


async def _send(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_COMMON]})
    await send({"type": "http.response.body", "body": body})

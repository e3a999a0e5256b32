"""Who is asking, what they may do, and the headers that every answer carries. A route denies unless it says what it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiebreak.contracts.codec_json import repeated_key
from tiebreak.contracts.errors import Forbidden, Unauthenticated
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.stage_door import Door

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class SecurityHeaders:
    """ASGI middleware: the headers on every answer, errors included. API answers are never stored by anybody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)


class BodyLimit:
    """ASGI middleware: no more than ``max_bytes`` of a body are read, with a Content-Length or without (chunked).

    The framework's own limit answers plain text without our headers, and replaces a 401 as well.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        await self._app(scope, limited, send)


def authenticator(door: Door) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that finds the principal of the bearer token, or raises Unauthenticated or TooMany."""

    async def authenticate(request: Request) -> Principal:
        address = request.client.host if request.client else ""
        principal = await door.enter(request.headers.get("authorization"), address)
        request.state.principal = principal
        return principal

    return authenticate


def needs(right: Right) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency for one route: the principal, if its role has ``right``; else Forbidden."""

    # Not a plain function: the framework would send those to a thread, once per request.
    async def principal(request: Request) -> Principal:
        who: Principal | None = getattr(request.state, "principal", None)
        if who is None:  # a route outside a guarded router: deny
            raise Unauthenticated("No valid token.")
        if not who.may(right):
            raise Forbidden("Your role does not allow this.", fix=f"It needs the right to {right.value}.")
        return who

    principal.right = right  # type: ignore[attr-defined]  # the route table test reads it
    return principal


def guarded_router(door: Door, **options: Any) -> APIRouter:
    """A router all of whose routes want a valid token before anything else is looked at, and a body that says each thing once."""
    return APIRouter(dependencies=[Depends(authenticator(door)), Depends(_no_key_twice)], **options)


async def _no_key_twice(request: Request) -> None:
    """Raise RequestValidationError, naming the key: the readers of JSON take the last one and say nothing."""
    try:
        key = repeated_key(await request.body(), 0)
    except (ValueError, RecursionError):
        return  # no JSON: the route says so
    if key is not None:
        raise RequestValidationError([{"loc": ("body", key), "type": "given_twice"}])

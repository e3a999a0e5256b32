"""From our errors to HTTP: RFC 9457 ``application/problem+json``. No answer ever repeats what was sent: it may be personal data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tiebreak.contracts.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PublishFailed,
    SlowDown,
    TiebreakError,
    Unauthenticated,
    Unreachable,
)
from tiebreak.labeling.port import Refused
from tiebreak.labeling.rate import TooMany
from tiebreak.runtime.metrics import Metrics

_log = structlog.get_logger("tiebreak.labeling.http")

_STATUS: Mapping[type[TiebreakError], HTTPStatus] = {
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    SlowDown: HTTPStatus.SERVICE_UNAVAILABLE,
    Unreachable: HTTPStatus.SERVICE_UNAVAILABLE,
    PublishFailed: HTTPStatus.SERVICE_UNAVAILABLE,
}
_MAX_FIELDS = 20
_DESCRIBED = "The OpenAPI document (schemas/openapi.json) describes all of them."
_OF_HTTP: Mapping[int, tuple[str, str]] = {
    400: ("The body cannot be read.", "Send JSON in UTF-8."),
    404: ("There is no such route.", _DESCRIBED),
    405: ("This route does not take this method.", _DESCRIBED),
    413: ("The body is larger than this route takes.", "Send less at once."),
}
# What pydantic says of a bound that was not kept: ours, unlike the rest of what it says.
_LIMITS = ("ge", "gt", "le", "lt", "max_length", "min_length")


def problem(
    status: HTTPStatus, code: str, detail: str, headers: Mapping[str, str] | None = None, **members: object
) -> Response:
    """One problem document; ``code`` ends its ``type`` and is what programs should look at."""
    body = {"type": f"urn:tiebreak:problem:{code}", "title": status.phrase, "status": int(status), "detail": detail}
    return Response(
        orjson.dumps({**body, **members}),
        status_code=int(status),
        media_type="application/problem+json",
        headers=dict(headers or {}),
    )


def of_error(error: TiebreakError) -> Response:
    """The answer to one of our errors; one that is not in the table is a bug of ours, and says no more than that."""
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), None)
    if status is None:
        _log.error("unexpected_error", error=type(error).__name__, message=str(error))
        return _broken()
    if isinstance(error, PublishFailed):
        error = SlowDown("The log did not take it, so it is not safe yet.", fix="Retry with the same Idempotency-Key.")
    headers = {}
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        wait_s = error.retry_after_s if isinstance(error, SlowDown) else 1.0
        headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="tiebreak"'
    code = error.refusal if isinstance(error, Refused) else status.name.lower()
    fix = {"fix": error.fix} if error.fix else {}
    return problem(status, code, str(error), headers, **fix)


def of_validation(error: RequestValidationError) -> Response:
    """Which fields are wrong and why, without their values (the default handler answers 500 to a NaN it tries to repeat)."""
    wrong = [
        {"field": ".".join(str(part) for part in e["loc"][:8])[:200], "problem": _problem_of(e), **_limit_of(e)}
        for e in error.errors()[:_MAX_FIELDS]
    ]
    fix = "Correct the fields under `errors`; the OpenAPI document describes them."
    detail = f"The request is not as described. {fix}"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail, fix=fix, errors=wrong)


def _problem_of(wrong: Mapping[str, Any]) -> str:
    """The kind of it; what our own models refuse (``value_error``) is named by their error."""
    own = wrong.get("ctx", {}).get("error") if wrong["type"] == "value_error" else None
    return str(own or wrong["type"])


def _limit_of(wrong: Mapping[str, Any]) -> Mapping[str, object]:
    kept = wrong.get("ctx", {})
    return next(({"limit": kept[name]} for name in _LIMITS if isinstance(kept.get(name), int | float)), {})


def of_http(error: HTTPException) -> Response:
    """What the framework itself refuses: no such route, wrong method, body too large, not JSON."""
    status = HTTPStatus(error.status_code)
    # Python's own name for 413 changes between versions.
    code = "too_large" if error.status_code == 413 else status.name.lower()
    if error.status_code not in _OF_HTTP:
        return problem(status, code, status.phrase, error.headers)
    message, fix = _OF_HTTP[error.status_code]
    return problem(status, code, f"{message} {fix}", error.headers, fix=fix)


def of_bug(error: Exception) -> Response:
    """What nobody expected: logged by its kind alone, since its words may repeat what was sent."""
    _log.error("unexpected_error", error=type(error).__name__)
    return _broken()


def install(app: FastAPI, metrics: Metrics) -> None:
    """Answer every error of ``app`` with a problem document."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, TiebreakError)  # noqa: S101 - what it is registered for
        if isinstance(error, Refused):
            metrics.count("tiebreak_labeling_refusals_total", reason=error.refusal)
        return of_error(error)

    async def validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
        return of_validation(error)

    async def framework(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
        return of_http(error)

    async def unexpected(_: Request, error: Exception) -> Response:
        return of_bug(error)

    app.add_exception_handler(TiebreakError, ours)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, unexpected)


def _broken() -> Response:
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Something broke on our side. Nothing was accepted.")

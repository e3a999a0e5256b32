"""What can go wrong between a program and the API: one class per thing that a program does differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PREFIX = "urn:tiebreak:problem:"


class ApiError(Exception):
    """The API said no. ``code`` is for programs (``stale_lease``), ``detail`` and ``fix`` are for people.

    ``status`` 0: it did not answer at all. ``fields``: which fields are wrong, and the kind of mistake.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("type", "")).removeprefix(_PREFIX)
        self.detail = str(problem.get("detail", "")) or f"status {status}"
        self.fix = str(problem.get("fix", ""))
        self.fields = tuple((str(e.get("field", "")), str(e.get("problem", ""))) for e in problem.get("errors", ()))
        super().__init__(self.detail if not self.fields else f"{self.detail} {self.fields}")


class Denied(ApiError):
    """The token is not (or no longer) good, or its role does not allow this."""


class NotFound(ApiError):
    """No such thing, or not yours."""


class Conflict(ApiError):
    """The lease is over, the task is settled, or the key was used for something else. Do not retry: claim again."""


class Invalid(ApiError):
    """What was sent is not as described."""


class Unavailable(ApiError):
    """Not now, after all retries. Nothing is known to be taken: the same call with the same ``key`` is safe."""


_KINDS: Mapping[int, type[ApiError]] = {
    0: Unavailable,
    400: Invalid,
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    422: Invalid,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(status: int, problem: object) -> ApiError:
    """The exception for an answer; one without a problem document (a proxy's) has its status alone."""
    return _KINDS.get(status, ApiError)(status, problem if isinstance(problem, dict) else {})

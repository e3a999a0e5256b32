"""The closed set of errors. They know no transport: ``labeling/http.py`` maps them to statuses, the CLI to exit codes.

Two kinds of *no* matter on a stream: :class:`SlowDown` ("I will retry this") and :class:`BadRecord`
("this record is bad, set it aside"). They must never be confused: retrying a bad record stops a
partition for ever, setting aside a good one loses it.
"""

from __future__ import annotations

from enum import StrEnum


class TiebreakError(Exception):
    """Base of every error of ours. ``fix`` says what the reader can do about it."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".rstrip()


class ConfigError(TiebreakError):
    """A setting or the project file is wrong. The message names the key and the range."""


class Unreachable(TiebreakError):
    """A server we depend on does not answer (broker, Redis, a taken port)."""


class SlowDown(TiebreakError):
    """Not now: retry after ``retry_after_s`` seconds. Nothing was taken, nothing is lost."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.retry_after_s = retry_after_s


class DeadReason(StrEnum):
    """Why a record went to ``dead``. A closed set: it is a metric label."""

    UNDECODABLE = "undecodable"
    EMPTY = "empty"
    OVERSIZED = "oversized"
    UNKNOWN_PROJECT = "unknown_project"
    WRONG_TENSOR = "wrong_tensor"
    NOT_FINITE = "not_finite"
    DUPLICATE_ID = "duplicate_id"
    UNKNOWN_CLASS = "unknown_class"
    UNKNOWN_TASK = "unknown_task"
    MODEL_FAILED = "model_failed"


class BadRecord(TiebreakError):
    """This record can never be processed: it goes to ``dead`` and its partition goes on."""

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TooManyBadRecords(TiebreakError):
    """Most records are bad: the producer or the schema is wrong, so the stage stops instead of draining all into ``dead``."""


class PublishFailed(TiebreakError):
    """At least one record was not acknowledged. Its outcome is *unknown*, not failed: publish again, ids make it harmless."""


class ClockRefused(PublishFailed):
    """The log does not believe the time that a record carries: no write is taken until one of the two clocks is set."""


class NotAssigned(TiebreakError):
    """A commit for a partition this member no longer owns: drop the work, the new owner repeats it."""


class PositionLost(TiebreakError):
    """The next record to read is no longer (or not yet) in the log. A silent jump would lose records, so a person decides."""


class Unreadable(TiebreakError):
    """A record that the client cannot hand out (above the fetch size). The message names partition and offset."""


class ModelRefused(TiebreakError):
    """A model file failed a check. Serving is untouched."""


class CheckLate(ModelRefused):
    """The check did not end in time by the clock, though it had processor time left: on a machine with more of it, it may pass."""


class NotFound(TiebreakError):
    """No such thing, or not yours: the answer is the same for both."""


class Conflict(TiebreakError):
    """A stale lease, a settled task, or the same idempotency key with another body."""


class Invalid(TiebreakError):
    """A value outside its range or its class set."""


class Unauthenticated(TiebreakError):
    """No token, or one that is unknown or expired."""


class Forbidden(TiebreakError):
    """The principal is known and its role does not allow this."""

"""The words of the queue's refusals: one place, so that both adapters say the same. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tiebreak.contracts.errors import NotFound, SlowDown
from tiebreak.labeling.port import Refusal, Refused

_WORDS: Mapping[Refusal, tuple[str, str]] = {
    Refusal.STALE_LEASE: ("This lease is no longer the newest one on the task.", "Claim again."),
    Refusal.SETTLED: (
        "The task was settled meanwhile: an answer to it is not counted any more.",
        "Claim the next one.",
    ),
    Refusal.EXPIRED: (
        "The task's time is over: nobody had answered it, and it was taken off the queue.",
        "Claim the next one.",
    ),
    Refusal.WITHDRAWN: (
        "The task was taken back: a newer model decides it by now.",
        "Claim the next one.",
    ),
    Refusal.ERASED: (
        "The task is gone: what it was about was erased, and your answer with it.",
        "Claim the next one.",
    ),
    Refusal.ALREADY_ANSWERED: (
        "You have answered this task already.",
        "Undo that answer first, or claim the next task.",
    ),
    Refusal.KEY_REUSED: ("This Idempotency-Key was used for another request.", "Use a new key for a new request."),
    Refusal.IN_PROGRESS: ("Another answer of yours to this task is being stored.", "Retry it with its own key."),
    Refusal.PAUSED: (
        "You get no new tasks for now: too many of your answers to questions with known answers differ from them.",
        "Read the guidelines again and talk to a manager, who can let you go on.",
    ),
    Refusal.AT_CAP: (
        "The money for this project's answers is spent.",
        "Ask a manager: `labeling.cost_cap` can be raised.",
    ),
    Refusal.TOO_LATE_TO_UNDO: (
        "The time to undo this answer is over.",
        "Withdraw it, or ask a reviewer to correct it.",
    ),
    Refusal.CONTENT_GONE: (
        "The content of this task is gone for good, so its answer cannot be taken back here.",
        "`tiebreak ledger retract` takes answers out of the models.",
    ),
    Refusal.NOT_IN_REVIEW: (
        "This task is not in review: it is answered without a look at what others said.",
        "Answer it like any other.",
    ),
}


def refused(refusal: Refusal) -> Refused:
    """The error for ``refusal``."""
    message, fix = _WORDS[refusal]
    return Refused(refusal, message, fix=fix)


def not_found() -> NotFound:
    """No such task, or not yours: the same words for both."""
    return NotFound("There is no such task.", fix="Claim one first.")


def no_answer() -> NotFound:
    """No such answer, or not yours, or none that stands: the same words for all."""
    return NotFound("There is no such answer of yours that stands.", fix="`GET /v1/me/annotations` lists yours.")


def no_task() -> NotFound:
    """No such task, for those who need not hold it."""
    return NotFound("There is no such task.", fix="`tiebreak explain` tells the id of an event's task.")


def building() -> SlowDown:
    """The index is missing and is being made again from the topics."""
    return SlowDown("The queue is being rebuilt from the log.", retry_after_s=1.0, fix="Retry shortly.")

"""What fills the bodies that people get all day: one mapping for the framework's models and for the two hot requests."""

from __future__ import annotations

from typing import Any, NamedTuple

from tiebreak.contracts.messages import Payload
from tiebreak.labeling.http_models import AnnotationOut, ClaimOut, PayloadOut
from tiebreak.labeling.payloads import shown
from tiebreak.labeling.port import Claimed, Lease
from tiebreak.labeling.stage_answers import Accepted


class Terms(NamedTuple):
    """What holds for everybody at one moment: durations in seconds, and the version of the schema."""

    lease_s: float
    undo_s: float
    schema: str


def payload_fields(payload: Payload | None) -> dict[str, Any]:
    """:class:`PayloadOut` of a payload, as the page shows it."""
    seen = shown(payload)
    return {
        "kind": seen.kind,
        "media_type": seen.media_type,
        "text": seen.text,
        "image": seen.image,
        "columns": seen.columns,
    }


def payload_out(payload: Payload | None) -> PayloadOut:
    """A payload as the page shows it."""
    return PayloadOut.model_validate(payload_fields(payload))


def _task_fields(lease: Lease, terms: Terms, reviews: bool) -> dict[str, Any]:
    task_id, payload, schema_version = lease.question
    held = {
        "id": f"{task_id}.{lease.token}",
        "token": lease.token,
        "claimed_ms": lease.claimed_ms,
        "deadline_ms": lease.deadline_ms,
        "lease_s": terms.lease_s,
    }
    return {
        "task_id": task_id,
        "lease": held,
        "payload": payload_fields(payload),
        "schema_version": schema_version,
        "answer_schema_version": terms.schema,
        "in_review": reviews and lease.review,
    }


def claim_fields(claimed: Claimed, terms: Terms, *, reviews: bool) -> dict[str, Any]:
    """:class:`ClaimOut`: what a person holds, or why it is nothing. ``reviews``: whether they may know what is in review."""
    return {
        "tasks": [_task_fields(lease, terms, reviews) for lease in claimed.leases],
        "reason": claimed.reason.value if claimed.reason else None,
        "retry_after_s": round(claimed.retry_after_s, 3),
    }


def claim_out(claimed: Claimed, terms: Terms, *, reviews: bool) -> ClaimOut:
    """What a person holds, or why it is nothing."""
    return ClaimOut.model_validate(claim_fields(claimed, terms, reviews=reviews))


def annotation_fields(accepted: Accepted, terms: Terms, *, reviews: bool) -> dict[str, Any]:
    """:class:`AnnotationOut` of an accepted answer."""
    a = accepted.annotation
    return {
        "annotation_id": a.annotation_id,
        "task_id": a.task_id,
        "value": a.value,
        "state": a.state,
        "revision": a.revision,
        "submitted_ms": a.submitted_ms,
        "undo_s": terms.undo_s,
        "task": _task_fields(accepted.lease, terms, reviews) if accepted.lease else None,
        "next": claim_fields(accepted.next, terms, reviews=reviews) if accepted.next else None,
    }


def annotation_out(accepted: Accepted, terms: Terms, *, reviews: bool) -> AnnotationOut:
    """An accepted answer."""
    return AnnotationOut.model_validate(annotation_fields(accepted, terms, reviews=reviews))

"""What the in-memory queue tells a reviewer of a task, and any holder of their lease, and how it forgets what people noted."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from tiebreak.contracts.messages import AnnotationState
from tiebreak.labeling.lifecycle import TaskState
from tiebreak.labeling.memory_state import Entry
from tiebreak.labeling.port import Lease, Refusal
from tiebreak.labeling.port_review import Dispute, DisputedAnswer
from tiebreak.labeling.refusals import refused
from tiebreak.labeling.schema_versions import SchemaVersion


def held(entry: Entry, deadline_ms: int) -> Lease:
    """The lease as its holder is told of it."""
    return Lease(entry.task, entry.token, entry.claimed_ms, deadline_ms, entry.state is TaskState.IN_REVIEW)


def dispute(entry: Entry, annotator: str) -> Dispute:
    """What this person, who was given the task, is told of it. Raises Refused."""
    if entry.gone_for(annotator):
        raise refused(Refusal.SETTLED)
    if entry.holder != annotator:
        raise refused(Refusal.STALE_LEASE)
    if entry.state is not TaskState.IN_REVIEW:
        raise refused(Refusal.NOT_IN_REVIEW)
    answers = tuple(
        DisputedAnswer(
            place,
            name,
            a.value,
            a.state,
            a.submitted_ms,
            a.lead_time_s,
            a.flagged,
            str(SchemaVersion(a.schema_version, a.schema_added)),
            a.comment,
        )
        for place, (name, a) in enumerate(entry.said.items(), 1)
        if a.state is not AnnotationState.WITHDRAWN
    )
    told_at, shares = entry.shares
    return Dispute(answers, shares if told_at == entry.sequence else {})


def forget_notes(entry: Entry, before_ms: float = inf) -> int:
    """Drop the notes of answers given before then; how many."""
    old = [name for name, a in entry.said.items() if a.comment and a.submitted_ms < before_ms]
    entry.said |= {name: replace(entry.said[name], comment="") for name in old}
    return len(old)

"""The text that the queue's scripts take and give, to and from our dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson

from tiebreak.contracts.codec import decode_label, decode_task, encode, peek
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, Task
from tiebreak.labeling.consensus import Ballot
from tiebreak.labeling.port import Applied, Done, Lease, Outcome, Question, Receipt, Reopen
from tiebreak.labeling.port_review import Dispute, DisputedAnswer, note_of
from tiebreak.labeling.schema_versions import SchemaVersion
from tiebreak.labeling.settling import TaskRecord

__all__ = [
    "Argument",
    "applied_of",
    "ballot_text",
    "dispute_of",
    "done_of",
    "encode",
    "forget_bodies",
    "label_of",
    "lease_of",
    "line_of",
    "note_text",
    "offer_of",
    "prefix_of",
    "receipt_of",
    "token_epoch_key",
]

Argument = str | bytes | int
# What an index of an earlier version does not say: suspect, lead time, flagged, the version of the schema.
_UNTOLD: Sequence[Any] = (False, 0.0, False, "")
_LEASE = ("token", "claimed_ms", "deadline_ms", "review")
# Bodies up to here are remembered when decoded, at most 1024 of them.
_SMALL = 16 * 1024


def prefix_of(project: str) -> str:
    """What every key of a project starts with.

    >>> prefix_of("digits")
    'tb:{digits}:'
    """
    return f"tb:{{{project}}}:"


def token_epoch_key(project: str) -> str:
    """Changes whenever a token is made or ended: what was known of tokens before is then to be asked again."""
    return f"{prefix_of(project)}token_epoch"


def task_of(body: bytes) -> Task:
    """The task of a body. A small one is remembered: the settler reads it again when its answer comes."""
    return _remembered(body) if len(body) <= _SMALL else decode_task(body)


@lru_cache(maxsize=1024)
def _remembered(body: bytes) -> Task:
    return decode_task(body)


def forget_bodies() -> None:
    """Keep no body in memory: one of them may be about somebody who is being erased."""
    _remembered.cache_clear()


class StoredLease(Lease):
    """A lease whose task is decoded when it is asked for: to show it to its holder takes a quarter of that."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes, token: int, claimed_ms: int, deadline_ms: int, review: bool) -> None:
        self._body: bytes
        for name, value in zip(("_body", *_LEASE), (body, token, claimed_ms, deadline_ms, review), strict=True):
            object.__setattr__(self, name, value)  # frozen

    @property
    def task(self) -> Task:
        return task_of(self._body)

    @property
    def question(self) -> Question:
        return Question(*peek(Task, self._body, *Question._fields))


def lease_of(item: Sequence[Any]) -> Lease:
    """``{id, token, claimed, deadline, body, in review}``."""
    _, token, claimed, deadline, body, review = item
    return StoredLease(body, int(token), int(claimed), int(deadline), bool(review))


def receipt_of(text: bytes) -> Receipt:
    """``<digest>|<revision>|<state>|<token>|<claimed>|<accepted>|<counted>|<review>``."""
    _, revision, state, *numbers = text.decode().split("|")
    token, claimed, accepted, counted, review = map(int, numbers)
    return Receipt(int(revision), AnnotationState(state), token, claimed, accepted, bool(counted), bool(review))


def line_of(a: Annotation) -> bytes:
    """A line of a person's history, after the time that the answer was given."""
    return b"%d|%b" % (a.submitted_ms, orjson.dumps([a.annotation_id, a.task_id, a.value, a.state, a.revision]))


def done_of(line: bytes) -> Done:
    """The inverse of :func:`line_of`."""
    at, _, rest = line.partition(b"|")
    annotation_id, task_id, value, state, revision = orjson.loads(rest)
    return Done(annotation_id, task_id, value, AnnotationState(state), revision, int(at))


def ballot_text(a: Annotation) -> bytes:
    """What a decision and a reviewer need of an annotation, beyond what the script keeps in fields of its own."""
    said = [a.annotation_id, a.annotator, a.value, a.submitted_ms, a.reviewer, a.suspect]
    return orjson.dumps([*said, a.lead_time_s, a.flagged, str(SchemaVersion(a.schema_version, a.schema_added))])


def note_text(a: Annotation) -> tuple[int, str]:
    """When the answer was given, and the note that came with it."""
    return a.submitted_ms, note_of(a)


def offer_of(t: Reopen) -> Sequence[Argument]:
    """Task, sequence, review, people by line, and what is told of the answers; empty where there is nothing to tell."""
    return t.task_id, t.sequence, int(t.review), "\n".join(t.people), orjson.dumps(t.shares) if t.shares else b""


def dispute_of(reply: Sequence[Any]) -> Dispute:
    """``{people by line, shares, {ballot, note}...}``."""
    people, shares, *fields = reply
    places = {name: place for place, name in enumerate(people.decode().split("\n"), 1) if name}
    found = sorted((_answer_of(text, note) for text, note in fields), key=lambda answer: answer.annotator)
    for answer in found:  # a task of an index of an earlier version
        places.setdefault(answer.annotator, len(places) + 1)
    standing = [replace(a, place=places[a.annotator]) for a in found if a.state is not AnnotationState.WITHDRAWN]
    return Dispute(tuple(sorted(standing, key=lambda a: a.place)), orjson.loads(shares) if shares else {})


def _answer_of(field: bytes, note: bytes) -> DisputedAnswer:
    _, _, _, state, text = field.split(b"|", 4)
    _, annotator, value, submitted_ms, _, *further = orjson.loads(text)
    _, lead_time_s, flagged, schema = further if len(further) == len(_UNTOLD) else _UNTOLD
    said = AnnotationState(state.decode())
    return DisputedAnswer(0, annotator, value, said, submitted_ms, lead_time_s, flagged, schema, note.decode())


def applied_of(item: Sequence[Any]) -> Applied:
    """``{outcome}`` or ``{outcome, sequence, label revision, settled at, unpublished label, body, {ballot...}}``."""
    outcome = Outcome(item[0].decode())
    if outcome in (Outcome.DONE, Outcome.UNKNOWN):
        return Applied(outcome)
    _, sequence, revision, settled_at, label, body, fields = item
    ballots = tuple(sorted((_ballot_of(field) for field in fields), key=lambda b: b.sequence))
    return Applied(outcome, TaskRecord(task_of(body), sequence, ballots, revision, settled_at, label_of(label)))


def _ballot_of(field: bytes) -> Ballot:
    sequence, replaces, revision, state, text = field.split(b"|", 4)
    annotation_id, annotator, value, submitted_ms, reviewer, *further = orjson.loads(text)
    return Ballot(
        annotation_id,
        annotator,
        value,
        int(revision),
        AnnotationState(state.decode()),
        submitted_ms,
        reviewer,
        int(sequence),
        int(replaces),
        bool(further and further[0]),  # an index of an earlier version does not say
    )


def label_of(raw: bytes) -> Label | None:
    """A stored label; None where there is none."""
    return decode_label(raw) if raw else None

"""The auditor: after the faults, does what is on the log and in the ledger agree with what the clients were told?

Pure. Evidence in, findings out; none means that invariants I1 to I8 hold for this run (the table is in docs/failures.md). The queue
is no evidence: it is an index, and may have been lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import TypeVar

from tests.support.journal import ANSWERS, Call, Outcome, Verb
from tiebreak.contracts.ids import annotation_id, label_id, task_id
from tiebreak.contracts.messages import Annotation, AnnotationState, DeadLetter, Label, Prediction, Task

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Place = tuple[int, int]
"""Partition and offset on the topic ``events``."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run, read after the faults have stopped and lag is zero. Topics in log order within a partition.

    ``places``: every record on ``events``. ``dead``: letters from ``events`` only. ``committed``: the scoring group's positions.
    ``ledger``: every label revision in it. ``weights`` and ``clean_weights``: its digest, and that of one clean pass over ``labels``.
    ``disturbed``: a batch of events may have been decided twice (its process was killed, its log went away). ``unlike``: what a
    sample of predictions was found to say otherwise than the model that each names.
    """

    project: str
    places: frozenset[Place] = frozenset()
    committed: Mapping[int, int] = field(default_factory=dict)
    predictions: Sequence[Prediction] = ()
    dead: Sequence[DeadLetter] = ()
    tasks: Sequence[Task] = ()
    annotations: Sequence[Annotation] = ()
    labels: Sequence[Label] = ()
    ledger: Sequence[Label] = ()
    weights: str = ""
    clean_weights: str = ""
    journal: Sequence[Call] = ()
    lease_s: float = 60.0
    votes: int = 1
    disturbed: bool = False
    unlike: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken invariant, with the id of what broke it."""

    invariant: str
    what: str


def audit(evidence: Evidence) -> list[Finding]:
    """Every finding, in the order of the invariants."""
    checks = (
        no_loss,
        no_double_count,
        no_invention,
        conservation,
        no_early_commit,
        one_holder,
        caught_up,
        named_model_answered,
    )
    return [Finding(check.__name__, what) for check in checks for what in check(evidence)]


def bound(lost: int, of: int) -> float:
    """What "``lost`` of ``of``" says of the true rate at 95 %: zero lost is at most 3/n (the rule of three); else none is given.

    >>> bound(0, 100_000)
    3e-05
    """
    return 3 / of if lost == 0 and of else float("nan")


def no_loss(e: Evidence) -> list[str]:
    """I1: every answer that was acknowledged is on ``annotations``, and the label it led to is in the ledger."""
    published = {a.idempotency_key for a in e.annotations}
    acknowledged = {c.key: c for c in e.journal if c.verb in ANSWERS and c.outcome is Outcome.OK}
    lost = [c for key, c in acknowledged.items() if key not in published]
    found = [f"answer {c.key} on task {c.task_id} was acknowledged and is not on the log" for c in lost]
    settled = {label.task_id for label in e.labels}
    found += [f"task {task} has all its votes and no label" for task in _decided(e) - settled]
    kept = {_revision(label) for label in e.ledger}
    missing = {_revision(label) for label in e.labels} - kept
    found += [f"label {i} revision {r} is on the log and not in the ledger" for i, r in missing]
    return sorted(found)


def no_double_count(e: Evidence) -> list[str]:
    """I2: an id means one thing however often it is published, counts once, and the weights are those of one clean pass."""
    found = [f"annotation {i} revision {r} was published with two contents" for i, r in _torn(e.annotations, _vote)]
    found += [f"label {i} revision {r} was published with two contents" for i, r in _torn(e.labels, _revision)]
    found += [f"label {i} revision {r} is in the ledger twice" for i, r in _repeated(map(_revision, e.ledger))]
    for label in e.ledger:
        twice = _repeated(v.annotator for v in label.votes)
        found += [f"label {label.label_id} counts annotator {annotator} twice" for annotator in twice]
    keys = {(a.idempotency_key, _vote(a)) for a in e.annotations}
    found += [f"answer {key} became two revisions" for key in _repeated(key for key, _ in keys)]
    if e.weights != e.clean_weights:
        found.append(f"weights {e.weights} differ from those of one clean pass ({e.clean_weights})")
    return sorted(found)


def no_invention(e: Evidence) -> list[str]:
    """I3: nothing is on the log that no client sent, nothing counts in the ledger that a client was told had failed.

    A vote that came after its task was settled is refused and yet kept on the log, as late: it may not count.
    """
    sent = {(c.key, c.task_id, c.annotator, c.value) for c in e.journal if c.verb in ANSWERS}
    found, key_of = [], {}
    for a in e.annotations:
        key_of[_vote(a), a.value] = a.idempotency_key
        if (a.idempotency_key, a.task_id, a.annotator, a.value) not in sent:
            found.append(f"answer {a.idempotency_key} on task {a.task_id} is on the log and nobody sent it")
        if a.annotation_id != annotation_id(a.task_id, a.annotator):
            found.append(f"annotation {a.annotation_id} is not the id of its task and annotator")
    published = {_revision(label): label for label in e.labels}
    for label in e.ledger:
        if published.get(_revision(label)) != label or label.label_id != label_id(label.task_id):
            found.append(f"label {label.label_id} revision {label.revision} in the ledger is not the one on the log")
        for vote in label.votes:
            key = key_of.get(((vote.annotation_id, vote.revision), vote.value))
            if key is None or _outcome(e, key) is Outcome.FAIL:
                why = "is not on the log" if key is None else "its sender was told had failed"
                found.append(f"label {label.label_id} counts vote {vote.annotation_id}, which {why}")
    return sorted(set(found))


def conservation(e: Evidence) -> list[str]:
    """I4: each input offset is exactly one of predicted or dead; each selected event is exactly one task.

    A batch that is decided again may be decided otherwise (another model serves, other budget is left, the thresholds are a
    few seconds old): its newest predictions are those whose tasks were acknowledged before the position moved, and a task of
    the first decision stands, though the prediction that announced it may never have reached the log.
    """
    predicted = {(p.source_partition, p.source_offset) for p in e.predictions}
    dead = {(d.partition, d.offset) for d in e.dead}
    found = [f"event at {place} is neither predicted nor dead" for place in e.places - predicted - dead]
    found += [f"event at {place} is predicted and dead" for place in predicted & dead]
    found += [f"place {place} is predicted or dead and holds no event" for place in (predicted | dead) - e.places]
    names = _grouped({((p.source_partition, p.source_offset), p.event_id) for p in e.predictions})
    found += [f"event at {place} is predicted under two ids" for place, ids in names.items() if len(ids) > 1]
    newest = {(p.source_partition, p.source_offset): p for p in e.predictions}
    selected = {p.event_id for p in (newest.values() if e.disturbed else e.predictions) if p.selected}
    announced = {p.event_id for p in e.predictions} if e.disturbed else selected
    asked = _grouped((t.event_id, t.task_id) for t in e.tasks)
    found += [f"event {event} was selected and is no task" for event in selected - asked.keys()]
    found += [f"event {event} is a task and was never selected" for event in asked.keys() - announced]
    offered = {t.task_id for t in e.tasks if not t.withdrawn_by}
    found += [f"task {t.task_id} was taken back and never asked" for t in e.tasks if t.task_id not in offered]
    wrong = [event for event, tasks in asked.items() if set(tasks) != {task_id(e.project, event)}]
    found += [f"event {event} is not exactly its one task" for event in wrong]
    return sorted(found)


def no_early_commit(e: Evidence) -> list[str]:
    """I5: below a committed position there is no record whose effects are not on the log."""
    done = {(p.source_partition, p.source_offset) for p in e.predictions} | {(d.partition, d.offset) for d in e.dead}
    passed = {place for place in e.places if place[1] < e.committed.get(place[0], 0)}
    return sorted(f"position {e.committed[place[0]]} passed {place}, which has no outcome" for place in passed - done)


def one_holder(e: Evidence) -> list[str]:
    """I6: tokens grow, no two people hold a task at once, and what was accepted in time had the newest token."""
    claims = (c for c in e.journal if c.verb is Verb.CLAIM and c.outcome is Outcome.OK)
    found = set()
    for task, grants in _grouped((c.task_id, c) for c in claims).items():
        for first, later in permutations(grants, 2):
            if later.began_s <= first.ended_s:
                continue
            renewed = (later.annotator, later.token) == (first.annotator, first.token)
            if later.token <= first.token and not renewed:
                found.add(f"task {task}: token {later.token} was given after token {first.token}")
            if later.annotator != first.annotator and later.ended_s < _held_until(e, first):
                found.add(f"task {task} was held by {first.annotator} and {later.annotator} at once")
        found.update(f"task {task}: token {t} was given to two people" for t in _shared_tokens(grants))
        found.update(_stale(e, task, grants))
    return sorted(found)


def caught_up(e: Evidence) -> list[str]:
    """I7: once the faults are over nothing is left unread. (That every task has its label by then is what the run waits for.)"""
    left = sorted(place for place in e.places if place[1] >= e.committed.get(place[0], 0)) if e.committed else []
    return [f"event at {place} was never committed" for place in left]


def named_model_answered(e: Evidence) -> list[str]:
    """I8: a prediction is what the model that it names gives for that event."""
    return sorted(e.unlike)


def _held_until(e: Evidence, grant: Call) -> float:
    """Until when the holder certainly holds it: the lease began at the call at the earliest; it is given back."""
    ends = [
        c.began_s
        for c in e.journal
        if (c.task_id, c.annotator) == (grant.task_id, grant.annotator)
        and c.verb in {Verb.SUBMIT, Verb.SKIP, Verb.RELEASE}
        and c.began_s > grant.began_s
    ]
    return min([grant.began_s + e.lease_s, *ends])


def _stale(e: Evidence, task: str, grants: Sequence[Call]) -> list[str]:
    """Votes counted as in time though a newer token had been given before they were sent."""
    in_time = {
        a.idempotency_key for a in e.annotations if a.state in {AnnotationState.SUBMITTED, AnnotationState.SKIPPED}
    }
    votes = [c for c in e.journal if c.verb in {Verb.SUBMIT, Verb.SKIP} and c.task_id == task and c.key in in_time]
    first_try = {c.key: min(v.began_s for v in votes if v.key == c.key) for c in votes}
    return [
        f"task {task}: vote {c.key} with token {c.token} was accepted after token {newest}"
        for c in votes
        if (newest := max((g.token for g in grants if g.ended_s < first_try[c.key]), default=0)) > c.token
    ]


def _shared_tokens(grants: Sequence[Call]) -> list[int]:
    people = _grouped((g.token, g.annotator) for g in grants)
    return [token for token, annotators in people.items() if len(set(annotators)) > 1]


def _outcome(e: Evidence, key: str) -> Outcome:
    """What a client knows after all its attempts with one key: one ``ok`` decides, then one unknown."""
    outcomes = {c.outcome for c in e.journal if c.key == key}
    return next((o for o in (Outcome.OK, Outcome.INFO, Outcome.FAIL) if o in outcomes), Outcome.INFO)


def _decided(e: Evidence) -> set[str]:
    """Tasks whose standing votes leave no choice: as many as wanted, and all the same."""
    newest: dict[str, Annotation] = {}
    for a in e.annotations:
        if a.annotation_id not in newest or a.revision >= newest[a.annotation_id].revision:
            newest[a.annotation_id] = a
    counting = {AnnotationState.SUBMITTED, AnnotationState.LATE}
    votes = _grouped((a.task_id, a.value) for a in newest.values() if a.state in counting)
    wanted = {t.task_id: t.votes_wanted or e.votes for t in e.tasks}
    return {
        task
        for task, values in votes.items()
        if task in wanted and len(values) >= wanted[task] and len(set(values)) == 1
    }


def _vote(a: Annotation) -> tuple[str, int]:
    return a.annotation_id, a.revision


def _revision(label: Label) -> tuple[str, int]:
    return label.label_id, label.revision


def _grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    groups: dict[K, list[V]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def _torn(items: Iterable[V], key: Callable[[V], K]) -> list[K]:
    """Keys whose items are not all equal."""
    return [
        k for k, same in _grouped((key(item), item) for item in items).items() if any(item != same[0] for item in same)
    ]


def _repeated(keys: Iterable[K]) -> list[K]:
    return [key for key, same in _grouped((key, None) for key in keys).items() if len(same) > 1]

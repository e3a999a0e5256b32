"""From a task and its ordered answers to the next message on ``labels``, or to nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tiebreak.contracts.ids import label_id, unit_hash
from tiebreak.contracts.messages import Annotation, Label, LabelMethod, Task, Vote
from tiebreak.contracts.project import Project
from tiebreak.labeling.consensus import Ask, Ballot, Consensus, Review, Rule, Settle, ballot_of


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What the queue knows of a task after an answer was applied.

    ``ballots`` in log order. ``sequence`` counts applied answers. ``label_revision`` 0: never settled. ``settled_at``: the
    sequence at which the label that now stands was settled, 0 when none stands. ``unpublished``: a decision already taken
    whose publication is not yet known to have succeeded: it is published again as it is, never decided anew.
    """

    task: Task
    sequence: int
    ballots: tuple[Ballot, ...]
    label_revision: int = 0
    settled_at: int = 0
    unpublished: Label | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """A settled task as the log has it: its content, and each person's newest answer with the ballot that it made.

    ``sequence``: how many answers were folded.
    """

    task: Task
    sequence: int
    given: Mapping[str, tuple[Annotation, Ballot]]


def remembered(task: Task, answers: Iterable[Annotation]) -> Remembered:
    """What became of ``task`` by its ``answers``, in the order of the log; a revision that came twice, or late, counts once."""
    sequence, given = 0, dict[str, tuple[Annotation, Ballot]]()
    for a in answers:
        old = given.get(a.annotator)
        if old is None or old[1].revision < a.revision:
            sequence += 1
            given[a.annotator] = a, ballot_of(a, sequence, old[1] if old else None)
    return Remembered(task, sequence, given)


@dataclass(frozen=True, slots=True)
class Step:
    """What follows: a decision to store (first writer wins) and publish as stored, and whom to offer the task to, if anybody."""

    publish: Label | None = None
    offer: Ask | Review | None = None


def rule_of(project: Project, task: Task) -> Rule:
    """The task's own number of votes where it has one, within the project's bounds."""
    labeling = project.labeling
    votes = task.votes_wanted or labeling.votes
    if labeling.consensus == "dawid_skene" and unit_hash(0, "checked", task.task_id) < labeling.checked_share:
        votes = max(votes, 2)
    return Rule(votes, max(votes, labeling.max_votes), labeling.agreement, labeling.confidence)


def next_step(record: TaskRecord, consensus: Consensus, rule: Rule) -> Step:
    """What follows from ``record``.

    A label that stands is touched only when an answer it counted is taken back, or a reviewer speaks: surplus answers change
    nothing. A decision not yet known to be published is returned as it is, which makes a replay publish the same bytes.
    """
    if record.settled_at and not _overturned(record):
        return Step(record.unpublished)
    decision = consensus.decide(record.ballots, rule)
    if isinstance(decision, Settle):
        return Step(build_label(record, decision))
    return Step(_withdrawn(record) if record.settled_at else record.unpublished, decision)


def _overturned(record: TaskRecord) -> bool:
    newer = [b for b in record.ballots if b.sequence > record.settled_at]
    return any(0 < b.replaces <= record.settled_at or (b.reviewer and b.counts) for b in newer)


def build_label(record: TaskRecord, decision: Settle) -> Label:
    """The label of ``decision``: nothing in it but what the task and the ordered answers say, so a replay builds the same."""
    task = record.task
    votes = tuple(
        Vote(b.annotation_id, b.annotator, b.value, b.revision, w)
        for b, w in zip(decision.ballots, decision.weights, strict=True)
    )
    return Label(
        label_id=label_id(task.task_id),
        task_id=task.task_id,
        event_id=task.event_id,
        project=task.project,
        revision=record.label_revision + 1,
        value=decision.value,
        distribution=dict(decision.distribution),
        confidence=decision.confidence,
        method=decision.method,
        votes=votes,
        features=task.features,
        selection=task.selection,
        predicted=task.predicted,
        event_time_ms=task.event_time_ms,
        settled_ms=_newest_ms(record.ballots),
        schema_version=task.schema_version,
        subject=task.subject,
        unlabelled=task.unlabelled,
    )


def _withdrawn(record: TaskRecord) -> Label:
    nobody = Settle("", {}, 0.0, LabelMethod.CONSENSUS, (), ())
    return replace(build_label(record, nobody), withdrawn=True)


def _newest_ms(ballots: Sequence[Ballot]) -> int:
    return max((b.submitted_ms for b in ballots), default=0)

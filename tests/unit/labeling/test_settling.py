"""From ordered answers to labels: every rule of consensus and settling, without a queue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.labeling import a_project, a_task
from tiebreak.contracts.ids import annotation_id, label_id
from tiebreak.contracts.messages import AnnotationState, Label, LabelMethod, Vote
from tiebreak.labeling.consensus import Ask, Ballot, Decision, Review, Rule, Settle, WeightedVote, majority
from tiebreak.labeling.settling import Step, TaskRecord, next_step, rule_of

SUBMITTED, SKIPPED, WITHDRAWN = AnnotationState.SUBMITTED, AnnotationState.SKIPPED, AnnotationState.WITHDRAWN
THREE = Rule(votes=3, max_votes=5, agreement=0.6)
TASK = a_task(1)


def ballots(*values: str) -> tuple[Ballot, ...]:
    """One ballot per person in order; '-' is a skip, a value in capitals comes from a reviewer."""
    return tuple(
        Ballot(
            annotation_id(TASK.task_id, f"p{i}"),
            f"p{i}",
            "" if value == "-" else value.lower(),
            1,
            SKIPPED if value == "-" else SUBMITTED,
            1000 + i,
            reviewer=value.isupper(),
            sequence=i + 1,
        )
        for i, value in enumerate(values)
    )


def outcome(decision: Decision) -> tuple[str, float] | str:
    match decision:
        case Settle():
            return decision.value, round(decision.confidence, 3)
        case Ask():
            return "ask"
        case Review():
            return "review"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("", "ask"),
        ("a", "ask"),
        ("aa", "ask"),
        ("aaa", ("a", 1.0)),
        ("aab", ("a", 0.667)),
        ("abc", "ask"),
        ("abca", "ask"),
        ("abcaa", ("a", 0.6)),
        ("aabb", "ask"),
        ("aabbc", "review"),
        ("-aaa", ("a", 1.0)),
        ("-----", "review"),
        ("----", "ask"),
        ("-a-b-", "review"),
        ("abcB", ("b", 1.0)),
        ("A", ("a", 1.0)),
    ],
)
def test_majority_settles_asks_or_reviews(values: str, expected: object) -> None:
    """Three votes and 60 % settle; a disagreement asks up to five people, then a reviewer, whose word is final."""
    assert outcome(majority().decide(ballots(*values), THREE)) == expected


def test_one_vote_settles_where_one_is_wanted() -> None:
    """The default project: one person, one label, certain as far as votes go."""
    (vote,) = ballots("a")
    decision = majority().decide([vote], Rule(1, 5, 0.6))
    assert decision == Settle("a", {"a": 1.0}, 1.0, LabelMethod.CONSENSUS, (vote,), (1.0,))


def test_a_weighty_person_can_outvote_two() -> None:
    """Shares are of the weight, not of the heads."""
    decision = WeightedVote({"p0": 4.0}).decide(ballots("a", "b", "b"), THREE)
    assert isinstance(decision, Settle)
    assert (decision.value, decision.distribution, decision.weights) == ("a", {"a": 4 / 6, "b": 2 / 6}, (4.0, 1.0, 1.0))


def step(record: TaskRecord) -> Step:
    return next_step(record, majority(), rule_of(a_project(), TASK))


def first_label() -> tuple[TaskRecord, Label]:
    record = TaskRecord(TASK, 1, ballots("dog"))
    label = step(record).publish
    assert label is not None
    return record, label


def test_a_label_says_everything_a_trainer_needs() -> None:
    """Features, selection and votes travel with it; its time is that of the newest answer, so a replay builds the same."""
    _, label = first_label()
    assert label == Label(
        label_id=label_id(TASK.task_id),
        task_id=TASK.task_id,
        event_id=TASK.event_id,
        project="pets",
        revision=1,
        value="dog",
        distribution={"dog": 1.0},
        confidence=1.0,
        method=LabelMethod.CONSENSUS,
        votes=(Vote(annotation_id(TASK.task_id, "p0"), "p0", "dog", 1, 1.0),),
        features=TASK.features,
        selection=TASK.selection,
        predicted="cat",
        event_time_ms=TASK.event_time_ms,
        settled_ms=1000,
        schema_version=1,
    )


def test_a_decision_not_yet_published_is_given_out_again_unchanged() -> None:
    """A replay publishes what was decided, even where it would decide otherwise today."""
    record, label = first_label()
    odd = replace(label, confidence=0.5)
    again = replace(record, label_revision=1, settled_at=1, unpublished=odd)
    assert step(again) == Step(odd)
    assert step(replace(again, unpublished=None)) == Step()


def test_a_surplus_answer_changes_nothing() -> None:
    """A late vote after the label, and its withdrawal, leave the label alone."""
    extra = TaskRecord(TASK, 2, ballots("dog", "cat"), label_revision=1, settled_at=1)
    (first, second) = extra.ballots
    gone = replace(second, state=WITHDRAWN, value="", revision=2, sequence=3, replaces=2)
    assert step(extra) == Step()
    assert step(replace(extra, sequence=3, ballots=(first, gone))) == Step()


def test_what_came_along_with_a_task_is_on_its_label() -> None:
    """Unlabelled events beside the question teach from the label on: nothing else is replayed to rebuild a model."""
    record = TaskRecord(replace(TASK, unlabelled=b"0123"), 1, ballots("dog"))
    label = next_step(record, majority(), rule_of(a_project(), TASK)).publish
    assert label is not None
    assert label.unlabelled == b"0123"


def test_taking_back_a_counted_answer_withdraws_the_label_or_replaces_it() -> None:
    """Nobody left: a withdrawn revision and a new offer. Another answer there: the next revision with its value."""
    (vote,) = ballots("dog")
    gone = replace(vote, state=WITHDRAWN, value="", revision=2, sequence=2, replaces=1)
    alone = step(TaskRecord(TASK, 2, (gone,), label_revision=1, settled_at=1))
    other = replace(ballots("x", "cat")[1], sequence=2)
    replaced = step(TaskRecord(TASK, 3, (other, replace(gone, sequence=3)), label_revision=1, settled_at=1))
    assert alone.publish is not None
    assert (alone.publish.revision, alone.publish.withdrawn, alone.offer) == (2, True, Ask())
    assert replaced.publish is not None
    assert (replaced.publish.revision, replaced.publish.value, replaced.publish.withdrawn) == (2, "cat", False)


def test_the_task_may_want_more_votes_than_the_project() -> None:
    """`votes_wanted` of a task wins, and the most that may be asked follows."""
    assert rule_of(a_project(), replace(TASK, votes_wanted=9)) == Rule(votes=9, max_votes=9, agreement=0.6)

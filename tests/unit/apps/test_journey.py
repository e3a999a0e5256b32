"""`explain` tells what the topics say of one event, in the order in which it happened."""

from __future__ import annotations

from dataclasses import replace

from tests.support.labels import make_label
from tiebreak.apps.journey import Journey, story
from tiebreak.contracts.codec import encode
from tiebreak.contracts.errors import DeadReason
from tiebreak.contracts.ids import annotation_id, label_id, task_id
from tiebreak.contracts.log import StoredRecord
from tiebreak.contracts.messages import (
    Annotation,
    AnnotationState,
    DeadLetter,
    Manifest,
    ModelEvent,
    ModelRecord,
    Prediction,
    Reason,
    Selection,
    Task,
)
from tiebreak.contracts.project import Answer, AnswerKind, Labeling, RoutingRule

TASK = task_id("p", "e1")
PICKED = Selection("margin", 0.91, 0.85, 0.042, Reason.UNCERTAIN, False, "v1", "abcdef0123456789")


def _record(topic: str, key: str, message: object) -> StoredRecord:
    return StoredRecord(f"tiebreak.p.{topic}", 0, 0, 0, key.encode(), encode(message))


def _prediction(event: str, selected: bool) -> Prediction:
    return Prediction(event, "v1", "cat", (0.5, 0.46, 0.04), 0.91, "margin", selected, 0, 7, 1_000)


def _task() -> Task:
    return Task(
        TASK,
        "p",
        "e1",
        None,
        (1.0,),
        "cat",
        (0.5, 0.46, 0.04),
        ("cat", "dog", "cow"),
        PICKED,
        0.9,
        "normal",
        2,
        1,
        1,
        1,
    )


def _vote() -> Annotation:
    return Annotation(
        annotation_id(TASK, "ann"), TASK, "p", "ann", 2, AnnotationState.SUBMITTED, "dog", 5, 3.25, 1, 2, 1
    )


def test_the_whole_way_from_score_to_the_models_trained_on_it() -> None:
    """Score, threshold, reason, propensity, task, votes, label, models: one line each, other events' records left out."""
    label = replace(make_label("e1", "dog", (0.0, 0.0), project="p"), confidence=0.97, selection=PICKED)
    served = ModelRecord("p", "v2", ModelEvent.PROMOTED, "0" * 64, "v1", 30, (), "", "gate", 5)
    journey = Journey("p", "e1")
    for record in (
        _record("predictions", "e1", _prediction("e1", True)),
        _record("predictions", "e2", _prediction("e2", False)),
        _record("tasks", TASK, _task()),
        _record("tasks", TASK, replace(_task(), withdrawn_by="v1.5", priority=0.0)),
        _record("annotations", TASK, _vote()),
        _record("labels", TASK, label),
        _record("models", "p", served),
        StoredRecord("tiebreak.p.labels", 0, 9, 0, TASK.encode(), b"\xff"),
    ):
        journey.take(record)
    for version, ids in (("v2", (label_id(TASK),)), ("v3", ("another",)), ("v4", (label_id(TASK),))):
        journey.take_manifest(Manifest("p", version, "0" * 64, 1, {}, (), 1.0, 30, 1, label_ids=ids))
    assert story(journey) == [
        ("scored", "cat (0.500) by v1; margin uncertainty 0.9100"),
        (
            "selected",
            "uncertain: margin 0.9100 against threshold 0.8500, propensity 0.04200, sampler state abcdef012345",
        ),
        ("task", f"{TASK}: 2 vote(s) wanted, lane normal"),
        ("decided", "model v1.5 took it back, if nobody had begun it"),
        ("answer", "ann: dog (submitted, revision 2, 3.2 s)"),
        ("label", "dog by consensus, confidence 0.970, revision 1"),
        ("trained", "v2 (served), v4"),
    ]


def test_the_lane_is_the_one_in_which_the_task_waits() -> None:
    """The project's rules move it from the lane on the log, which all tasks have; skill and deadline are theirs, too."""
    rule = RoutingRule(uncertainty_over=0.6, lane="triage", skill="pets", answer_within_s=60.0)
    journey = Journey("p", "e1", Labeling(rules=(rule,), skills={"pets": ("ann",)}))
    journey.take(_record("tasks", TASK, replace(_task(), created_ms=1_795_828_000_000)))
    ((_, told),) = [step for step in story(journey) if step[0] == "task"]
    assert (
        told == f"{TASK}: 2 vote(s) wanted, lane triage for people with the skill pets, due 2026-11-28T01:07:40+00:00"
    )


def test_what_an_annotator_had_to_say_is_told() -> None:
    """A flag and a comment were on the log, and nothing showed them to anybody."""
    journey = Journey("p", "e1")
    journey.take(_record("annotations", TASK, replace(_vote(), flagged=True, comment="two pets")))
    assert story(journey) == [("answer", "ann: dog (submitted, revision 2, 3.2 s, flagged): 'two pets'")]


def test_a_floor_is_told_as_what_it_is() -> None:
    """A question asked because a group was owed labels reached no threshold, and none is made up."""
    picked = replace(PICKED, reason=Reason.RARE, strategy="floor: slice night", uncertainty=0.12, threshold=0.0)
    journey = Journey("p", "e1")
    journey.take(_record("tasks", TASK, replace(_task(), selection=picked)))
    told = dict(story(journey))["selected"]
    assert told.startswith("rare: floor: slice night is owed labels, uncertainty 0.1200, propensity")


def test_the_price_of_a_question_is_told_where_prices_differ() -> None:
    """In ordinary answers, beside what it was weighed against."""
    journey = Journey("p", "e1")
    journey.take(_record("tasks", TASK, replace(_task(), selection=replace(PICKED, price=2.5))))
    told = dict(story(journey))["selected"]
    assert "margin 0.9100 against threshold 0.8500 at the price of 2.50 answers, propensity" in told


def test_an_audit_question_asked_where_two_models_differ_says_so() -> None:
    """Which champion and challenger differ, and what the label counts; where they agree it counts one."""
    picked = replace(PICKED, reason=Reason.AUDIT, audit=True, challenger="v2", weight=0.025)
    told = {}
    for weight in (0.025, 1.0):
        journey = Journey("p", "e1")
        journey.take(_record("tasks", TASK, replace(_task(), selection=replace(picked, weight=weight))))
        told[weight] = dict(story(journey))["selected"]
    assert told[0.025].endswith("; v1 and challenger v2 differ: looked for, counts 0.025")
    assert told[1.0].endswith("; v1 and challenger v2 agree: counts 1")


def test_a_question_of_a_burst_and_one_under_a_cap_say_what_they_count() -> None:
    """The weight in the error of a burst stands beside its id; a weight without a challenger is that of the cap per origin."""
    picked = replace(PICKED, reason=Reason.AUDIT, audit=True, burst_id="b7", burst_weight=0.25, weight=0.5)
    journey = Journey("p", "e1")
    journey.take(_record("tasks", TASK, replace(_task(), selection=picked)))
    told = dict(story(journey))["selected"]
    assert ", burst b7 (counts 0.25 in its error), sampler state" in told
    assert told.endswith("; an origin that sends too much is held back, counts 0.5")


def test_an_event_that_was_not_selected_says_so() -> None:
    """Most events end at their prediction."""
    journey = Journey("p", "e2")
    journey.take(_record("predictions", "e2", _prediction("e2", False)))
    assert [what for what, _ in story(journey)] == ["scored", "not asked"]


def test_a_dead_event_is_found_by_its_position() -> None:
    """What could not be read has no id: topic, partition and offset name it."""
    letter = DeadLetter("p", "tiebreak.p.events", 3, 41, DeadReason.NOT_FINITE, "x has NaN", b"\x00", "0" * 64, 1)
    journey = Journey("p", "tiebreak.p.events/3/41")
    journey.take(_record("dead", "k", letter))
    assert journey.known
    assert story(journey) == [
        ("set aside", "not_finite: x has NaN (raw bytes are on `dead`, from tiebreak.p.events/3/41)")
    ]


def test_nothing_is_known_of_an_event_that_never_came() -> None:
    """The command then says that no topic knows it."""
    assert not Journey("p", "never").known


def test_marks_teach_nobody_and_explain_says_so() -> None:
    """Not that no model has learned from them yet: none ever will."""
    journey = Journey("p", "e1", labeling=Labeling(answer=Answer(kind=AnswerKind.SPANS)))
    label = replace(make_label("e1", "[]", (), project="p", audit=True), task_id=TASK)
    journey.take(_record("labels", TASK, label))
    assert story(journey)[-1] == ("trained", "no model learns from spans answers")

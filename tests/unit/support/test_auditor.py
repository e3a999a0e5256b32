"""The auditor passes a clean run and catches each way of breaking a promise: an auditor that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.auditor import Evidence, Finding, audit
from tests.support.journal import Call, Outcome, Verb
from tiebreak.contracts.errors import DeadReason
from tiebreak.contracts.ids import annotation_id, label_id, task_id
from tiebreak.contracts.messages import (
    Annotation,
    AnnotationState,
    DeadLetter,
    Label,
    LabelMethod,
    Prediction,
    Reason,
    Selection,
    Task,
    Vote,
)

EVENTS = "tiebreak.p.events"
T1, T2 = task_id("p", "e0"), task_id("p", "e1")
WHY = Selection("margin", 0.5, 0.25, 1.0, Reason.UNCERTAIN, False, "v1", "")


def prediction(offset: int, *, selected: bool = False) -> Prediction:
    return Prediction(f"e{offset}", "v1", "cat", (1.0,), 0.5, "margin", selected, 0, offset, 1)


def task(event: str) -> Task:
    return Task(task_id("p", event), "p", event, None, (0.5,), "cat", (1.0,), ("cat",), WHY, 0.5, "normal", 1, 1, 1, 1)


def annotation(task: str, annotator: str, key: str, token: int, **changes: Any) -> Annotation:
    state = AnnotationState.SUBMITTED
    made = Annotation(annotation_id(task, annotator), task, "p", annotator, 1, state, "cat", token, 1.0, 1, 2, 1)
    return replace(made, idempotency_key=key, **changes)


def label(event: str, annotator: str, **changes: Any) -> Label:
    task = task_id("p", event)
    vote = Vote(annotation_id(task, annotator), annotator, "cat", 1, 1.0)
    made = Label(
        label_id=label_id(task),
        task_id=task,
        event_id=event,
        project="p",
        revision=1,
        value="cat",
        distribution={"cat": 1.0},
        confidence=1.0,
        method=LabelMethod.CONSENSUS,
        votes=(vote,),
        features=(0.5,),
        selection=WHY,
        predicted="cat",
        event_time_ms=1,
        settled_ms=2,
        schema_version=1,
    )
    return replace(made, **changes)


def letter(offset: int) -> DeadLetter:
    return DeadLetter("p", EVENTS, 0, offset, DeadReason.UNDECODABLE, "", b"x", "", 1)


def claim(annotator: str, task: str, token: int, at: float) -> Call:
    return Call(Verb.CLAIM, annotator, task, Outcome.OK, at, at + 0.5, token=token)


def submit(annotator: str, task: str, key: str, token: int, at: float, outcome: Outcome = Outcome.OK) -> Call:
    return Call(Verb.SUBMIT, annotator, task, outcome, at, at + 0.5, key, "cat", token)


CLEAN = Evidence(
    project="p",
    places=frozenset({(0, 0), (0, 1), (0, 2), (0, 3)}),
    committed={0: 4},
    # Everything may be published again by a replay: same ids, same content.
    predictions=[
        prediction(0, selected=True),
        prediction(1, selected=True),
        prediction(1, selected=True),
        prediction(2),
    ],
    dead=[letter(3), letter(3)],
    # A model took e1 back after somebody had begun it: a second record of the same task.
    tasks=[task("e0"), task("e1"), task("e1"), replace(task("e1"), withdrawn_by="v2")],
    annotations=[annotation(T1, "ann", "k1", 1), annotation(T1, "ann", "k1", 1), annotation(T2, "bob", "k2", 3)],
    labels=[label("e0", "ann"), label("e0", "ann"), label("e1", "bob")],
    ledger=[label("e0", "ann"), label("e1", "bob")],
    weights="w",
    clean_weights="w",
    journal=[
        claim("ann", T1, 1, 10.0),
        submit("ann", T1, "k1", 1, 12.0, Outcome.INFO),
        submit("ann", T1, "k1", 1, 13.0),
        claim("ann", T2, 2, 20.0),  # walks off: the lease ends by itself at 30
        claim("bob", T2, 3, 30.5),
        submit("bob", T2, "k2", 3, 32.0),
        claim("cid", T2, 4, 40.0),
        submit("cid", T2, "k3", 4, 41.0, Outcome.INFO),  # never arrived, and nobody was told it had
        submit("dan", T1, "k4", 9, 42.0, Outcome.FAIL),
    ],
    lease_s=10.0,
)


def test_a_clean_run_has_no_findings() -> None:
    """Replays, walk-offs, lost answers and refused calls are all within the promises."""
    assert audit(CLEAN) == []


def with_a_refused_vote(e: Evidence) -> Evidence:
    late = annotation(T1, "dan", "k4", 9, state=AnnotationState.LATE)
    counted = replace(e.ledger[0], votes=(*e.ledger[0].votes, Vote(late.annotation_id, "dan", "cat", 1, 1.0)))
    return replace(e, annotations=[*e.annotations, late], labels=[counted, e.labels[2]], ledger=[counted, e.ledger[1]])


BREAKS: dict[str, tuple[Callable[[Evidence], Evidence], list[tuple[str, str]]]] = {
    "an acknowledged vote is gone, and its label with it": (
        lambda e: replace(e, annotations=e.annotations[:2], labels=e.labels[:2], ledger=e.ledger[:1]),
        [("no_loss", f"answer k2 on task {T2} was acknowledged and is not on the log")],
    ),
    "a vote led to no label": (
        lambda e: replace(e, labels=e.labels[:2], ledger=e.ledger[:1]),
        [("no_loss", f"task {T2} has all its votes and no label")],
    ),
    "the trainer lost a label": (
        lambda e: replace(e, ledger=e.ledger[:1]),
        [("no_loss", f"label {label_id(T2)} revision 1 is on the log and not in the ledger")],
    ),
    "a task was taken back and never asked": (
        lambda e: replace(e, tasks=[replace(e.tasks[0], withdrawn_by="v2"), *e.tasks[1:]]),
        [("conservation", f"task {T1} was taken back and never asked")],
    ),
    "an annotation changed when it was published again": (
        lambda e: replace(e, annotations=[*e.annotations, annotation(T1, "ann", "k1", 1, lead_time_s=9.0)]),
        [("no_double_count", f"annotation {annotation_id(T1, 'ann')} revision 1 was published with two contents")],
    ),
    "a label changed when it was published again": (
        lambda e: replace(e, labels=[label("e0", "ann", settled_ms=9), *e.labels[1:]]),
        [("no_double_count", f"label {label_id(T1)} revision 1 was published with two contents")],
    ),
    "a label is in the ledger twice": (
        lambda e: replace(e, ledger=[*e.ledger, e.ledger[0]]),
        [("no_double_count", f"label {label_id(T1)} revision 1 is in the ledger twice")],
    ),
    "one person counts twice in a label": (
        lambda e: replace(
            e,
            labels=[(double := label("e0", "ann", votes=e.ledger[0].votes * 2)), e.labels[2]],
            ledger=[double, e.ledger[1]],
        ),
        [("no_double_count", f"label {label_id(T1)} counts annotator ann twice")],
    ),
    "a retry became a second answer": (
        lambda e: replace(e, annotations=[*e.annotations, annotation(T1, "ann", "k1", 1, revision=2)]),
        [("no_double_count", "answer k1 became two revisions")],
    ),
    "the weights depend on the faults": (
        lambda e: replace(e, weights="x"),
        [("no_double_count", "weights x differ from those of one clean pass (w)")],
    ),
    "an answer that nobody sent": (
        lambda e: replace(e, annotations=[*e.annotations, annotation(T1, "eve", "k9", 9)]),
        [("no_invention", f"answer k9 on task {T1} is on the log and nobody sent it")],
    ),
    "an answer under another's id": (
        lambda e: replace(e, annotations=[*e.annotations, annotation(T2, "cid", "k3", 4, annotation_id="0")]),
        [("no_invention", "annotation 0 is not the id of its task and annotator")],
    ),
    "a refused vote counts": (
        with_a_refused_vote,
        [
            (
                "no_invention",
                f"label {label_id(T1)} counts vote {annotation_id(T1, 'dan')}, which its sender was told had failed",
            )
        ],
    ),
    "a vote counts that is not on the log": (
        lambda e: replace(
            e,
            labels=[(made := label("e0", "ann", votes=(Vote("0", "eve", "cat", 1, 1.0),))), e.labels[2]],
            ledger=[made, e.ledger[1]],
        ),
        [("no_invention", f"label {label_id(T1)} counts vote 0, which is not on the log")],
    ),
    "the ledger holds another label than the log": (
        lambda e: replace(e, ledger=[label("e0", "ann", value="dog"), e.ledger[1]]),
        [("no_invention", f"label {label_id(T1)} revision 1 in the ledger is not the one on the log")],
    ),
    "an event was dropped, and the position passed it": (
        lambda e: replace(e, predictions=e.predictions[:3]),
        [
            ("conservation", "event at (0, 2) is neither predicted nor dead"),
            ("no_early_commit", "position 4 passed (0, 2), which has no outcome"),
        ],
    ),
    "an event is predicted and dead": (
        lambda e: replace(e, dead=[*e.dead, letter(2)]),
        [("conservation", "event at (0, 2) is predicted and dead")],
    ),
    "a prediction of nothing": (
        lambda e: replace(e, predictions=[*e.predictions, prediction(7)]),
        [("conservation", "place (0, 7) is predicted or dead and holds no event")],
    ),
    "one place under two ids": (
        lambda e: replace(e, predictions=[*e.predictions, replace(prediction(2), event_id="e9")]),
        [("conservation", "event at (0, 2) is predicted under two ids")],
    ),
    "a selected event became no task": (
        lambda e: replace(e, predictions=[*e.predictions, prediction(2, selected=True)]),
        [("conservation", "event e2 was selected and is no task")],
    ),
    "a task of an event that was not selected": (
        lambda e: replace(e, tasks=[*e.tasks, task("e2")]),
        [("conservation", "event e2 is a task and was never selected")],
    ),
    "an event became two tasks": (
        lambda e: replace(e, tasks=[*e.tasks, replace(task("e1"), task_id="0")]),
        [("conservation", "event e1 is not exactly its one task")],
    ),
    "a record was never read": (
        lambda e: replace(e, committed={0: 3}),
        [("caught_up", "event at (0, 3) was never committed")],
    ),
    "a prediction is not its model's": (
        lambda e: replace(e, unlike=["event e1: v1 says dog"]),
        [("named_model_answered", "event e1: v1 says dog")],
    ),
    "two people held a task at once": (
        lambda e: replace(e, journal=[*e.journal[:4], claim("bob", T2, 3, 25.0), *e.journal[5:]]),
        [("one_holder", f"task {T2} was held by ann and bob at once")],
    ),
    "a token did not grow": (
        lambda e: replace(e, journal=[*e.journal, claim("bob", T2, 4, 60.0)]),
        [
            ("one_holder", f"task {T2}: token 4 was given after token 4"),
            ("one_holder", f"task {T2}: token 4 was given to two people"),
        ],
    ),
    "a vote with an old token was accepted in time": (
        lambda e: replace(
            e,
            journal=[*e.journal, submit("ann", T2, "k5", 2, 50.0)],
            annotations=[*e.annotations, annotation(T2, "ann", "k5", 2)],
        ),
        [("one_holder", f"task {T2}: vote k5 with token 2 was accepted after token 4")],
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_broken_promise_is_found(name: str) -> None:
    """The clean run with one thing broken gives exactly the findings of that break."""
    change, findings = BREAKS[name]
    assert audit(change(CLEAN)) == [Finding(*finding) for finding in findings]


def test_a_late_vote_with_an_old_token_is_within_the_promises() -> None:
    """It is kept and flagged: what is forbidden is to count it as if it had been in time."""
    late = annotation(T2, "ann", "k5", 2, state=AnnotationState.LATE)
    journal = [*CLEAN.journal, submit("ann", T2, "k5", 2, 50.0, Outcome.FAIL)]
    assert audit(replace(CLEAN, journal=journal, annotations=[*CLEAN.annotations, late])) == []


def test_a_batch_decided_twice_may_be_decided_otherwise() -> None:
    """After a kill: the first decision's task stands without its prediction; the newest prediction's selection must be a task."""
    killed = replace(CLEAN, disturbed=True)
    taken_back = [*CLEAN.predictions, prediction(2, selected=True), prediction(2)]
    assert audit(replace(killed, predictions=taken_back)) == []
    assert audit(replace(killed, tasks=[*CLEAN.tasks, task("e2")])) == []
    selected = replace(killed, predictions=[*CLEAN.predictions, prediction(2), prediction(2, selected=True)])
    assert audit(selected) == [Finding("conservation", "event e2 was selected and is no task")]
    unknown = replace(killed, tasks=[*CLEAN.tasks, task("e3")])
    assert audit(unknown) == [Finding("conservation", "event e3 is a task and was never selected")]

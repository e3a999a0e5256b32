"""Kinds of answers: what is accepted, in which form, with which words it is refused, and what people's answers amount to."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from tests.support.eventually import eventually
from tests.support.labeling import Queues, a_project, a_task
from tests.support.labeling_api import claim, open_office, running
from tiebreak.contracts.errors import Invalid
from tiebreak.contracts.messages import AnnotationState, Payload, PayloadKind
from tiebreak.contracts.project import Answer, AnswerKind, Classes, Project
from tiebreak.labeling.answers import canonical, json_schema
from tiebreak.labeling.consensus import Ask, Ballot, Review, Rule, Settle
from tiebreak.labeling.structured import consensus_of

KINDS = AnswerKind
PETS = ("cat", "dog", "bird")


def project_for(answer: Answer, *, votes: int = 1) -> Project:
    """The pets, asked for in another way."""
    project = a_project(votes=votes)
    labeling = project.labeling.model_copy(update={"answer": answer, "schema_version": 3})
    return project.model_copy(update={"labeling": labeling})


@pytest.mark.parametrize(
    ("answer", "text", "form"),
    [
        (Answer(), "dog", "dog"),
        (Answer(kind=KINDS.MULTI), '["bird","cat"]', '["cat","bird"]'),
        (Answer(kind=KINDS.MULTI), "[]", "[]"),
        (Answer(kind=KINDS.NUMERIC, least=-1, step=0.1), "0.30", "0.3"),
        (Answer(kind=KINDS.NUMERIC, step=0), "1e1", "10"),
        (
            Answer(kind=KINDS.SPANS),
            '[{"label":"dog","start":10,"end":12},{"end":3,"start":2,"label":"cat"},{"end":3,"start":2,"label":"cat"}]',
            '[{"end":3,"label":"cat","start":2},{"end":12,"label":"dog","start":10}]',
        ),
        (
            Answer(kind=KINDS.BOXES),
            '[{"x":0.1234567,"y":0,"width":0.5,"height":1,"label":"cat"}]',
            '[{"height":1.0,"label":"cat","width":0.5,"x":0.12346,"y":0.0}]',
        ),
    ],
)
def test_answers_that_mean_the_same_are_the_same_text(answer: Answer, text: str, form: str) -> None:
    """Order, spaces, repetition and the way of writing a number are gone; the canonical text is a fixed point."""
    assert canonical(answer, PETS, text) == form
    assert canonical(answer, PETS, form) == form


@pytest.mark.parametrize(
    ("answer", "text", "words"),
    [
        (Answer(), "cow", "value: is not one of the project's classes."),
        (Answer(kind=KINDS.MULTI), '["cat","cow"]', "answer.1: is not one of the project's classes."),
        (Answer(kind=KINDS.MULTI), '["cat","cat"]', "answer: names a class twice."),
        (Answer(kind=KINDS.MULTI, least_choices=1, most_choices=2), "[]", "answer: has 0 classes, not 1 to 2."),
        (Answer(kind=KINDS.MULTI), '{"cat":1}', "answer: is not a list of classes."),
        (Answer(kind=KINDS.NUMERIC, most=5), "6", "answer: is not from 0 to 5."),
        (Answer(kind=KINDS.NUMERIC), "2.5", "answer: is not in steps of 1 from 0."),
        (Answer(kind=KINDS.NUMERIC), "true", "answer: is not a number."),
        (Answer(kind=KINDS.NUMERIC), "[", "answer: is not JSON of at most 32768 bytes."),
        (Answer(kind=KINDS.SPANS), '[{"start":5,"end":5,"label":"cat"}]', "answer.0.end: 5 is not after start (5)."),
        (
            Answer(kind=KINDS.SPANS),
            '[{"start":-1,"end":5,"label":"cat"}]',
            "answer.0.start: is not a whole number from 0.",
        ),
        (Answer(kind=KINDS.SPANS), '[{"start":1,"end":5}]', "answer.0: is not an object with start, end, label."),
        (
            Answer(kind=KINDS.BOXES),
            '[{"x":0.6,"y":0,"width":0.5,"height":1,"label":"cat"}]',
            "answer.0.width: reaches beyond the picture.",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(answer: Answer, text: str, words: str) -> None:
    """A person or a program can find the mistake in what they sent; nothing of it is repeated."""
    with pytest.raises(Invalid) as refused:
        canonical(answer, PETS, text)
    assert refused.value.message == words


def ballots(*values: str, skips: int = 0) -> list[Ballot]:
    """One answer per person, in order."""
    said = [(value, AnnotationState.SUBMITTED) for value in values] + [("", AnnotationState.SKIPPED)] * skips
    return [Ballot(f"a{i}", f"p{i}", value, 1, state, i, sequence=i + 1) for i, (value, state) in enumerate(said)]


CAT_2_8 = '[{"end":8,"label":"cat","start":2}]'
CAT_2_9 = '[{"end":9,"label":"cat","start":2}]'
CAT_AND_DOG = '[{"end":8,"label":"cat","start":3},{"end":30,"label":"dog","start":20}]'


@pytest.mark.parametrize(
    ("answer", "values", "settled"),
    [
        (Answer(kind=KINDS.ORDINAL), ("cat", "dog", "bird"), ("dog", 2 / 3)),
        (Answer(kind=KINDS.ORDINAL), ("cat", "cat", "bird"), ("cat", 2 / 3)),
        (Answer(kind=KINDS.MULTI), ('["cat"]', '["cat","dog"]', '["cat"]'), ('["cat"]', 2 / 3)),
        (Answer(kind=KINDS.NUMERIC, tolerance=2), ("10", "12", "40"), ("12", 2 / 3)),
        (Answer(kind=KINDS.NUMERIC), ("10", "12", "40"), None),
        (Answer(kind=KINDS.SPANS), (CAT_2_8, CAT_2_9, CAT_AND_DOG), (CAT_2_8, 2 / 3)),
        (Answer(kind=KINDS.SPANS), (CAT_2_8, '[{"end":8,"label":"dog","start":2}]', "[]"), ("[]", 2 / 3)),
        (Answer(kind=KINDS.SPANS), ("[]", "[]", "[]"), ("[]", 1.0)),
    ],
)
def test_what_people_share_settles_as_far_as_they_agree(
    answer: Answer, values: tuple[str, ...], settled: tuple[str, float] | None
) -> None:
    """Medians, votes per class and matched marks: the shared answer and its agreement; below the bound somebody else is asked."""
    consensus = consensus_of(project_for(answer))
    assert consensus is not None
    decision = consensus.decide(ballots(*values), Rule(votes=3, max_votes=5, agreement=0.6))
    if settled is None:
        assert decision == Ask()
        return
    assert isinstance(decision, Settle)
    assert (decision.value, len(decision.ballots)) == (settled[0], 3)
    assert decision.confidence == pytest.approx(settled[1])
    assert sum(decision.distribution.values()) == pytest.approx(1.0)


def test_boxes_match_by_overlap_and_the_label_is_the_median_box() -> None:
    """Two people mark the same animal a little differently: one box between theirs; what one of three saw alone is left out."""

    def box(x: float, label: str = "cat") -> str:
        return f'{{"height":0.5,"label":"{label}","width":0.5,"x":{x},"y":0.0}}'

    consensus = consensus_of(project_for(Answer(kind=KINDS.BOXES)))
    assert consensus is not None
    said = ballots(f"[{box(0.15)}]", f"[{box(0.2)},{box(0.4, 'dog')}]", f"[{box(0.25)}]")
    decision = consensus.decide(said, Rule(votes=3, max_votes=5, agreement=0.6))
    assert isinstance(decision, Settle)
    assert decision.value == f"[{box(0.2)}]"


def test_people_who_never_agree_are_settled_by_a_reviewer() -> None:
    """At the most votes the task goes to review, and the reviewer's answer stands alone."""
    consensus = consensus_of(project_for(Answer(kind=KINDS.NUMERIC)))
    assert consensus is not None
    rule = Rule(votes=2, max_votes=3, agreement=0.6)
    assert consensus.decide(ballots("1", "50", "99"), rule) == Review({"50": 1 / 3})
    word = Ballot("r", "rita", "42", 1, AnnotationState.SUBMITTED, 9, reviewer=True, sequence=4)
    decision = consensus.decide([*ballots("1", "50", "99"), word], rule)
    assert isinstance(decision, Settle)
    assert (decision.value, decision.ballots) == ("42", (word,))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (KINDS.SINGLE, "cat", "cow"),
        (KINDS.MULTI, ["cat"], ["cow"]),
        (KINDS.NUMERIC, 7, 101),
        (KINDS.SPANS, [{"start": 0, "end": 3, "label": "cat"}], [{"start": 0, "end": 3}]),
        (KINDS.BOXES, [{"x": 0, "y": 0, "width": 1, "height": 0.5, "label": "dog"}], [{"x": 2}]),
    ],
)
def test_the_schema_says_what_the_api_takes(kind: AnswerKind, good: Any, bad: Any) -> None:
    """The published JSON Schema is valid, accepts what is accepted, refuses what is refused, and names its version."""
    project = project_for(Answer(kind=kind, examples={"cat": ("It purrs.",)}))
    schema = json_schema(project, PETS)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema)
    assert (schema["$id"], schema["x-tiebreak"]["examples"]) == ("urn:tiebreak:pets:answer:3", {"cat": ["It purrs."]})


async def test_spans_go_through_the_api_to_a_label() -> None:
    """Sent as JSON in any order, on the log in one form with the schema's version, settled by two people who nearly agree."""
    office = await open_office(project_for(Answer(kind=KINDS.SPANS), votes=2))
    async with running(office), await office.client("ann") as ann, await office.client("bob") as bob:
        await office.publish_tasks(a_task(0))

        async def waiting() -> bool:
            return (await office.queue.stats()).open_tasks == 1

        await eventually(waiting)
        info = (await ann.get("/v1/projects/pets")).json()
        assert info["answer_schema"]["x-tiebreak"]["kind"] == "spans"
        for client, key, end in ((ann, "1", 8), (bob, "2", 9)):
            (task,) = (await claim(client, wait_ms=10_000))["tasks"]
            body = {"lease_token": task["lease"]["token"], "answer": [{"end": end, "start": 2, "label": "cat"}]}
            url, headers = f"/v1/tasks/{task['task_id']}/annotations", {"Idempotency-Key": key}
            wrong = await client.post(url, json={**body, "answer": [{"start": 1, "label": "cat"}]}, headers=headers)
            assert (wrong.status_code, wrong.json()["detail"]) == (
                422,
                "answer.0: is not an object with start, end, label.",
            )
            for neither in ({}, {"value": "cat", "answer": []}):
                both = {"lease_token": 1, **neither}
                assert (await client.post(url, json=both, headers=headers)).status_code == 422
            assert (await client.post(url, json=body, headers=headers)).status_code == 201
        await eventually(office.labels)
    (label,) = await office.labels()
    votes = await office.annotations()
    assert {(v.value, v.schema_version) for v in votes} == {(CAT_2_8, 3), (CAT_2_9, 3)}
    assert (label.value, label.confidence, len(label.votes)) == (CAT_2_8, 1.0, 2)


async def test_a_span_beyond_the_text_of_its_task_is_refused(queue: Queues) -> None:
    """Offsets are code points: four animals are four of them. The path of the span as it was sent is named; nothing is on the log."""
    builder = await queue.begin_build()
    if builder is not None:
        await builder.end_build([])
    office = await open_office(project_for(Answer(kind=KINDS.SPANS)), queue)
    await queue.add([a_task(0, payload=Payload(PayloadKind.TEXT, "text/plain", "🐈🐕🐦🐈".encode()))])
    async with await office.client("ann") as ann:
        (task,) = (await claim(ann))["tasks"]
        refused, taken = [
            await ann.post(
                f"/v1/tasks/{task['task_id']}/annotations",
                json={
                    "lease_token": task["lease"]["token"],
                    "answer": [{"start": 2, "end": end, "label": "cat"}, {"start": 0, "end": 1, "label": "cat"}],
                },
                headers={"Idempotency-Key": f"key-{end}"},
            )
            for end in (5, 4)
        ]
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "answer.0.end: 5 is beyond the end of the text (4). Offsets count code points from 0.",
    )
    assert taken.status_code == 201
    assert len(await office.annotations()) == 1


async def test_spans_of_what_is_no_text_have_no_end_to_be_beyond() -> None:
    """A table has no code points to count."""
    office = await open_office(project_for(Answer(kind=KINDS.SPANS)))
    await office.queue.add([a_task(0, payload=Payload(PayloadKind.TABLE, "application/json", b'{"a": 1}'))])
    async with await office.client("ann") as ann:
        (task,) = (await claim(ann))["tasks"]
        body = {"lease_token": task["lease"]["token"], "answer": [{"start": 2, "end": 900, "label": "cat"}]}
        made = await ann.post(f"/v1/tasks/{task['task_id']}/annotations", json=body, headers={"Idempotency-Key": "1"})
    assert made.status_code == 201


def test_a_project_whose_answers_do_not_fit_its_classes_is_refused() -> None:
    """No classes for a choice, open classes where none can be added, a posterior over what is no class."""
    base = a_project().model_dump()

    def complaint(**changes: object) -> str:
        with pytest.raises(ValidationError) as refused:
            Project.model_validate({**base, **changes})
        return str(refused.value)

    multi = {**base["labeling"], "answer": {"kind": "multi"}}
    assert "names: a closed set needs at least 2 classes" in complaint(classes={"names": ["one"]})
    assert "where people choose one, not for multi" in complaint(labeling=multi, classes={"names": ["a"], "open": True})
    typo = {**base["labeling"], "rules": [{"lane": "triage"}, {"predicted": ["catt"], "lane": "triage"}]}
    assert "rules.1: predicted: 'catt' is not one of the classes" in complaint(labeling=typo)
    assert "judges single classes, not multi" in complaint(labeling={**multi, "consensus": "dawid_skene"})
    number = {**base["labeling"], "answer": {"kind": "numeric"}}
    assert Project.model_validate({**base, "labeling": number, "classes": {}}).classes == Classes()

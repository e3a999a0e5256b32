"""The labeling API: what people may send and what they get."""

from __future__ import annotations

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import Office, claim, open_office, submit
from tiebreak.contracts.messages import AnnotationState, Payload, PayloadKind
from tiebreak.labeling.access import Role


async def test_a_vote_is_on_the_log_before_its_author_is_told(office: Office) -> None:
    """201 means that `annotations` has the vote, with the newest token and times of the server."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    response = await submit(ann, task, "dog", lead_time_s=0.0, comment="woof", flagged=True, key="k1")
    (vote,) = await office.annotations()
    assert response.status_code == 201
    assert response.json()["annotation_id"] == vote.annotation_id
    assert (vote.annotator, vote.value, vote.comment, vote.flagged, vote.idempotency_key) == (
        "ann",
        "dog",
        "woof",
        True,
        "k1",
    )
    assert (vote.lease_token, vote.state, vote.revision) == (task["lease"]["token"], AnnotationState.SUBMITTED, 1)
    assert vote.submitted_ms >= vote.claimed_ms == task["lease"]["claimed_ms"]


async def test_what_an_annotator_receives_holds_nothing_of_the_model(office: Office) -> None:
    """No score, prediction, reason, audit mark, feature or propensity in a claim, at any depth."""
    ann = await office.client("ann")
    answer = await claim(ann, max=3)
    text = json.dumps(answer)
    shown = {"task_id", "lease", "payload", "schema_version", "answer_schema_version", "in_review"}
    assert (set(answer["tasks"][0]), answer["tasks"][0]["in_review"]) == (shown, False)
    assert set(answer["tasks"][0]["payload"]) == {"kind", "media_type", "text", "image", "columns"}
    for word in ("score", "predict", "uncertain", "reason_", "audit", "gold", "propensity", "feature", "probabilit"):
        assert word not in text
    assert [t["payload"]["text"] for t in answer["tasks"]] == ["what is 0?", "what is 1?", "what is 2?"]


@pytest.mark.parametrize(
    ("payload", "seen"),
    [
        (Payload(PayloadKind.IMAGE, "image/png", b"\x89PNG"), {"kind": "image", "image": "iVBORw=="}),
        (Payload(PayloadKind.IMAGE, "image/svg+xml", b"<svg onload=x>"), {"kind": "none", "image": ""}),
        (
            Payload(PayloadKind.TABLE, "application/json", b'{"a": 1.5, "b": null}'),
            {"columns": [["a", 1.5], ["b", None]]},
        ),
        (Payload(PayloadKind.TABLE, "application/json", b"{broken"), {"kind": "text", "text": "{broken"}),
        (Payload(PayloadKind.TEXT, "text/plain", b"\xff<b>"), {"kind": "text", "text": "\ufffd<b>"}),
        (None, {"kind": "none"}),
    ],
)
async def test_every_payload_can_be_shown(payload: Payload | None, seen: dict[str, object]) -> None:
    """Images, tables and texts arrive in their own field; what is malformed or could hold a script does no harm."""
    office = await open_office(a_project())
    await office.queue.add([a_task(1, payload=payload)])
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    assert {name: task["payload"][name] for name in seen} == seen


async def test_the_same_key_gets_the_same_answer_and_another_body_a_conflict(office: Office) -> None:
    """A retry after a lost answer repeats the 201 to the letter; the key with another answer is 409."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    first = await submit(ann, task, "dog", key="k")
    again = await submit(ann, task, "dog", key="k")
    other = await submit(ann, task, "cat", key="k")
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert (other.status_code, other.json()["type"]) == (409, "urn:tiebreak:problem:key_reused")
    assert {(v.annotation_id, v.revision, v.value) for v in await office.annotations()} == {
        (first.json()["annotation_id"], 1, "dog")
    }


async def test_fifty_double_clicks_count_once(office: Office) -> None:
    """Fifty submits at once with keys of their own: one 201, the rest 409, one vote on the log."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    answers = await asyncio.gather(*(submit(ann, task, "dog") for _ in range(50)))
    assert sorted(a.status_code for a in answers) == [201] + [409] * 49
    assert len(await office.annotations()) == 1


async def test_two_people_at_once_never_share_a_task(office: Office) -> None:
    """Ten people claim three tasks at the same moment: three get one, seven are told that all are taken."""
    clients = [await office.client(f"p{i}") for i in range(10)]
    answers = await asyncio.gather(*(claim(c) for c in clients))
    given = [t["task_id"] for a in answers for t in a["tasks"]]
    assert len(given) == len(set(given)) == 3
    assert [a["reason"] for a in answers if not a["tasks"]] == ["all_leased"] * 7


async def test_a_broker_that_is_away_gets_503_and_the_retry_counts_once(office: Office) -> None:
    """No 2xx without the log, whose word on why is in ours; once it is back, the same key puts exactly one vote there."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    office.log.stop()
    with capture_logs() as said:
        refused = await submit(ann, task, "dog", key="k")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert [(line["event"], line["answers"]) for line in said] == [("answers_not_on_the_log", 1)]
    office.log.resume()
    assert (await submit(ann, task, "dog", key="k")).status_code == 201
    assert len(await office.annotations()) == 1


async def test_undo_gives_the_task_back(office: Office) -> None:
    """Within the window the vote is withdrawn on the log and its author holds the task again."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    made = (await submit(ann, task, "dog")).json()
    undone = await ann.post(f"/v1/annotations/{made['annotation_id']}:undo", headers={"Idempotency-Key": "u"})
    again = await ann.post(f"/v1/annotations/{made['annotation_id']}:undo", headers={"Idempotency-Key": "u"})
    body = undone.json()
    assert (undone.status_code, body["state"], body["revision"]) == (200, "withdrawn", 2)
    assert again.json() == body
    assert body["task"]["task_id"] == task["task_id"]
    assert body["task"]["lease"]["token"] > task["lease"]["token"]
    assert (await submit(ann, body["task"], "cat")).status_code == 201
    states = {(v.revision, v.state, v.value) for v in await office.annotations()}
    assert states == {
        (1, AnnotationState.SUBMITTED, "dog"),
        (2, AnnotationState.WITHDRAWN, ""),
        (3, AnnotationState.SUBMITTED, "cat"),
    }


async def test_nobody_undoes_somebody_elses_answer(office: Office) -> None:
    """The annotation of another person is as unknown as one that never was."""
    ann, eve = await office.client("ann"), await office.client("eve")
    (task,) = (await claim(ann))["tasks"]
    made = (await submit(ann, task)).json()
    theirs = await eve.post(f"/v1/annotations/{made['annotation_id']}:undo", headers={"Idempotency-Key": "u"})
    nothing = await eve.post(f"/v1/annotations/{'0' * 32}:undo", headers={"Idempotency-Key": "u"})
    assert (theirs.status_code, theirs.content) == (404, nothing.content)


async def test_skip_release_and_renew(office: Office) -> None:
    """A skipped task does not come back to its person, a released one does, a renewed lease has a later deadline."""
    ann = await office.client("ann")
    first, second = (await claim(ann, max=2))["tasks"]
    skip = await ann.post(
        f"/v1/tasks/{first['task_id']}:skip",
        json={"lease_token": first["lease"]["token"], "reason": "blurred"},
        headers={"Idempotency-Key": "s"},
    )
    release = await ann.post(f"/v1/leases/{second['lease']['id']}:release")
    held = (await claim(ann, max=3))["tasks"]
    renew = await ann.post(f"/v1/leases/{held[0]['lease']['id']}:renew")
    assert (skip.status_code, skip.json()["state"], release.status_code) == (201, "skipped", 204)
    assert second["task_id"] in {t["task_id"] for t in held}
    assert first["task_id"] not in {t["task_id"] for t in held}
    assert renew.json()["deadline_ms"] >= held[0]["lease"]["deadline_ms"]


async def test_a_long_poll_is_answered_when_a_task_arrives(office: Office) -> None:
    """A claim that waits gets the task that is added meanwhile, not an empty answer at the end."""
    office = await open_office(a_project())
    ann = await office.client("ann")
    waiting = asyncio.create_task(claim(ann, wait_ms=30_000))
    await asyncio.sleep(0)
    await office.queue.add([a_task(7)])
    office.doorbell.ring()
    assert [t["payload"]["text"] for t in (await waiting)["tasks"]] == ["what is 7?"]


async def test_the_project_page_and_own_history(office: Office) -> None:
    """What the page needs in one answer; a person's own answers newest first."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    made = (await submit(ann, task, "dog")).json()
    info = (await ann.get("/v1/projects/pets")).json()
    assert (info["classes"], info["classes_open"], info["question"]) == (
        ["cat", "dog", "bird"],
        False,
        "Which class is this?",
    )
    assert info["you"] == {"name": "ann", "role": "annotator", "answered": 1}
    lines = (await ann.get("/v1/me/annotations")).json()
    assert [(a["annotation_id"], a["value"]) for a in lines["annotations"]] == [(made["annotation_id"], "dog")]


async def test_an_open_set_takes_a_new_class_once() -> None:
    """People add a class while the stream runs; the same but for case and spaces is the same class."""
    office = await open_office(a_project(is_open=True))
    await office.queue.add([a_task(1)])
    ann = await office.client("ann")
    made = [
        (await ann.post("/v1/projects/pets/classes", json={"name": n})).json()["name"]
        for n in (" sea  lion", "Sea Lion", "CAT")
    ]
    assert made == ["sea lion", "sea lion", "cat"]
    assert (await ann.get("/v1/projects/pets")).json()["classes"] == ["cat", "dog", "bird", "sea lion"]
    (task,) = (await claim(ann))["tasks"]
    assert (await submit(ann, task, "sea lion")).status_code == 201


async def test_a_refusal_names_what_was_asked_for(office: Office) -> None:
    """Of an answer and a route that are not there it said that there is no such task, and to claim one."""
    boss, key = await office.client("boss", Role.MANAGER), {"Idempotency-Key": "1"}
    for wanted, named in (
        (f"/v1/annotations/{'0' * 32}:undo", "no such answer of yours"),
        (f"/v1/annotations/{'0' * 32}:withdraw", "no such answer of yours"),
        ("/v1/annotations/nonsense:undo", "no such answer of yours"),
        ("/v1/taks", "no such route"),
    ):
        refused = await boss.post(wanted, headers=key)
        assert (refused.status_code, named in refused.json()["detail"]) == (404, True), refused.json()
        assert refused.json()["fix"]


async def test_an_undone_answer_is_not_called_a_task(office: Office) -> None:
    """Undone twice, with two keys: the second finds no answer that stands."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    path = f"/v1/annotations/{(await submit(ann, task, 'cat')).json()['annotation_id']}:undo"
    assert (await ann.post(path, headers={"Idempotency-Key": "u1"})).status_code == 200
    again = await ann.post(path, headers={"Idempotency-Key": "u2"})
    assert (again.status_code, "no such answer" in again.json()["detail"]) == (404, True)


async def test_a_typing_error_makes_no_class() -> None:
    """In an open set an answer by a class that nobody added is refused with how to add it; nothing of it stays."""
    office = await open_office(a_project(is_open=True))
    await office.queue.add([a_task(1)])
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    refused = await submit(ann, task, "catt")
    assert (refused.status_code, "/classes" in refused.json()["fix"]) == (422, True)
    assert (await ann.get("/v1/projects/pets")).json()["classes"] == ["cat", "dog", "bird"]
    assert await office.annotations() == []
    assert (await submit(ann, task, " Cat")).status_code == 201


async def test_a_closed_set_takes_none(office: Office) -> None:
    """Adding a class is a conflict, answering with one is 422."""
    ann = await office.client("ann")
    (task,) = (await claim(ann))["tasks"]
    assert (await ann.post("/v1/projects/pets/classes", json={"name": "fish"})).status_code == 409
    assert (await submit(ann, task, "fish")).status_code == 422
    assert await office.annotations() == []

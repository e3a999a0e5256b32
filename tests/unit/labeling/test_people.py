"""Figures of people from the logs, agreement against values worked out by hand, and who is suspected of what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.support.crowds import CLASSES, habits, votes
from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import open_office
from tiebreak.contracts.codec import decode_task
from tiebreak.contracts.errors import Unreachable
from tiebreak.contracts.ids import annotation_id, label_id
from tiebreak.contracts.log import Outputs
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, LabelMethod, Payload, PayloadKind, Task
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.agreement import Agreement, cohen
from tiebreak.labeling.figures import DAY_MS, Figures
from tiebreak.labeling.gold import Standing
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.port import Refusal, Refused
from tiebreak.labeling.routing import kept_for
from tiebreak.labeling.stage import annotation_message
from tiebreak.labeling.stage_people import Around, People
from tiebreak.labeling.stage_reading import records_of
from tiebreak.labeling.suspicion import Suspicion, suspects
from tiebreak.runtime.clock import SystemClock


def said(task: str, person: str, value: str, *, day: int = 0, lead_s: float = 2.0, revision: int = 1) -> Annotation:
    """An answer; '-' is a skip, '' takes it back."""
    state = {"-": AnnotationState.SKIPPED, "": AnnotationState.WITHDRAWN}.get(value, AnnotationState.SUBMITTED)
    return Annotation(
        annotation_id=annotation_id(task, person),
        task_id=task,
        project="pets",
        annotator=person,
        revision=revision,
        state=state,
        value=value if state is AnnotationState.SUBMITTED else "",
        lease_token=1,
        lead_time_s=lead_s,
        claimed_ms=0,
        submitted_ms=day * DAY_MS,
        schema_version=1,
    )


def label(task: str, value: str, *, revision: int = 1, withdrawn: bool = False) -> Label:
    plain = a_task(1)
    return Label(
        label_id=label_id(task),
        task_id=task,
        event_id="e",
        project="pets",
        revision=revision,
        value=value,
        distribution={value: 1.0},
        confidence=1.0,
        method=LabelMethod.CONSENSUS,
        votes=(),
        features=(),
        selection=plain.selection,
        predicted="",
        event_time_ms=0,
        settled_ms=0,
        schema_version=1,
        withdrawn=withdrawn,
    )


def test_alpha_is_krippendorffs_own_example() -> None:
    """The nominal example of "Computing Krippendorff's Alpha-Reliability" (2011), four observers, missing values: 0.743."""
    table = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    units = [[v for v in column if v != "."] for column in zip(*(row.split() for row in table), strict=True)]
    alpha = Agreement(units).alpha()
    assert alpha == pytest.approx(0.743, abs=5e-4)


def test_taking_a_unit_back_leaves_the_agreement_of_the_others() -> None:
    """The sums of what remains, whatever came and went between."""
    kept, gone = [("a", "a", "b"), ("b", "b"), ("a", "b")], [("a", "c"), ("c", "c", "c")]
    agreement = Agreement([*kept, *gone])
    for unit in gone:
        agreement.remove(unit)
    assert agreement.alpha() == pytest.approx(Agreement(kept).alpha())
    assert agreement.fleiss() == pytest.approx(Agreement(kept).fleiss())


def test_agreement_says_nothing_where_nothing_can_differ() -> None:
    """No units, one class only: no number instead of a perfect one."""
    assert (Agreement().alpha(), Agreement([("a", "a")]).alpha(), Agreement([("a",)]).fleiss()) == (None, None, None)
    assert (cohen([]), cohen([("a", "a")])) == (None, None)


def test_the_figures_of_a_person() -> None:
    """Answers, skips, gold, agreement with labels that others share, pace against the others, answers per day."""
    figures = Figures()
    log = [
        said("t1", "ann", "cat", lead_s=2.0),
        said("t1", "bob", "cat", lead_s=4.0),
        said("t2", "ann", "dog", lead_s=3.0, day=1),
        said("t2", "bob", "cat", lead_s=3.0),
        said("t3", "ann", "-", day=1),
    ]
    for a in log:
        figures.hear(a)
    figures.hear(said("g1", "ann", "cat", day=1), truth="cat")
    figures.hear(said("g2", "ann", "cat", day=1), truth="dog")
    for made in (label("t1", "cat"), label("t2", "cat")):
        figures.settled(made.task_id, made.revision, made.value, made.withdrawn)
    ann, bob = figures.people()
    assert (ann.answers, ann.skips, ann.gold, ann.agreement) == (4, 1, Standing(1, 2), 0.5)
    assert (ann.median_s, ann.pace, ann.per_day) == (2.0, 0.75, 2.0)
    assert (bob.answers, bob.agreement, bob.pace, bob.gold) == (2, 1.0, 1.5, Standing())
    project = figures.project()
    assert (project.answers, project.labels, project.disagreement) == (6, 2, 0.5)
    assert (figures.labels, figures.gold, figures.alpha) == (project.labels, project.gold, project.alpha)
    assert [task for task, _ in figures.votes()] == ["t2", "t1"]


def test_figures_are_the_same_after_a_replay_and_follow_what_is_taken_back() -> None:
    """Each revision counts once; an answer or a label that was withdrawn counts no more."""
    figures = Figures()
    log = [said("t1", "ann", "cat"), said("t1", "bob", "dog"), said("t1", "bob", "", revision=2)]
    for a in (*log, *log):
        figures.hear(a)
    for made in (label("t1", "cat"), label("t1", "", revision=2, withdrawn=True), label("t1", "cat")):
        figures.settled(made.task_id, made.revision, made.value, made.withdrawn)
    assert (figures.answers, figures.project().labels, figures.project().disagreement) == (1, 0, None)
    assert dict(figures.votes()) == {"t1": {"ann": "cat"}}


def test_gold_that_was_answered_wrong_stays_wrong_when_the_answer_is_taken_back() -> None:
    """Else whoever was paused for it could end that alone; what they say instead counts."""
    figures = Figures()
    for a in (said("g1", "ann", "dog"), said("g1", "ann", "", revision=2)):
        figures.hear(a, truth="cat")
    assert figures.standing("ann") == Standing(0, 1)
    figures.hear(said("g1", "ann", "cat", revision=3), truth="cat")
    assert figures.standing("ann") == Standing(1, 1)


def crowd(seed: int, people: int = 10) -> list[dict[str, str]]:
    rng = np.random.default_rng(seed)
    tasks: dict[str, dict[str, str]] = {}
    for task, person, value in votes(seed, 600, [habits(a) for a in rng.beta(6, 2, size=people)], 5).said:
        tasks.setdefault(task, {})[person] = value
    return list(tasks.values())


def test_honest_people_are_not_suspected_and_cheats_are() -> None:
    """Mixed ability is no crime; one class all day, and two with one random guess, are found, and nobody beside them."""
    rng = np.random.default_rng(99)
    honest = crowd(1)
    lazy = [said | ({"p0": "ant"} if "p0" in said else {}) for said in crowd(2)]
    together = [
        said | {name: guess for name in ("p3", "p4") if name in said}
        for said in crowd(3)
        for guess in (CLASSES[rng.integers(4)],)
    ]
    assert [suspects(tasks) for tasks in (honest, lazy, together)] == [
        {},
        {"p0": frozenset({Suspicion.ONE_CLASS})},
        {"p3": frozenset({Suspicion.COLLUDING}), "p4": frozenset({Suspicion.COLLUDING})},
    ]


@pytest.mark.parametrize(("size", "people"), [(3, 10), (4, 10), (5, 14)])
def test_all_of_a_ring_are_found(size: int, people: int) -> None:
    """People who share one guess make each other look like hard tasks: all are found, the odd one too, and nobody beside them."""
    rng, ring = np.random.default_rng(5), tuple(f"p{n}" for n in range(1, size + 1))
    honest = crowd(4, people)
    said = [s | {name: guess for name in ring if name in s} for s in honest for guess in (CLASSES[rng.integers(4)],)]
    assert suspects(said) == dict.fromkeys(ring, frozenset({Suspicion.COLLUDING}))


@pytest.mark.parametrize("pausing", [True, False])
async def test_who_is_suspected_is_told_and_paused_only_where_the_project_wants_that(pausing: bool) -> None:
    """One class all day: no new task until a manager says otherwise; the others go on; without the setting it is told alone."""
    project = a_project()
    labeling = project.labeling.model_copy(update={"pause_suspects": pausing})
    office = await open_office(project.model_copy(update={"labeling": labeling}))
    people = People(
        office.project, office.queue, Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.9)
    )
    office.queue.serve(people.routes)
    await office.queue.add([a_task(n) for n in range(3)])
    for number, answers in enumerate(crowd(2)):
        for person, value in answers.items():
            people.figures.hear(said(f"t{number}", person, "ant" if person == "p0" else value))
    await people.tend()
    assert (people.suspected("p0"), people.suspected("p1")) == (("one_class",), ())
    assert len((await office.queue.claim("p0", 1)).leases) == (0 if pausing else 1)
    assert len((await office.queue.claim("p1", 1)).leases) == 1
    assert (people.is_suspect("p0"), people.is_suspect("p1")) == (True, False)
    if pausing:
        with pytest.raises(Refused) as refused:
            people.check("p0")
        assert refused.value.refusal is Refusal.PAUSED
    await people.forgive("p0")
    assert not people.is_suspect("p0")
    people.check("p0")
    assert len((await office.queue.claim("p0", 1)).leases) == 1


async def test_at_the_cap_there_are_no_new_tasks_and_what_is_held_stays() -> None:
    """The money is spent: a claim is refused in words; who holds a task keeps it and can answer."""
    project = a_project()
    labeling = project.labeling.model_copy(update={"cost_per_answer": 0.5, "cost_cap": 1.0})
    office = await open_office(project.model_copy(update={"labeling": labeling}))
    around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.0)
    people = People(office.project, office.queue, around)
    office.queue.serve(people.routes)
    await office.queue.add([a_task(1), a_task(2)])
    (held,) = (await office.queue.claim("ann", 1)).leases
    for name in ("bob", "cyd"):
        people.figures.hear(said("t9", name, "cat"))
    assert (await office.queue.claim("dan", 1)).leases == ()
    (again,) = (await office.queue.claim("ann", 2)).leases
    assert replace(again, deadline_ms=0) == replace(held, deadline_ms=0)
    with pytest.raises(Refused, match="money") as refused:
        people.check("dan")
    assert refused.value.refusal is Refusal.AT_CAP


async def test_a_claim_names_the_skills_to_use() -> None:
    """Of somebody with two skills, tasks of the other one stay where they are; a skill they do not have is refused in words."""
    project = a_project()
    labeling = project.labeling.model_copy(update={"skills": {"birds": ("ann",), "cars": ("ann",)}})
    office = await open_office(project.model_copy(update={"labeling": labeling}))
    around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.0)
    office.watch(People(office.project, office.queue, around))
    await office.queue.add([a_task(n, lane=lane) for n, lane in enumerate(("normal+birds", "normal+cars", "normal"))])
    ann = await office.client("ann")
    url = f"/v1/projects/{project.project}/tasks:claim"
    cars = (await ann.post(url, json={"max": 5, "skills": ["cars"]})).json()
    refused = await ann.post(url, json={"max": 5, "skills": ["boats"]})
    rest = (await ann.post(url, json={"max": 5})).json()
    assert [t["payload"]["text"] for t in cars["tasks"]] == ["what is 1?", "what is 2?"]
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "skills: ann does not have boats. Use birds, cars, or none.",
    )
    assert [t["payload"]["text"] for t in rest["tasks"]] == ["what is 1?", "what is 2?", "what is 0?"]


class Hiccup(MemoryQueue):
    """A store that does not answer when it is first asked for gold."""

    answers = False

    async def gold(self, have: int = 0) -> Sequence[Task] | None:
        if not self.answers:
            self.answers = True
            raise Unreachable("no answer in time")
        return await super().gold(have)


async def test_answers_that_came_while_the_store_was_away_are_counted_all_the_same() -> None:
    """They are fetched from the log once: whoever is judged by them must not be forgiven by a hiccup of Redis."""
    clock = SystemClock()
    office = await open_office(a_project(), Hiccup(a_project(), clock))
    await office.log.writer().publish(Outputs([annotation_message(said("t1", "ann", "cat"))]))
    around = Around(office.log, office.log.writer(), office.metrics, clock, lambda: 0.0)
    people, stop = People(office.project, office.queue, around), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(people.run(stop))
        await eventually(lambda: len(people.figures.names()) == 1)
        stop.set()
    assert people.figures.answers == 1


async def test_who_waited_for_gold_that_was_erased_gets_other_gold() -> None:
    """One piece of gold waits on a person's line at a time: with it erased, the next one comes instead of none for ever."""
    office = await open_office(a_project())
    people = People(
        office.project,
        office.queue,
        Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.0),
    )
    pieces = [a_task(n, gold="cat", payload=Payload(PayloadKind.TEXT, "text/plain", b"%d" % n)) for n in (1, 2)]
    await office.queue.keep_gold(pieces)

    async def copies() -> list[Task]:
        await people.tend()
        return [decode_task(r.value) async for r in records_of(office.log, Topic.TASKS.of("pets"))]

    people.routes("ann", 1, review=False)
    (first,) = await copies()
    assert await copies() == [first]
    (piece,) = (p for p in pieces if p.payload == first.payload)
    await office.queue.erase([piece.task_id, first.task_id])
    assert [copy.payload for copy in await copies()] == [first.payload, *(p.payload for p in pieces if p != piece)]


async def test_an_answer_given_under_suspicion_says_so_on_the_log_and_to_nobody_else() -> None:
    """One class all day: the next answers carry it for whoever settles; their author cannot tell. A skip says nothing."""
    office = await open_office(a_project())
    people = People(
        office.project, office.queue, Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.9)
    )
    office.watch(people)
    await office.queue.add([a_task(n) for n in range(4)])
    for number, answers in enumerate(crowd(2)):
        for person, value in answers.items():
            people.figures.hear(said(f"t{number}", person, "ant" if person == "p0" else value))
    await people.tend()
    shown = []
    for name in ("p0", "p1"):
        client = await office.client(name)
        claimed = (await client.post("/v1/projects/pets/tasks:claim", json={"max": 2})).json()["tasks"]
        for act, task in zip(("annotations", "skip"), claimed, strict=True):
            path = f"/v1/tasks/{task['task_id']}" + ("/annotations" if act == "annotations" else ":skip")
            body = {
                "lease_token": task["lease"]["token"],
                **({"value": "cat"} if act == "annotations" else {"reason": "unsure"}),
            }
            answered = await client.post(path, json=body, headers={"Idempotency-Key": f"{name}-{act}"})
            assert answered.status_code == 201, answered.text
            shown.append(sorted(answered.json()))
    given = {(a.annotator, a.state.value): a.suspect for a in await office.annotations()}
    assert given == {
        ("p0", "submitted"): True,
        ("p0", "skipped"): False,
        ("p1", "submitted"): False,
        ("p1", "skipped"): False,
    }
    assert shown[:2] == shown[2:]


@pytest.mark.parametrize(("consensus", "seconds"), [("dawid_skene", 5.0), ("dawid_skene", 0.0), ("majority", 5.0)])
async def test_people_are_served_what_is_kept_for_them_where_something_can_be(consensus: str, seconds: float) -> None:
    """Only where the posterior says who is best, and the project wants it: elsewhere a claim does not even look."""
    project = a_project()
    labeling = project.labeling.model_copy(update={"consensus": consensus, "ask_best_s": seconds})
    office = await open_office(project.model_copy(update={"labeling": labeling}))
    around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.9)
    routes = People(office.project, office.queue, around).routes("ann", 1, review=False)
    assert (kept_for("ann") in routes) == (consensus == "dawid_skene" and seconds > 0)

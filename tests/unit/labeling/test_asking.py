"""Whom to ask next about a task that is not sure: by expected information, among those at work, and never twice."""

from __future__ import annotations

import tracemalloc
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.crowds import CLASSES, habits, votes
from tests.support.labeling import a_project, a_task, annotation
from tests.support.labeling_api import Office, open_office
from tiebreak.contracts.log import Outputs, Partition, Record
from tiebreak.contracts.messages import Annotation, AnnotationState
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.asking import PRESENT_MS, AtWork, best_next
from tiebreak.labeling.consensus import Ballot, DawidSkene, Rule
from tiebreak.labeling.port import Receipt
from tiebreak.labeling.posterior import Crowd, Said
from tiebreak.labeling.routing import routes_of
from tiebreak.labeling.stage import annotation_message
from tiebreak.labeling.stage_reading import records_of

DOUBT = {"p1": "ant", "p2": "bee"}
ANIMALS = {"ant": "cat", "bee": "dog", "cow": "bird", "dog": "cat"}


@cache
def taught() -> Crowd:
    """p0 is right 98 % of the time, p1 and p2 60 %, p3 mostly says one thing, p4 knows `ant` and `bee` alone, p5 the others."""
    one_thing = np.full((4, 4), 0.01)
    one_thing[:, 2] = 0.97
    first, last = habits(0.9), habits(0.9)
    first[2:], last[:2] = 0.25, 0.25
    crowd = Crowd(CLASSES)
    people = [habits(0.98), habits(0.6), habits(0.6), one_thing, first, last]
    for task, person, value in votes(7, 2000, people, 4).said:
        crowd.observe(task, person, Said(value))
    return crowd


def test_the_gain_is_what_the_answer_is_expected_to_take_from_the_entropy() -> None:
    """The long way: the posterior after each possible answer, weighted by how likely that answer is."""
    crowd = taught()
    before = _array(crowd.belief(DOUBT).distribution)
    gains = crowd.gains(DOUBT, ("p0", "p3"))
    for person, gain in zip(("p0", "p3"), gains, strict=True):
        after = np.stack([_array(crowd.belief({**DOUBT, person: value}).distribution) for value in CLASSES])
        chances = np.linalg.solve(after.T, before)  # on average an answer leaves the posterior as it was
        expected = _entropy(before) - sum(p * _entropy(row) for p, row in zip(chances, after, strict=True))
        assert (chances.sum(), gain) == (pytest.approx(1.0), pytest.approx(expected))


def test_the_best_next_person_is_the_one_who_knows_these_very_classes() -> None:
    """Between `ant` and `bee` the one who knows them beats the one who knows the others; who says one thing tells nothing."""
    crowd = taught()
    everybody = [f"p{i}" for i in range(6)]
    assert list(best_next(crowd, DOUBT, everybody, DOUBT)) == ["p0", "p4"]
    assert list(best_next(crowd, {"p1": "cow", "p2": "dog"}, everybody[1:], DOUBT)) == ["p5"]
    assert list(best_next(crowd, DOUBT, everybody, {*DOUBT, "p0"})) == ["p4"]
    assert (best_next(crowd, DOUBT, ["p0", "p1"], DOUBT), best_next(crowd, DOUBT, [], ())) == ((), ())


def test_suspects_of_one_opinion_leave_as_much_to_tell_as_one_of_them() -> None:
    """Three who answer together make no task certain: whom to ask next, and how much they would tell, is as after one answer."""
    crowd, together = taught(), ("p1", "p2", "p5")
    said = dict.fromkeys(together, "ant")
    believed = _entropy(_array(crowd.belief(said, together).distribution))
    trusted, doubted = crowd.gains(said, ("p0",))[0], crowd.gains(said, ("p0",), together)[0]
    assert trusted < 0.5 * believed < doubted < believed
    heard = []

    def following(*call: Collection[str]) -> Sequence[str]:
        heard.append(call)
        return ()

    ballots = [
        Ballot(name, name, "ant", 1, AnnotationState.SUBMITTED, 0, sequence=at, suspect=True)
        for at, name in enumerate(together, 1)
    ]
    DawidSkene(crowd.belief({}), crowd.belief, following).decide(ballots, Rule(3, 5, 0.5, 0.99))
    assert heard == [(said, set(together), set(together))]


def test_of_many_classes_the_likely_ones_are_asked_about() -> None:
    """The cost is in proportion to the classes and not to their square; who is good at these very classes is the best all the same."""
    names = [f"c{n:03}" for n in range(200)]
    crowd, people = Crowd(names), [f"p{n}" for n in range(8)]
    for number in range(40):
        for at, person in enumerate(people):
            right = number % 8 <= at
            crowd.observe(
                f"t{number}", person, Said(names[number % 2 if right else 2 + number % 2], 1, names[number % 2])
            )
    tracemalloc.start()
    gains = crowd.gains({"p1": names[0], "p2": names[1]}, people)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(people) * len(names) ** 2 * 8
    assert list(np.argsort(gains)[-1:]) == [7]


def test_who_is_at_work_is_who_answered_lately_as_the_log_tells() -> None:
    """By the times of the answers and not by a clock, so that a replay asks the same; at most the newest are looked at."""
    at_work = AtWork()
    at_work.hear("ann", 1_000)
    at_work.hear("bob", 2_000)
    at_work.hear("cem", 1_001 + PRESENT_MS)
    assert at_work.present() == ["bob", "cem"]
    at_work.leave("bob")
    assert at_work.present() == ["cem"]
    for number in range(500):
        at_work.hear(f"p{number}", 2_000 + PRESENT_MS)
    assert len(at_work.present()) == 64


async def office_with_a_doubt(skill: str = "", suspect: str = "", **changes: float) -> Office:
    """One task on which p1 and p2 differ, after hundreds that six people answered (and that are gone from the queue)."""
    project = a_project(max_votes=4)
    settings = {"consensus": "dawid_skene", "confidence": 0.99, "skills": {"birds": ("p4", "p5")}, **changes}
    office = await open_office(project.model_copy(update={"labeling": project.labeling.model_copy(update=settings)}))
    people = [habits(a) for a in (0.98, 0.6, 0.6, 0.4, 0.9, 0.7)]
    said = [(int(task[1:]), person, value) for task, person, value in votes(3, 300, people, 4).said]
    said += [(300, "p1", "ant"), (300, "p2", "bee")]
    await office.queue.add([a_task(300, lane=f"normal+{skill}" if skill else "normal")])
    answers = [replace(_answer(at, *line), suspect=line[1] == suspect and at > 900) for at, line in enumerate(said)]
    await office.log.writer().publish(Outputs(messages=[annotation_message(a) for a in answers]))
    batch: dict[Partition, list[Record]] = {}
    async for record in records_of(office.log, Topic.ANNOTATIONS.of("pets")):
        batch.setdefault(Partition(record.topic, record.partition), []).append(record)
    await office.settler().handle(batch)
    return office


async def test_the_settler_keeps_a_doubted_task_for_the_best_person_at_work() -> None:
    """p0 is right most often of those who have not answered it: it is on p0's line and on nobody else's."""
    office = await office_with_a_doubt()
    others = [await holds(office, f"p{n}") for n in (1, 2, 3, 4, 5)]
    assert (others, await holds(office, "p0")) == ([False] * 5, True)


async def test_a_task_that_needs_a_skill_is_kept_for_somebody_who_has_it() -> None:
    """p0 would tell most and may not take it."""
    office = await office_with_a_doubt("birds")
    assert [await holds(office, f"p{n}") for n in (0, 5, 4)] == [False, False, True]


async def test_no_task_is_kept_for_somebody_under_suspicion() -> None:
    """p0 would tell most, were p0 not suspected: it goes to p4."""
    office = await office_with_a_doubt(suspect="p0")
    assert [await holds(office, name) for name in ("p0", "p5", "p4")] == [False, False, True]


async def test_without_the_setting_a_doubted_task_is_everybodys_at_once() -> None:
    """`ask_best_s: 0`: whoever comes first."""
    office = await office_with_a_doubt(ask_best_s=0.0)
    assert await holds(office, "p3")


async def holds(office: Office, name: str) -> bool:
    skills = [skill for skill, people in office.project.labeling.skills.items() if name in people]
    claimed = await office.queue.claim(name, 1, routes=routes_of(name, skills, best=True))
    return bool(claimed.leases)


def _answer(at: int, task: int, person: str, value: str) -> Annotation:
    receipt = Receipt(at + 1, AnnotationState.SUBMITTED, 1, 1_000 + at, 2_000 + at)
    return annotation(a_task(task), person, receipt, ANIMALS[value])


def _array(distribution: Mapping[str, float]) -> NDArray[np.float64]:
    return np.array([distribution[value] for value in CLASSES])


def _entropy(p: NDArray[np.float64]) -> float:
    return float(-(p * np.log(p)).sum())

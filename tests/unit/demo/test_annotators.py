"""The simulated people against the real API: what they say, what they note, and what a walk-off costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import Office, open_office, running
from tiebreak.apps.demo.annotators import Annotator, Workplace
from tiebreak.apps.demo.images import png
from tiebreak.apps.demo.journal import Entry, Journal, Known, read
from tiebreak.apps.demo.people import MISTAKEN_FOR, Habits, answer_of
from tiebreak.apps.demo.world import CLASSES, fingerprint
from tiebreak.contracts.messages import Payload, PayloadKind
from tiebreak.contracts.project import Classes, Project
from tiebreak.runtime.clock import ManualClock

NUMBERS = 12


def _image(number: int) -> bytes:
    return png(np.full((8, 8), number, np.uint8))


def _digits_project(lease_s: float = 60.0) -> Project:
    project = a_project("pets")
    labeling = project.labeling.model_copy(update={"lease_s": lease_s})
    return project.model_copy(update={"classes": Classes(names=CLASSES), "labeling": labeling})


@asynccontextmanager
async def _at_work(
    office: Office, habits: Habits, people: int = 2, truths: Mapping[bytes, str] | None = None
) -> AsyncIterator[Journal]:
    """Tasks with images on offer, and people who work until the block ends; their thinking takes no time."""
    journal = Journal()
    known = {fingerprint(_image(i)): CLASSES[i % 10] for i in range(NUMBERS)}
    place = Workplace(
        client=office.bare_client(),
        project="pets",
        truths=known if truths is None else truths,
        journal=journal,
        clock=ManualClock(),
        habits=habits,
    )
    stop = asyncio.Event()
    async with running(office):
        payloads = [Payload(PayloadKind.IMAGE, "image/png", _image(i)) for i in range(NUMBERS)]
        await office.publish_tasks(*(a_task(i, payload=payload) for i, payload in enumerate(payloads)))
        async with asyncio.TaskGroup() as group:
            for i in range(people):
                person = Annotator(place, f"person-{i}", await office.person(f"person-{i}"), i)
                group.create_task(person.run(stop))
            try:
                yield journal
            finally:
                stop.set()


async def _settled(office: Office, count: int) -> None:
    """Until so many tasks have their label: an answer that was accepted last is settled a moment later."""

    async def enough() -> bool:
        return len({label.label_id for label in await office.labels()}) == count

    await eventually(enough)


async def test_people_who_never_err_label_every_image_by_its_class() -> None:
    """They know an image by its bytes alone, and each answer they believe to be accepted is on the log, once."""
    office = await open_office(_digits_project())
    async with _at_work(office, Habits(error_rate=0.0, walk_off_rate=0.0)) as journal:
        await eventually(lambda: journal.count("submit", Known.OK) == NUMBERS)
        await _settled(office, NUMBERS)
    labels = {label.event_id: label.value for label in await office.labels()}
    assert labels == {f"event-{i}": CLASSES[i % 10] for i in range(NUMBERS)}
    said = {(e.task_id, e.annotator, e.value, e.key) for e in journal.entries if e.call == "submit"}
    assert said == {(a.task_id, a.annotator, a.value, a.idempotency_key) for a in await office.annotations()}


async def test_people_who_always_err_take_each_image_for_one_that_looks_like_it() -> None:
    """Errors are plausible ones, never the truth, and never a class that was not seen yet."""
    office = await open_office(_digits_project())
    async with _at_work(office, Habits(error_rate=1.0, walk_off_rate=0.0)) as journal:
        await eventually(lambda: journal.count("submit", Known.OK) == NUMBERS)
        await _settled(office, NUMBERS)
    for label in await office.labels():
        truth = CLASSES[int(label.event_id.removeprefix("event-")) % 10]
        assert label.value in MISTAKEN_FOR[truth]
        assert label.value != "9"


async def test_who_walks_off_gives_nothing_back_and_somebody_else_finishes_the_task() -> None:
    """No release and no heartbeat: the lease runs out by itself, and no task is lost to it."""
    office = await open_office(_digits_project(lease_s=1.0))
    habits = Habits(error_rate=0.0, walk_off_rate=0.5, away_s=1.5)
    async with _at_work(office, habits, people=4) as journal:
        await eventually(lambda: journal.count("submit", Known.OK) == NUMBERS, 60)
        await _settled(office, NUMBERS)
    left = journal.tasks("walk_off", Known.OK)
    assert left
    assert left.keys() <= journal.tasks("submit", Known.OK).keys()


async def test_an_image_that_nobody_taught_them_is_passed_on() -> None:
    """The page may show what the demo did not make: a skip, not a guess."""
    office = await open_office(_digits_project())
    async with _at_work(office, Habits(walk_off_rate=0.0), people=1, truths={}) as journal:
        await eventually(lambda: journal.count("skip", Known.OK) == NUMBERS)
    assert journal.count("submit") == 0


async def test_a_lost_answer_is_sent_again_under_the_same_key_and_counts_once() -> None:
    """The server accepted it and the connection broke: the client does not know, asks again, and is told the same."""
    office = await open_office(_digits_project())
    inner = httpx.ASGITransport(office.app)
    lost: list[str] = []

    async def forgetful(request: httpx.Request) -> httpx.Response:
        response = await inner.handle_async_request(request)
        if request.url.path.endswith("/annotations") and request.headers["idempotency-key"] not in lost:
            lost.append(request.headers["idempotency-key"])
            raise httpx.ReadError("the connection broke")
        return response

    async with _working_through(office, forgetful) as journal:
        await eventually(lambda: journal.count("submit", Known.OK) == 3)
        await _settled(office, 3)
    submits = [(e.outcome, e.key) for e in journal.entries if e.call == "submit"]
    assert submits == [pair for key in lost for pair in ((Known.INFO, key), (Known.OK, key))]
    # The log may hold an answer twice, and its label too where the first was not committed yet: ids say that they are the same.
    labels = {(label.label_id, label.revision) for label in await office.labels()}
    assert len({a.annotation_id for a in await office.annotations()}) == len(labels) == 3


@asynccontextmanager
async def _working_through(office: Office, handler: Callable[[httpx.Request], Any]) -> AsyncIterator[Journal]:
    journal, stop = Journal(), asyncio.Event()
    truths = {fingerprint(_image(i)): CLASSES[i] for i in range(3)}
    # httpx's name for "a function answers": the application behind it is real.
    client = httpx.AsyncClient(base_url="http://tiebreak.test", transport=httpx.MockTransport(handler))
    habits = Habits(error_rate=0.0, walk_off_rate=0.0)
    place = Workplace(client, "pets", truths, journal, ManualClock(), habits)
    async with running(office), asyncio.TaskGroup() as group:
        payloads = [Payload(PayloadKind.IMAGE, "image/png", _image(i)) for i in range(3)]
        await office.publish_tasks(*(a_task(i, payload=payload) for i, payload in enumerate(payloads)))
        group.create_task(Annotator(place, "ann", await office.person("ann"), 1).run(stop))
        try:
            yield journal
        finally:
            stop.set()


@pytest.mark.parametrize("truth", CLASSES)
def test_the_error_rate_is_the_one_that_was_asked_for(truth: str) -> None:
    """Over many equally spaced draws the share of wrong answers is the rate, and each mistake is as likely as the other."""
    answers = [answer_of(truth, 0.2, draw) for draw in np.arange(1000) / 1000]
    wrong = {value: answers.count(value) for value in MISTAKEN_FOR[truth]}
    assert answers.count(truth) == 800
    assert wrong == dict.fromkeys(MISTAKEN_FOR[truth], 100)


def test_a_journal_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """The auditor reads what the clients wrote, outcomes included."""
    journal = Journal(
        [Entry(1, "ann", "submit", Known.INFO, 503, "t", 4, "k", "3"), Entry(2, "ann", "claim", Known.FAIL, 401)]
    )
    journal.write(tmp_path / "journal.jsonl")
    assert read((tmp_path / "journal.jsonl").read_text().splitlines()) == journal

"""Gold that the project file names: published once, asked like any other, gone when the file no longer names it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.support.eventually import eventually
from tests.support.labeling import Queues, a_project
from tests.support.labeling_api import Office, claim, open_office, running, submit
from tiebreak.contracts.codec import decode_task, encode
from tiebreak.contracts.messages import Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.gold import Bank, Standing, declared
from tiebreak.labeling.stage_people import Around, People
from tiebreak.labeling.stage_reading import records_of


def a_project_with(*known: tuple[str, str]) -> Project:
    """Texts and their answers."""
    plain = a_project().model_dump(include={"project", "input", "classes"})
    gold = {"known": [{"text": text, "answer": answer} for text, answer in known]}
    return Project.model_validate({**plain, "labeling": {"gold": gold}})


def test_the_same_question_and_answer_is_the_same_piece() -> None:
    """To the byte, whatever stands beside it in the file; another answer is another piece, and looks the same to people."""
    one, other = ("It purrs.", "cat"), ("It barks.", "dog")
    first, second = declared(a_project_with(one, other))
    (again,) = declared(a_project_with(one))
    (changed,) = declared(a_project_with(("It purrs.", "dog")))
    assert encode(first) == encode(again)
    assert len({first.task_id, second.task_id, changed.task_id}) == 3
    assert (first.gold, changed.gold, first.payload) == ("cat", "dog", changed.payload)


def test_what_the_file_no_longer_names_is_asked_no_more() -> None:
    """Nor does it judge anybody, while gold that a reviewer made stays."""
    before, after = a_project_with(("It purrs.", "dog")), a_project_with(("It purrs.", "cat"))
    (wrong,), (right,) = declared(before), declared(after)
    bank = Bank([wrong, right], after)
    assert (wrong.task_id in bank, right.task_id in bank, len(bank), bank.read) == (False, True, 1, 2)
    copy = Bank([wrong], before).next_for("ann", {}, 0)
    assert copy is not None
    assert bank.truth(copy.task_id, "ann") is None


@pytest.mark.parametrize(
    ("gold", "payload", "complaint"),
    [
        ({"answer": "cow", "text": "It moos."}, "text", "labeling.gold.known.0: answer: is none of the classes"),
        ({"answer": "cat"}, "text", "give either text or columns"),
        ({"answer": "cat", "text": "a", "columns": {"b": 1}}, "text", "give either text or columns"),
        ({"answer": "cat", "columns": {"legs": 4}}, "text", "gold.known.0: shows table, while payload is text"),
        ({"answer": "cat", "text": "It purrs."}, "image", "gold.known.0: shows text, while payload is image"),
    ],
)
def test_gold_that_nobody_could_answer_is_refused_with_its_place(
    gold: dict[str, object], payload: str, complaint: str
) -> None:
    """When the file is read, not when somebody is judged by it."""
    plain = a_project().model_dump(include={"project", "input", "classes"})
    with pytest.raises(ValidationError) as refused:
        Project.model_validate({**plain, "labeling": {"payload": payload, "gold": {"known": [gold]}}})
    assert complaint in str(refused.value)


def test_columns_are_shown_in_the_order_of_the_file() -> None:
    """As in live tasks: sorted ones would tell gold from the rest."""
    plain = a_project().model_dump(include={"project", "input", "classes"})
    known = [{"answer": "cat", "columns": {"legs": 4, "age": 1.5, "name": "Tom"}}]
    project = Project.model_validate({**plain, "labeling": {"payload": "table", "gold": {"known": known}}})
    (piece,) = declared(project)
    assert piece.payload is not None
    assert piece.payload.data == b'{"legs": 4, "age": 1.5, "name": "Tom"}'


async def pieces_of(office: Office) -> list[Task]:
    """The gold on `tasks`, copies left out."""
    topic = Topic.TASKS.of(office.project.project)
    tasks = [decode_task(record.value) async for record in records_of(office.log, topic)]
    return [task for task in tasks if task.gold and not task.audience]


async def test_the_gold_of_the_file_is_published_once_and_judges_people(queue: Queues) -> None:
    """Nobody did anything for it; a process that starts later finds it there."""
    office = await open_office(a_project_with(("It purrs.", "cat"), ("It barks.", "dog")), queue)
    around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.999)
    people = People(office.project, queue, around)
    office.watch(people)
    async with running(office), await office.client("ann") as ann:

        async def judged() -> Standing | None:
            if await queue.is_built():
                for task in (await claim(ann))["tasks"]:
                    assert (await submit(ann, task, "cat")).status_code == 201
            standing = people.figures.standing("ann")
            return standing if standing.asked == 2 else None

        assert await eventually(judged) == Standing(1, 2)
        await People(office.project, queue, around).tend()
    assert sorted(piece.gold for piece in await pieces_of(office)) == ["cat", "dog"]
    assert await office.labels() == []

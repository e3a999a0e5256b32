"""Settling by the posterior: the same labels however the log is cut into batches, and after any restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from tests.support.crowds import habits, votes
from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task, annotation
from tests.support.labeling_api import Office, open_office
from tiebreak.contracts.codec import decode_label, encode
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.log import Batch, Outputs, Partition, Record
from tiebreak.contracts.messages import Annotation, AnnotationState, Label
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.port import Receipt
from tiebreak.labeling.stage import Settler, annotation_message
from tiebreak.labeling.stage_crowd import Panel
from tiebreak.labeling.stage_reading import records_of
from tiebreak.labeling.stage_rebuild import Rebuilder
from tiebreak.runtime.clock import SystemClock

TASKS = 60
ANIMALS = {"ant": "cat", "bee": "dog", "cow": "bird", "dog": "cat"}
PEOPLE = [habits(a) for a in (0.95, 0.9, 0.9, 0.8, 0.3)]


def crowd_project(consensus: Literal["weighted", "dawid_skene"] = "dawid_skene") -> Project:
    project = a_project(max_votes=4)
    return project.model_copy(
        update={"labeling": project.labeling.model_copy(update={"consensus": consensus, "confidence": 0.9})}
    )


def the_answers() -> list[Annotation]:
    """Up to four answers per task, in an order that mixes the tasks."""
    said = votes(5, TASKS, PEOPLE, 4).said
    mixed = [said[i] for turn in range(4) for i in range(turn, len(said), 4)]
    return [_annotation(i, int(task[1:]), person, ANIMALS[value]) for i, (task, person, value) in enumerate(mixed)]


def _annotation(at: int, task: int, person: str, value: str) -> Annotation:
    receipt = Receipt(at + 1, AnnotationState.SUBMITTED, 1, 1_000 + at, 2_000 + at)
    return annotation(a_task(task), person, receipt, value)


async def office_with_answers(project: Project) -> Office:
    office = await open_office(project)
    await office.publish_tasks(*(a_task(i) for i in range(TASKS)))
    messages = [annotation_message(a) for a in the_answers()]
    await office.log.writer().publish(Outputs(messages=messages))
    return office


async def batches(office: Office, size: int) -> list[Batch]:
    """The topic in batches of ``size`` records of one partition after the other's turn."""
    waiting: dict[Partition, list[Record]] = {}
    async for record in records_of(office.log, Topic.ANNOTATIONS.of("pets")):
        waiting.setdefault(Partition(record.topic, record.partition), []).append(record)
    made: list[Batch] = []
    while any(waiting.values()):
        made.append({p: records[:size] for p, records in waiting.items() if records})
        waiting = {p: records[size:] for p, records in waiting.items()}
    return made


async def fresh_queue(project: Project) -> MemoryQueue:
    queue = MemoryQueue(project, SystemClock())
    await queue.add([a_task(i) for i in range(TASKS)])
    return queue


def settler(office: Office, queue: MemoryQueue) -> Settler:
    return Settler(office.project, queue, office.metrics, panel=Panel(office.project, queue, office.log))


async def labels_of(who: Settler, cut: Sequence[Batch]) -> dict[tuple[str, int], bytes]:
    made: dict[tuple[str, int], bytes] = {}
    for batch in cut:
        for message in (await who.handle(batch)).outputs.messages:
            label = decode_label(message.value)
            made[label.task_id, label.revision] = message.value
    return made


@pytest.mark.parametrize("consensus", ["weighted", "dawid_skene"])
async def test_the_same_labels_however_the_log_is_cut_into_batches(
    consensus: Literal["weighted", "dawid_skene"],
) -> None:
    """One answer at a time, seven at a time, all at once: the same bytes on `labels`."""
    project = crowd_project(consensus)
    office = await office_with_answers(project)
    made = [
        await labels_of(settler(office, await fresh_queue(project)), await batches(office, size))
        for size in (1, 7, 1000)
    ]
    assert made[0] == made[1] == made[2]
    assert len(made[0]) > TASKS * 0.6


async def test_a_settler_that_takes_over_in_the_middle_decides_as_the_first_would_have() -> None:
    """Killed after half of the log, or thrown back to its last commit: people are known from the log, the labels the same."""
    project = crowd_project()
    office = await office_with_answers(project)
    cut = await batches(office, 5)
    whole = await labels_of(settler(office, await fresh_queue(project)), cut)
    queue = await fresh_queue(project)
    first = settler(office, queue)
    made = await labels_of(first, cut[: len(cut) // 2])
    await first.rewind()
    made |= await labels_of(first, cut[len(cut) // 2 - 1 : len(cut) // 2 + 2])
    second = settler(office, queue)
    made |= await labels_of(second, cut[len(cut) // 2 + 1 :])
    assert made == whole


async def test_a_settler_that_takes_over_a_long_log_holds_its_batch_until_it_was_read() -> None:
    """Whoever consumes polls meanwhile, and is not put out of the group; then it decides as the first would have."""
    project = crowd_project()
    office = await office_with_answers(project)
    cut = await batches(office, 5)
    half = len(cut) // 2
    whole = await labels_of(settler(office, await fresh_queue(project)), cut)
    queue = await fresh_queue(project)
    made = await labels_of(settler(office, queue), cut[:half])
    panel = Panel(project, queue, office.log, patience_s=0.0)
    second = Settler(project, queue, office.metrics, panel=panel)
    for batch in (cut[-1], cut[half]):
        with pytest.raises(SlowDown):
            await second.handle(batch)
        await second.rewind()  # and what was being read is not taken for what comes before an earlier batch

    async def decided() -> list[dict[tuple[str, int], bytes]]:
        return [await labels_of(second, cut[half : half + 1])]

    made |= (await eventually(decided, retry_on=(SlowDown,)))[0]
    made |= await labels_of(second, cut[half + 1 :])
    assert made == whole


async def test_a_lost_store_is_rebuilt_to_the_same_labels() -> None:
    """Everything forgotten before anything was settled: the rebuilder publishes what the settler would have."""
    project = crowd_project()
    office = await office_with_answers(project)
    whole = await labels_of(
        settler(office, await fresh_queue(project)),
        await batches(office, 9),
    )
    queue = MemoryQueue(project, SystemClock())
    queue.lose()
    assert await Rebuilder(project, queue, office.log, office.metrics, office.trail()).ensure()
    published = {(x.task_id, x.revision): encode(x) for x in await office.labels()}
    assert published == whole
    assert (await queue.stats()).open_tasks == TASKS - len({task for task, _ in whole})


async def test_a_label_carries_the_posterior() -> None:
    """Its distribution is over all classes, its confidence beyond the bound, its votes weighted; few need four answers."""
    project = crowd_project()
    office = await office_with_answers(project)
    raw = await labels_of(settler(office, await fresh_queue(project)), await batches(office, 9))
    made: list[Label] = [decode_label(value) for value in raw.values()]
    assert all(set(x.distribution) == {"cat", "dog", "bird"} for x in made)
    assert all(x.confidence == max(x.distribution.values()) >= 0.9 for x in made)
    assert all(0.0 < v.weight < 1.0 for x in made for v in x.votes)
    assert sum(len(x.votes) for x in made) / len(made) < 3.0

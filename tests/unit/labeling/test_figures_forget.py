"""Figures of people are those of the answers that are left: what the audit trail has ended is in none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import Office, open_office
from tests.unit.labeling.test_people import crowd, said
from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import decode_task
from tiebreak.contracts.log import Batch, Outputs, RebalanceListener
from tiebreak.contracts.messages import Annotation
from tiebreak.contracts.project import Privacy, Retention
from tiebreak.contracts.retention import order_of
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.events.memory import MemoryLog
from tiebreak.events.stage_reader import LeasedReader
from tiebreak.labeling.access import Role
from tiebreak.labeling.figures import DAY_MS, Figures
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.port import Refusal
from tiebreak.labeling.stage import annotation_message
from tiebreak.labeling.stage_people import Around, People
from tiebreak.labeling.stage_reading import records_of
from tiebreak.runtime.clock import ManualClock

OLD = [
    said("t1", "ann", "cat", lead_s=90.0),
    said("t1", "bob", "dog"),
    said("t2", "cem", "cat"),
    said("t3", "ann", "-"),
    said("g1", "ann", "cat"),
]
NEW = [
    said("t4", "ann", "cat", day=1),
    said("t4", "bob", "cat", day=2),
    said("t1", "dan", "dog", day=1),
    said("t5", "bob", "-", day=2),
    said("g2", "bob", "cat", day=2),
]
GOLD = {"g1": "dog", "g2": "cat"}


def figures_of(answers: list[Annotation], **settings: int) -> Figures:
    figures = Figures(**settings)
    for a in answers:
        figures.hear(a, GOLD.get(a.task_id))
    figures.settled("t4", 1, "cat", False)
    return figures


def told(figures: Figures) -> object:
    """All that managers are told, and what is thought of suspects."""
    return (
        figures.people(),
        figures.project(),
        sorted(figures.names()),
        sorted((task, dict(votes)) for task, votes in figures.votes()),
    )


def forget(figures: Figures, before_ms: int) -> int:
    """In how many steps."""
    return sum(1 for _ in figures.forget_before(before_ms))


@pytest.mark.parametrize("window", [2, 20_000])
def test_figures_that_forget_say_what_those_say_that_never_heard_it(window: int) -> None:
    """Counts, gold, agreement, speed, days, names, votes; whether the tasks are in the window or not, and who comes late is late."""
    figures, fresh = (figures_of(answers, window=window, step_ms=DAY_MS // 8) for answers in (OLD + NEW, NEW))
    assert told(figures) != told(fresh)
    forget(figures, DAY_MS)
    assert told(figures) == told(fresh)
    assert figures.answers == fresh.answers == 4
    figures.hear(OLD[2])
    assert told(figures) == told(fresh)
    forget(figures, 3 * DAY_MS)
    assert (figures.people(), figures.answers, figures.alpha, figures._tasks) == ([], 0, None, {})


def test_a_snapshot_stays_as_it_was_whatever_is_heard_or_forgotten_after_it() -> None:
    """Who looks at it does so in a thread, while answers come."""
    figures, same = figures_of(OLD), figures_of(OLD)
    taken = figures.snapshot()
    for a in (*NEW, said("t1", "ann", "dog", revision=2), said("t3", "ann", "cat", revision=2)):
        figures.hear(a, GOLD.get(a.task_id))
    figures.hear(said("t2", "cem", "dog", revision=2), "dog")
    figures.settled("t1", 1, "dog", False)
    assert told(taken) == told(same)
    forget(figures, 3 * DAY_MS)
    assert told(taken) == told(same) != told(figures)


def test_a_piece_of_gold_that_is_answered_anew_counts_once() -> None:
    """Right, wrong, skipped: what was said last, and skipping takes it out."""
    figures = Figures()
    stood = []
    for revision, value in enumerate(("cat", "dog", "-", "dog", "cat"), 1):
        figures.hear(said("g1", "ann", value, revision=revision), "cat")
        standing = figures.standing("ann")
        stood.append((standing.right, standing.asked))
    assert stood == [(1, 1), (0, 1), (0, 0), (0, 1), (1, 1)]


def test_gold_that_was_answered_long_ago_is_not_asked_again() -> None:
    """What the answer was is forgotten."""
    figures = figures_of(OLD, step_ms=DAY_MS)
    forget(figures, DAY_MS)
    assert (list(figures.had_gold("ann")), figures.standing("ann").asked) == (["g1"], 0)


def test_the_window_forgets_the_sums_of_what_left_it() -> None:
    """A person with more answers than the window holds: those before the horizon are taken off, those after it stay."""
    figures = Figures(window=3, step_ms=DAY_MS)
    for number in range(20):
        figures.hear(said(f"t{number}", "ann", "cat", day=number // 5))
    forget(figures, 2 * DAY_MS)
    (ann,) = figures.people()
    assert (ann.answers, ann.per_day) == (10, 5.0)


def test_much_is_forgotten_in_small_steps_and_may_be_looked_at_in_between() -> None:
    """People are served by the same loop; whoever looks meanwhile sees figures that are about to be smaller."""
    figures = Figures(step_ms=DAY_MS)
    for number in range(1000):
        figures.hear(said(f"t{number}", f"p{number // 10}", "cat", day=number // 900))
        figures.hear(said(f"g{number}", f"p{number // 10}", "cat", day=number // 900), truth="cat")
    steps, tasks = 0, {f"t{number}" for number in range(1000)}
    for _ in figures.forget_before(DAY_MS):
        steps += 1
        looked = figures.snapshot()
        assert {p.name for p in looked.people()} >= {f"p{number}" for number in range(90, 100)}
        assert {task for task, _ in looked.votes()} <= tasks
        assert 200 <= looked.project().answers <= 2000
    assert steps >= 2000 // 200 + 100 // 20
    assert (figures.answers, len(list(figures.votes())), len(figures.people())) == (200, 100, 10)


async def people_of(days: float | None = 8.0) -> tuple[Office, People]:
    """People who follow an office with a trail, whose answers are kept for so many days."""
    kept = Retention() if days is None else Retention(tasks_days=days, annotations_days=days)
    project = a_project().model_copy(update={"privacy": Privacy(retention=kept)})
    office = await open_office(project)
    around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 1.0, office.trail())
    people = People(project, office.queue, around)
    office.watch(people)
    return office, people


async def ended(office: Office, before_ms: int) -> None:
    await office.trail().append_once("retention", Action.RETENTION_ENDED, "annotations", order_of(before_ms))


def now_ms(office: Office) -> int:
    return round(office.clock.wall() * 1000)


@pytest.mark.parametrize("days", [8.0, None])
async def test_a_process_that_starts_never_counts_what_the_trail_has_ended(days: float | None) -> None:
    """The topic has it still, and the file may allow more by now: `/crowd` tells of the answers that are left."""
    office, people = await people_of(days)
    old, new = (replace(said(f"t{i}", "ann", "cat"), submitted_ms=now_ms(office) - i * DAY_MS) for i in (9, 1))
    await ended(office, now_ms(office) - 8 * DAY_MS)
    await office.log.writer().publish(Outputs([annotation_message(a) for a in (old, new)]))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group, await office.client("max", Role.MANAGER) as manager:
        group.create_task(people.run(stop))
        await eventually(lambda: people.figures.answers)
        crowd = (await manager.get("/v1/projects/pets/crowd")).json()
        stop.set()
    assert (crowd["answers"], [(p["name"], p["answers"]) for p in crowd["people"]]) == (1, [("ann", 1)])


async def test_a_process_that_runs_forgets_when_the_trail_says_so() -> None:
    """Not before: what is due counts until it is ordered. With the answers goes a pause for gold that was answered long ago."""
    office, people = await people_of()
    await office.queue.keep_gold([a_task(n, gold="cat") for n in range(12)])
    await people.tend()
    wrong = [
        replace(said(copy, "ann", "dog"), submitted_ms=now_ms(office) - 9 * DAY_MS) for copy in people.bank._of("ann")
    ]
    await office.log.writer().publish(Outputs([annotation_message(a) for a in wrong]))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(people.run(stop))
        await eventually(lambda: people.figures.answers == 12)
        assert people.refusal("ann") is Refusal.PAUSED
        await ended(office, now_ms(office) - 8 * DAY_MS)
        people._look_at_trail = float("-inf")
        await eventually(lambda: people.figures.names() == [])
        assert people.refusal("ann") is None
        stop.set()


async def test_nobody_is_suspected_for_answers_that_are_forgotten() -> None:
    """There are fewer answers than at the last look: that is a reason to look again, as more of them are."""
    _, people = await people_of()
    for number, answers in enumerate(crowd(2)):
        for person, value in answers.items():
            people.figures.hear(said(f"t{number}", person, "ant" if person == "p0" else value))
    await people.tend()
    assert people.suspected("p0")
    forget(people.figures, DAY_MS)
    people._look_again = float("-inf")
    await people.tend()
    assert not people.suspected("p0")


async def test_gold_that_the_queue_will_not_give_again_is_not_waited_for() -> None:
    """A process that starts knows of no answer to it, as retention has ended that; the queue knows that it is settled, and takes no

    copy of it. The person gets the next piece after a minute, and one that waits is left waiting.
    """
    office, _ = await people_of()
    clock = ManualClock(wall=office.clock.wall())
    people = People(
        office.project, office.queue, Around(office.log, office.log.writer(), office.metrics, clock, lambda: 1.0)
    )
    await office.queue.keep_gold([a_task(n, gold="cat") for n in range(3)])

    async def asked() -> list[str]:
        await people.tend()
        copies = [decode_task(r.value) async for r in records_of(office.log, Topic.TASKS.of("pets"))]
        await office.queue.add(copies)
        return [copy.task_id for copy in copies]

    people.routes("ann", 1, review=False)
    (first,) = await asked()
    await office.queue.erase([first])
    clock.advance(59.0)
    assert await asked() == [first]
    clock.advance(2.0)
    _, second = await asked()
    for _ in range(3):
        clock.advance(61.0)
        assert await asked() == [first, second]
    people.figures.hear(said(second, "ann", "cat"), truth="cat")
    *_, third = await asked()
    people.figures.hear(said(third, "ann", "cat"), truth="cat")
    assert await asked() == [first, second, third]
    assert people._waits_since == {}  # the queue is not asked about it each minute


async def test_who_was_let_go_on_is_not_paused_because_answers_are_forgotten() -> None:
    """There is less gold behind them than when a manager let them go on, and no new answer."""
    office, people = await people_of()
    await office.queue.keep_gold([a_task(n, gold="cat") for n in range(40)])
    await people.tend()
    for number, copy in enumerate(people.bank._of("ann")):
        people.figures.hear(said(copy, "ann", "dog", day=number % 2), truth="cat")
    assert people.refusal("ann") is not None
    await people.forgive("ann")
    assert people.refusal("ann") is None
    forget(people.figures, DAY_MS)
    assert people.figures.standing("ann").asked == 20
    assert people.refusal("ann") is None


class _HeldReader(LeasedReader):
    """Gives one record, and the others when it is let."""

    let: asyncio.Event
    gave = False

    async def poll(self, max_records: int, timeout_s: float) -> Batch:
        if not self.gave:
            batch = await super().poll(1, timeout_s)
            self.gave = bool(batch)
            return batch
        await self.let.wait()
        return await super().poll(max_records, timeout_s)


class _HeldLog(MemoryLog):
    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()

    def reader(
        self, topics: Sequence[str], group: str | None, listener: RebalanceListener | None = None
    ) -> LeasedReader:
        assert listener is None
        reader = _HeldReader(self._store, topics, group, self._lease)
        reader.let = self.let
        return reader


async def test_nobody_is_sent_to_a_process_that_has_not_read_what_people_said() -> None:
    """Whoever is paused would get tasks there; what comes later does not make it unready again."""
    office, log = await open_office(a_project()), _HeldLog()
    await log.ensure_topics(specs_for("pets", 2))
    people = People(office.project, office.queue, Around(log, log.writer(), office.metrics, office.clock, lambda: 0.5))
    await log.writer().publish(Outputs(messages=[annotation_message(a) for a in OLD]))
    queue = office.queue
    assert isinstance(queue, MemoryQueue)
    queue.lose()
    stop = asyncio.Event()

    async def known() -> bool:
        return await people.ready() == ""

    async with asyncio.TaskGroup() as group:
        assert not await known()
        group.create_task(people.run(stop))
        await eventually(known)  # nobody is served before the queue is built, and who builds it may be started after us
        builder = await queue.begin_build()
        assert builder is not None
        await builder.end_build([])
        await eventually(people.figures.names)
        assert "still being read" in await people.ready()
        log.let.set()
        await eventually(known)
        assert people.figures.answers == 4
        await log.writer().publish(Outputs(messages=[annotation_message(NEW[0])]))
        assert await people.ready() == ""
        stop.set()

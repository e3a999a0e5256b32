"""The queue's contract about waiting tasks that a newer model has an opinion on, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from dataclasses import replace

from tests.support.labeling import HASTY, Bench, a_task, answer
from tiebreak.contracts.messages import AnnotationState, Task
from tiebreak.labeling.port import Outcome, Queue, Stats


async def waiting(queue: Queue) -> list[Task]:
    """All pages, sorted by event."""
    found: dict[str, Task] = {}
    cursor, first = 0, True
    while first or cursor:
        page = await queue.page(cursor, 3)
        found |= {task.task_id: task for task in page.tasks}
        cursor, first = page.cursor, False
    return sorted(found.values(), key=lambda task: task.event_id)


async def test_pages_hold_every_task_whole(bench: Bench) -> None:
    """However small the pages are, each task that waits is in one of them as it was added; an empty queue has an empty page."""
    queue = bench.queue()
    assert await waiting(queue) == []
    tasks = sorted((a_task(i) for i in range(600)), key=lambda task: task.event_id)
    await queue.add(tasks)
    assert await waiting(queue) == tasks


async def test_a_withdrawn_task_is_gone_for_good(bench: Bench) -> None:
    """It is offered to nobody, counted no more, and a replay of the topic does not bring it back; again and unknown: no change."""
    queue, gone, left = bench.queue(), a_task(1), a_task(2, lane="triage+birds")
    await queue.add([gone, left])
    assert [await queue.withdraw([gone.task_id, gone.task_id, "f" * 32]), await queue.withdraw([gone.task_id])] == [
        1,
        0,
    ]
    assert await queue.add([gone]) == 0
    assert await queue.withdraw([left.task_id]) == 1
    assert (await queue.claim("ann", 5)).leases == ()
    assert await queue.stats() == Stats(open_tasks=0, waiting=0, leased=0, in_review=0)


async def test_what_somebody_was_given_is_not_withdrawn(bench: Bench) -> None:
    """Held, held once, or answered: the work of people counts, also a late answer that is still to come."""
    queue = bench.queue(HASTY)
    tasks = [a_task(i) for i in range(3)]
    await queue.add(tasks)
    answered, expired = (await queue.claim("ann", 2)).leases
    (applied,) = await queue.apply([await answer(queue, answered, "ann")])
    await bench.pass_ms(10)
    await queue.sweep(100)
    (held,) = (await queue.claim("bob", 1)).leases
    assert (applied.outcome, held.task) == (Outcome.NEW, expired.task)
    assert await queue.withdraw([task.task_id for task in tasks]) == 1
    late = await answer(queue, expired, "ann")
    (counted,) = await queue.apply([late])
    assert (late.state, counted.outcome) == (AnnotationState.LATE, Outcome.NEW)


async def test_a_new_priority_moves_what_waits_and_nothing_else(bench: Bench) -> None:
    """The order of claims is that of the new priorities; a task in somebody's hands comes back to its old line."""
    queue = bench.queue()
    a, b, c = (a_task(i, priority=p) for i, p in ((1, 0.9), (2, 0.5), (3, 0.1)))
    await queue.add([a, b, c])
    (held,) = (await queue.claim("ann", 1)).leases
    moved = await queue.rerank([replace(t, priority=p) for t, p in ((a, 0.0), (b, 0.2), (c, 0.8))])
    order = [lease.task for lease in (await queue.claim("bob", 2)).leases]
    assert (held.task, moved, order) == (a, 2, [c, b])

"""The queue's contract about tasks kept for whoever would tell most about them, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from dataclasses import replace

from tests.support.labeling import CALM, HASTY, Bench, a_task, answer, decided
from tiebreak.contracts.messages import AnnotationState, Task
from tiebreak.labeling.port import KEPT_FOR_ONE, Empty, Lease, Reopen, Stats
from tiebreak.labeling.routing import routes_of

SHORT = replace(CALM, ask_best_ms=5)


async def claim(bench: Bench, name: str, want: int = 1) -> list[Lease]:
    return list((await bench.queue().claim(name, want, routes=routes_of(name, [], best=True))).leases)


async def doubted(bench: Bench, *numbers: int, people: tuple[str, ...]) -> list[Task]:
    """Tasks with one answer of Zoe's, kept for the first of ``people`` who is free."""
    queue = bench.queue(replace(SHORT, ask_best_ms=60_000))
    tasks = [a_task(number) for number in numbers]
    await queue.add(tasks)
    for lease in await claim(bench, "zoe", len(tasks)):
        await queue.apply([await answer(queue, lease, "zoe")])
        await queue.reopen([Reopen(lease.task.task_id, 1, review=False, people=people)])
    return tasks


async def test_a_doubted_task_goes_to_the_best_person_and_meanwhile_to_nobody_else(bench: Bench) -> None:
    """Kept for Bob, and waiting: Ann is told that somebody has it, and when to come again; Bob gets it before common work, one time."""
    (task,) = await doubted(bench, 1, people=("bob", "ann"))
    assert await bench.queue().stats() == Stats(open_tasks=1, waiting=1, leased=0, in_review=0)
    nothing = await bench.queue().claim("ann", 1, routes=routes_of("ann", [], best=True))
    assert (nothing.leases, nothing.reason) == ((), Empty.ALL_LEASED)
    assert 50 < nothing.retry_after_s <= 60
    await bench.queue().add([a_task(2, priority=1.0)])
    bob = await claim(bench, "bob", 2)
    assert [lease.task for lease in bob] == [task, a_task(2, priority=1.0)]
    assert await claim(bench, "ann") == []


async def test_a_task_kept_for_somebody_who_does_not_come_is_everybodys_again(bench: Bench) -> None:
    """After `ask_best_s` the sweep offers it to all but those who answered it; nothing is stranded, and nobody gets it twice."""
    queue = bench.queue(SHORT)
    await queue.add([a_task(1)])
    (lease,) = await claim(bench, "zoe")
    await queue.apply([await answer(queue, lease, "zoe")])
    await queue.reopen([Reopen(lease.task.task_id, 1, review=False, people=("bob",))])
    await bench.pass_ms(10)
    assert (await queue.sweep(10)).let_go == 1
    assert (await queue.sweep(10)).let_go == 0
    assert await claim(bench, "zoe") == []
    (ann,) = await claim(bench, "ann")
    assert (ann.task, await claim(bench, "bob")) == (lease.task, [])


async def test_few_tasks_are_kept_for_one_person_and_the_next_best_gets_the_others(bench: Bench) -> None:
    """Whoever is best at everything keeps nobody waiting: what is more than a few goes to the next, and at last to everybody."""
    tasks = await doubted(bench, *range(1, 2 * KEPT_FOR_ONE + 2), people=("bob", "cem"))
    anybody = await claim(bench, "ann", 9)
    bob, cem = await claim(bench, "bob", 9), await claim(bench, "cem", 9)
    assert [[lease.task for lease in held] for held in (bob, cem, anybody)] == [tasks[:2], tasks[2:4], tasks[4:]]


async def test_a_kept_task_that_is_given_back_is_everybodys(bench: Bench) -> None:
    """Released by whom it was kept for, or their lease ran out: it is on one route, for one person at a time."""
    released, expired = await doubted(bench, 1, 2, people=("bob",))
    hasty = bench.queue(HASTY)
    first, second = (await hasty.claim("bob", 2, routes=routes_of("bob", [], best=True))).leases
    await hasty.release("bob", released.task_id, first.token)
    assert [lease.task for lease in await claim(bench, "ann", 9)] == [released]
    await bench.pass_ms(10)
    await hasty.sweep(10)
    cem = await claim(bench, "cem", 9)
    assert ([lease.task for lease in cem], second.task, await claim(bench, "bob", 9)) == ([expired], expired, [])


async def test_a_kept_task_leaves_its_line_whatever_becomes_of_it(bench: Bench) -> None:
    """Sent to review, erased, or settled by a late answer while it is kept: nobody is given it, and the sweep finds nothing."""
    reviewed, erased = await doubted(bench, 1, 2, people=("bob", "cem"))
    queue, hasty = bench.queue(SHORT), bench.queue(HASTY)
    await queue.reopen([Reopen(reviewed.task_id, 1, review=True)])
    await queue.erase([erased.task_id])
    await queue.add([a_task(3)])
    (late,) = (await hasty.claim("dan", 1)).leases
    await bench.pass_ms(10)
    await hasty.sweep(10)
    (lease,) = await claim(bench, "zoe")
    await queue.apply([await answer(queue, lease, "zoe")])
    await queue.reopen([Reopen(late.task.task_id, 1, review=False, people=("bob",))])
    made = await answer(queue, late, "dan")
    assert made.state is AnnotationState.LATE
    (applied,) = await queue.apply([made])
    await queue.settle([decided(applied.record)])
    await bench.pass_ms(10)
    assert (await queue.sweep(10)).let_go == 0
    assert (await claim(bench, "bob", 9), await claim(bench, "cem", 9)) == ([], [])
    assert await queue.stats() == Stats(open_tasks=1, waiting=0, leased=0, in_review=1)


async def test_asking_again_for_a_kept_task_moves_it_nowhere(bench: Bench) -> None:
    """The settler, started again, asks as before: the task is on one line still, and claimed once."""
    (task,) = await doubted(bench, 1, people=("bob",))
    await bench.queue().reopen([Reopen(task.task_id, 1, review=False)])
    await bench.queue().reopen([Reopen(task.task_id, 1, review=False, people=("ann",))])
    assert await claim(bench, "ann") == []
    assert [lease.task for lease in await claim(bench, "bob")] == [task]
    assert await claim(bench, "cem") == []

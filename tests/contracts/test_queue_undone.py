"""The queue's contract about people who change their minds faster than the log is folded, over the twin and over Redis alike."""

from __future__ import annotations

from tests.support.labeling import HASTY, Bench, Queues, a_task, annotation, answer, decided, request
from tiebreak.contracts.messages import Annotation, AnnotationState
from tiebreak.labeling.port import Act, Lease, Reopen, Stats


async def voted(queue: Queues, value: str = "dog") -> tuple[Lease, Annotation]:
    """Ann's answer to the only task, confirmed and not folded."""
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    return lease, await answer(queue, lease, "ann", value)


async def undo(queue: Queues, lease: Lease, who: str = "ann") -> tuple[Annotation, Lease | None]:
    receipt = await queue.prepare(request(lease, who, act=Act.UNDO))
    made = annotation(lease.task, who, receipt)
    return made, await queue.confirm(made, counted=True)


async def test_a_task_is_not_offered_while_its_next_answer_waits_to_be_folded(bench: Bench) -> None:
    """Ann answers, takes it back and answers anew before the log is read: Bob would work for nothing."""
    queue = bench.queue()
    lease, first = await voted(queue)
    (applied,) = await queue.apply([first])
    await queue.settle([decided(applied.record)])
    undone, again = await undo(queue, lease)
    assert again is not None
    second = await answer(queue, again, "ann", "cat")
    (applied,) = await queue.apply([undone])
    taken = decided(applied.record)
    assert await queue.settle([taken]) == [taken.label]
    await queue.reopen([Reopen(lease.task.task_id, 2, review=False)])
    assert await queue.stats() == Stats(open_tasks=1, waiting=0, leased=0, in_review=0)
    assert (await queue.claim("bob", 1)).leases == ()
    (applied,) = await queue.apply([second])
    assert (decided(applied.record).label.value, decided(applied.record).label.revision) == ("cat", 3)


async def test_a_task_is_offered_once_the_answer_that_it_waited_for_is_folded(bench: Bench) -> None:
    """The answer that was on its way is a skip, so somebody else is needed after all."""
    queue = bench.queue()
    lease, first = await voted(queue)
    undone, again = await undo(queue, lease)
    assert again is not None
    skipped = await answer(queue, again, "ann", act=Act.SKIP)
    await queue.apply([first, undone])
    await queue.reopen([Reopen(lease.task.task_id, 2, review=False)])
    assert (await queue.claim("bob", 1)).leases == ()
    await queue.apply([skipped])
    await queue.reopen([Reopen(lease.task.task_id, 3, review=False)])
    assert [x.task for x in (await queue.claim("bob", 1)).leases] == [lease.task]


async def test_a_lease_that_ends_does_not_offer_a_task_whose_late_answer_waits_to_be_folded(bench: Bench) -> None:
    """Ann's answer came while Bob held the task: neither his giving it back nor his walking off offers it to a third."""
    queue, hasty = bench.queue(), bench.queue(HASTY)
    await queue.add([a_task(1), a_task(2)])
    for away in (True, False):
        (lease,) = (await hasty.claim("ann", 1)).leases
        await bench.pass_ms(10)
        await queue.sweep(10)
        (held,) = (await (hasty if away else queue).claim("bob", 1)).leases
        assert held.task == lease.task
        late = await answer(queue, lease, "ann")
        assert late.state is AnnotationState.LATE
        if away:
            await bench.pass_ms(10)
            assert (await queue.sweep(10)).leases_expired == 1
        else:
            await queue.release("bob", held.task.task_id, held.token)
        others = (await queue.claim("cyd", 5)).leases
        assert lease.task not in [x.task for x in others]
        for other in others:
            await queue.release("cyd", other.task.task_id, other.token)
        (applied,) = await queue.apply([late])
        await queue.settle([decided(applied.record)])


async def test_an_undo_that_the_log_brings_before_its_confirmation_leaves_the_task_with_its_author(
    bench: Bench,
) -> None:
    """Nobody can be quicker than the confirmation: the fold gives the task back, the confirmation names that lease."""
    queue = bench.queue()
    lease, first = await voted(queue)
    (applied,) = await queue.apply([first])
    await queue.settle([decided(applied.record)])
    receipt = await queue.prepare(request(lease, "ann", act=Act.UNDO))
    undone = annotation(lease.task, "ann", receipt)
    (applied,) = await queue.apply([undone])
    await queue.settle([decided(applied.record)])
    assert await queue.stats() == Stats(open_tasks=1, waiting=0, leased=1, in_review=0)
    assert (await queue.claim("bob", 1)).leases == ()
    again = await queue.confirm(undone, counted=True)
    assert again is not None
    assert (again.task, again.token > lease.token) == (lease.task, True)
    assert [x.token for x in (await queue.claim("ann", 1)).leases] == [again.token]
    (applied,) = await queue.apply([await answer(queue, again, "ann", "bird")])
    assert decided(applied.record).label.value == "bird"


async def test_an_undo_that_is_never_confirmed_gives_its_task_to_others_when_the_lease_ends(bench: Bench) -> None:
    """The API died between the log and the confirmation, and its author is gone."""
    queue, hasty = bench.queue(), bench.queue(HASTY)
    lease, first = await voted(queue)
    (applied,) = await queue.apply([first])
    await queue.settle([decided(applied.record)])
    undone = annotation(lease.task, "ann", await queue.prepare(request(lease, "ann", act=Act.UNDO)))
    (applied,) = await hasty.apply([undone])
    await queue.settle([decided(applied.record)])
    assert (await queue.claim("bob", 1)).leases == ()
    await bench.pass_ms(10)
    assert (await queue.sweep(10)).leases_expired == 1
    assert [x.task for x in (await queue.claim("bob", 1)).leases] == [lease.task]


async def test_an_undo_of_a_task_that_somebody_holds_leaves_it_with_them(bench: Bench) -> None:
    """A second vote was wanted and Bob is at it: Ann's undo, folded first or confirmed first, takes nothing from him."""
    for folds_first in (True, False):
        await bench.forget()
        await bench.start()
        queue = bench.queue()
        lease, first = await voted(queue)
        await queue.apply([first])
        await queue.reopen([Reopen(lease.task.task_id, 1, review=False)])
        (held,) = (await queue.claim("bob", 1)).leases
        undone = annotation(lease.task, "ann", await queue.prepare(request(lease, "ann", act=Act.UNDO)))
        if folds_first:
            await queue.apply([undone])
        assert await queue.confirm(undone, counted=True) is None
        assert (await queue.renew("bob", lease.task.task_id, held.token)).deadline_ms >= held.deadline_ms

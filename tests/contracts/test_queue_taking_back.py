"""The queue's contract about answers taken back long after they were given, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.labeling import CALM, HASTY, Bench, Queues, a_task, annotation, answer, decided, request
from tiebreak.contracts.errors import NotFound
from tiebreak.contracts.messages import Annotation, AnnotationState
from tiebreak.labeling.port import Act, Lease, Outcome, Refusal, Refused, Stats, Swept
from tiebreak.labeling.settling import remembered

# What was settled is forgotten as soon as its content is dropped.
FORGETFUL = replace(HASTY, keep_ms=0)


async def settled(bench: Bench, task_number: int = 1, value: str = "dog") -> tuple[Lease, Annotation]:
    """A task that Ann answered, settled, with its label published."""
    queue = bench.queue()
    await queue.add([a_task(task_number)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = await answer(queue, lease, "ann", value)
    (applied,) = await queue.apply([made])
    await bench.queue(HASTY).settle([decided(applied.record)])
    await queue.published([(made.task_id, 1)])
    return lease, made


async def dropped(bench: Bench, keep: bool) -> tuple[Lease, Annotation]:
    """The same after its content was dropped; ``keep``: what was promised about it is still known."""
    lease, made = await settled(bench)
    await bench.pass_ms(10)
    sweeping = bench.queue(CALM if keep else FORGETFUL)
    assert await sweeping.sweep(10) == Swept(purged=1)
    await bench.pass_ms(2)
    await sweeping.sweep(10)
    return lease, made


async def withdraw(queue: Queues, lease: Lease) -> Annotation:
    receipt = await queue.prepare(request(lease, "ann", act=Act.WITHDRAW))
    made = annotation(lease.task, "ann", receipt)
    assert await queue.confirm(made, counted=True) is None
    return made


async def test_an_answer_is_taken_back_after_the_window_and_its_task_goes_to_others(bench: Bench) -> None:
    """The label is withdrawn; nobody holds the task, anybody may claim it."""
    lease, _ = await settled(bench)
    await bench.pass_ms(10)
    queue = bench.queue(HASTY)
    with pytest.raises(Refused):
        await queue.prepare(request(lease, "ann", act=Act.UNDO))
    back = await withdraw(queue, lease)
    assert (back.revision, back.state) == (2, AnnotationState.WITHDRAWN)
    (applied,) = await queue.apply([back])
    taken = decided(applied.record)
    assert (taken.label.revision, taken.label.withdrawn) == (2, True)
    assert await queue.settle([taken]) == [taken.label]
    assert await queue.stats() == Stats(open_tasks=1, waiting=1, leased=0, in_review=0)
    assert [x.task for x in (await bench.queue().claim("bob", 1)).leases] == [lease.task]
    assert await queue.answered("ann") == 0


@pytest.mark.parametrize("keep", [True, False])
async def test_content_that_was_dropped_comes_back_for_an_answer_to_be_taken_back(bench: Bench, keep: bool) -> None:
    """First the withdrawal is refused as settled; once the content is there again, it does what it does to a fresh task."""
    lease, made = await dropped(bench, keep)
    queue = bench.queue()
    with pytest.raises(Refused) as refused:
        await queue.prepare(request(lease, "ann", act=Act.WITHDRAW))
    assert refused.value.refusal is Refusal.SETTLED
    known = remembered(lease.task, [made, made])
    assert [await queue.restore(known), await queue.restore(known)] == [True, True]
    assert await queue.stats() == Stats(open_tasks=0, waiting=0, leased=0, in_review=0)
    (again,) = await queue.apply([made])
    assert again.outcome is Outcome.DUPLICATE
    back = await withdraw(queue, lease)
    (applied,) = await queue.apply([back])
    taken = decided(applied.record)
    assert (taken.label.revision, taken.label.withdrawn) == (2, True)
    assert await queue.settle([taken]) == [taken.label]
    assert await queue.answered("ann") == 0
    (held,) = (await queue.claim("bob", 1)).leases
    assert held.task == lease.task
    (applied,) = await queue.apply([await answer(queue, held, "bob", "cat")])
    final = decided(applied.record)
    assert (final.label.revision, final.label.value) == (3, "cat")


async def test_content_that_was_put_back_stays_for_a_while(bench: Bench) -> None:
    """The sweep leaves it to whoever asked for it, also where answers can be undone for a shorter time."""
    lease, made = await dropped(bench, keep=True)
    assert await bench.queue(HASTY).restore(remembered(lease.task, [made]))
    await bench.pass_ms(10)
    assert await bench.queue().sweep(10) == Swept()
    assert await bench.queue().look(lease.task.task_id) == lease.task


async def test_content_that_nobody_needed_after_all_goes_again(bench: Bench) -> None:
    """Put back and not used, it is dropped at the next sweep after its time; the label stands."""
    lease, made = await dropped(bench, keep=True)
    queue = bench.queue(replace(HASTY, restored_ms=5))
    assert await queue.restore(remembered(lease.task, [made]))
    assert await queue.look(lease.task.task_id) == lease.task
    await bench.pass_ms(10)
    assert await queue.sweep(10) == Swept(purged=1)
    assert await queue.look(lease.task.task_id) is None
    assert (await queue.add([lease.task]), (await queue.stats()).open_tasks) == (0, 0)


async def test_what_did_not_end_by_being_settled_does_not_come_back(bench: Bench) -> None:
    """Unknown, or taken back by a model: there is no answer to it that could be taken back."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    await queue.withdraw([a_task(1).task_id])
    known = [remembered(a_task(number), []) for number in (1, 2)]
    assert [await queue.restore(task) for task in known] == [False, False]


async def test_only_what_stands_can_be_taken_back(bench: Bench) -> None:
    """Not twice, not somebody else's, not what was never answered."""
    queue = bench.queue()
    lease, _ = await settled(bench)
    await withdraw(queue, lease)
    asked = [request(lease, "ann", act=Act.WITHDRAW), request(lease, "bob", act=Act.WITHDRAW)]
    for wanted in asked:
        with pytest.raises(NotFound):
            await queue.prepare(wanted)

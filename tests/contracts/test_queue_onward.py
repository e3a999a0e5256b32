"""An answer and the next task in one step, and the confirmation that nobody waits for, on both queues."""

from __future__ import annotations

import pytest

from tests.support.labeling import CALM, Bench, a_task, annotation, decided, request
from tiebreak.labeling.port import Empty, QueueSettings, Refusal, Refused

# A person's answer is given up at once: as if it had been on its way for a long time.
IMPATIENT = QueueSettings(lease_ms=60_000, undo_ms=60_000, task_ttl_ms=86_400_000, pending_ms=0)


async def test_an_answer_brings_the_next_task_before_it_is_on_the_log(bench: Bench) -> None:
    """The task being answered is not given again, by this request, its repetition, nor another tab; it is nobody else's either."""
    queue = bench.queue()
    await queue.add([a_task(number) for number in range(3)])
    (lease,) = (await queue.claim("ann", 1)).leases
    receipt, following = await queue.prepare_next(request(lease, "ann", key="k"), 1)
    assert following is not None
    (onward,) = following.leases
    assert (onward.task.task_id != lease.task.task_id, onward.token > lease.token) == (True, True)
    again = await queue.prepare_next(request(lease, "ann", key="k"), 1)
    assert again[0] == receipt
    assert again[1] is not None
    assert [held.token for held in again[1].leases] == [onward.token]
    tab = bench.queue(CALM)
    assert [held.token for held in (await tab.claim("ann", 1)).leases] == [onward.token]
    others = await queue.claim("bob", 5)
    assert {held.task.task_id for held in others.leases} == {a_task(n).task_id for n in range(3)} - {
        lease.task.task_id,
        onward.task.task_id,
    }


async def test_a_repeated_answer_never_brings_its_own_task(bench: Bench) -> None:
    """Though the first try was given up long ago, so that a claim would give the task again: the same key is about that task."""
    queue = bench.queue(IMPATIENT)
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    await queue.prepare_next(request(lease, "ann", key="k"), 1)
    assert [held.token for held in (await queue.claim("ann", 1)).leases] == [lease.token]
    _, following = await queue.prepare_next(request(lease, "ann", key="k"), 1)
    assert following is not None
    assert following.leases == ()


async def test_nothing_more_to_do_is_said_without_counting_the_answer_under_way(bench: Bench) -> None:
    """Its lease still stands, and is no reason to wait for: with nobody else at work there is none for this person."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    _, following = await queue.prepare_next(request(lease, "ann"), 1)
    assert following is not None
    assert (following.leases, following.reason, following.retry_after_s) == ((), Empty.NONE_FOR_YOU, 60.0)
    await queue.add([a_task(2)])
    (held,) = (await queue.claim("bob", 1)).leases
    waiting = await queue.claim("ann", 1)
    assert (waiting.reason, waiting.retry_after_s <= 60.0) == (Empty.ALL_LEASED, True)
    assert waiting.retry_after_s == pytest.approx((held.deadline_ms - waiting.now_ms) / 1000)


async def test_an_answer_that_does_not_count_or_is_refused_brings_nothing(bench: Bench) -> None:
    """Late for a settled task: the receipt says so, and the person holds no more than before. Refused: neither."""
    queue = bench.queue()
    await queue.add([a_task(1), a_task(2)])
    (late,) = (
        await bench.queue(QueueSettings(lease_ms=1, undo_ms=60_000, task_ttl_ms=86_400_000)).claim("ann", 1)
    ).leases
    await bench.pass_ms(3)
    await queue.sweep(10)
    (lease,) = (await queue.claim("bob", 1)).leases
    assert lease.task.task_id == late.task.task_id
    made = annotation(lease.task, "bob", await queue.prepare(request(lease, "bob")))
    (applied,) = await queue.apply([made])
    await queue.settle([decided(applied.record)])
    receipt, following = await queue.prepare_next(request(late, "ann"), 1)
    assert (receipt.counted, following) == (False, None)
    with pytest.raises(Refused) as refused:
        await queue.prepare_next(request(late, "ann"), 1)
    assert refused.value.refusal is Refusal.IN_PROGRESS
    assert (await queue.stats()).leased == 0


async def test_what_is_noted_is_known_to_whatever_is_asked_next(bench: Bench) -> None:
    """The lease is over, the answer is in the person's history and can be taken back, at once; noting it again changes nothing."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = annotation(lease.task, "ann", await queue.prepare(request(lease, "ann")))
    queue.note(made, counted=True)
    queue.note(made, counted=True)
    assert [done.task_id for done in await queue.history("ann", 10)] == [made.task_id]
    assert await queue.answered("ann") == 1
    assert (await queue.stats()).leased == 0
    with pytest.raises(Refused) as refused:
        await queue.prepare(request(lease, "ann"))
    assert refused.value.refusal is Refusal.ALREADY_ANSWERED


async def test_what_is_noted_of_a_queue_that_was_lost_is_nobodys_error(bench: Bench) -> None:
    """The index is gone: the note comes to nothing, and the queue goes on once it is built."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = annotation(lease.task, "ann", await queue.prepare(request(lease, "ann")))
    await bench.lose()
    queue.note(made, counted=True)
    builder = await queue.begin_build()
    assert builder is not None
    await builder.end_build([])
    assert await queue.history("ann", 10) == []

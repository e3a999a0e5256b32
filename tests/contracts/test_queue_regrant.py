"""Across a loss of the store whoever held a task holds it still, where the process that gave it to them lives."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from structlog.testing import capture_logs

from tests.support.labeling import HASTY, Bench, a_project, a_task, annotation, answer, request
from tiebreak.contracts.messages import AnnotationState
from tiebreak.labeling.grants import Grant
from tiebreak.labeling.port import Act, Empty, Refusal, Refused
from tiebreak.labeling.redis import RedisQueue
from tiebreak.runtime.metrics import Metrics


async def rebuilt(bench: Bench, tasks: int, settled: int | None = None) -> None:
    """The store lost everything; the index is built again, with so many tasks."""
    await bench.lose()
    builder = await bench.queue().begin_build()
    assert builder is not None
    await builder.add([a_task(number) for number in range(tasks) if number != settled])
    await builder.end_build([] if settled is None else [(a_task(settled).task_id, 1)])


async def test_who_held_a_task_before_the_loss_holds_it_after(bench: Bench) -> None:
    """Nobody else is given it, the heartbeat goes on, the answer is in time, and what is given next has a larger token."""
    await bench.queue().add([a_task(0), a_task(1)])
    first, second = (await bench.queue().claim("ann", 2)).leases
    await rebuilt(bench, 2)
    queue = bench.queue()
    nothing = await queue.claim("bob", 1)
    assert (nothing.leases, nothing.reason) == ((), Empty.ALL_LEASED)
    assert (await queue.renew("ann", first.task.task_id, first.token)).deadline_ms >= first.deadline_ms
    receipt = await queue.prepare(request(first, "ann"))
    assert (receipt.state, receipt.counted, receipt.claimed_ms) == (AnnotationState.SUBMITTED, True, first.claimed_ms)
    assert [held.token for held in (await queue.claim("ann", 5)).leases] == [second.token]
    await queue.release("ann", second.task.task_id, second.token)
    (again,) = (await queue.claim("bob", 1)).leases
    assert (again.task.task_id, again.token > second.token) == (second.task.task_id, True)


async def test_what_ended_before_the_loss_is_not_put_back(bench: Bench) -> None:
    """Given back, answered, or run out: the task is anybody's."""
    await bench.queue().add([a_task(number) for number in range(3)])
    back, done, left = (await bench.queue().claim("ann", 3)).leases
    await bench.queue().release("ann", back.task.task_id, back.token)
    await answer(bench.queue(), done, "ann")
    await bench.queue(HASTY).renew("ann", left.task.task_id, left.token)
    await bench.pass_ms(10)
    await rebuilt(bench, 3)
    assert len((await bench.queue().claim("bob", 5)).leases) == 3


async def test_what_was_answered_without_a_confirmation_is_not_put_back(bench: Bench) -> None:
    """The process died, or the store was lost, between the log and the confirmation: the log says that it is answered."""
    await bench.queue().add([a_task(0)])
    (lease,) = (await bench.queue().claim("ann", 1)).leases
    made = annotation(lease.task, "ann", await bench.queue().prepare(request(lease, "ann")))
    await bench.lose()
    builder = await bench.queue().begin_build()
    assert builder is not None
    await builder.add([lease.task])
    await builder.apply([made])
    await builder.end_build([])
    await bench.queue().regrant()
    assert (await bench.queue().stats()).leased == 0


async def test_a_renewed_lease_and_one_that_an_undo_gave_are_put_back_too(bench: Bench) -> None:
    """They last as long as any other."""
    await bench.queue().add([a_task(0), a_task(1)])
    first, _ = (await bench.queue(HASTY).claim("ann", 2)).leases
    await bench.queue().renew("ann", first.task.task_id, first.token)
    (other,) = [lease for lease in (await bench.queue(HASTY).claim("ann", 2)).leases if lease.token != first.token]
    await bench.queue().renew("ann", first.task.task_id, first.token)
    made = await answer(bench.queue(), other, "ann")
    receipt = await bench.queue().prepare(request(other, "ann", act=Act.UNDO))
    again = await bench.queue().confirm(annotation(other.task, "ann", receipt), counted=True)
    assert again is not None
    await bench.pass_ms(10)
    await bench.lose()
    builder = await bench.queue().begin_build()
    assert builder is not None
    await builder.add([a_task(0), a_task(1)])
    await builder.apply([made, annotation(other.task, "ann", receipt)])
    await builder.end_build([])
    held = (await bench.queue().claim("ann", 2)).leases
    assert [lease.token for lease in held] == [first.token, again.token]


async def test_a_task_that_was_settled_meanwhile_stays_settled(bench: Bench) -> None:
    """Its content is gone: whoever held it is told so, in words of their own and not as if it had never been theirs."""
    await bench.queue().add([a_task(0)])
    (lease,) = (await bench.queue().claim("ann", 1)).leases
    await rebuilt(bench, 1, settled=0)
    with pytest.raises(Refused) as refused:
        await bench.queue().prepare(request(lease, "ann"))
    assert refused.value.refusal is Refusal.SETTLED


@pytest.fixture
async def shared(redis_url: str) -> AsyncIterator[Bench]:
    """A queue that several processes serve from, as the twin cannot be."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        bench = Bench(a_project(votes=2), client=client)
        await bench.start()
        yield bench


def process(bench: Bench) -> RedisQueue:
    """One more process over the same store."""
    assert bench.client is not None
    return RedisQueue(bench.client, bench.project)


@pytest.mark.redis
async def test_two_processes_never_make_two_holders_and_the_first_one_is_late_at_worst(shared: Bench) -> None:
    """The other process gave the task away before this one put its lease back: both answer, once each, and nobody gets 404."""
    here, there = process(shared), process(shared)
    await here.add([a_task(0)])
    (first,) = (await here.claim("ann", 1)).leases
    await rebuilt(shared, 1)
    (second,) = (await there.claim("bob", 1)).leases
    assert second.token > first.token
    assert (await here.claim("ann", 1)).leases == ()
    late = await here.prepare(request(first, "ann"))
    assert (late.state, late.counted, late.claimed_ms) == (AnnotationState.LATE, True, first.claimed_ms)
    assert (await there.prepare(request(second, "bob"))).state is AnnotationState.SUBMITTED


@pytest.mark.redis
async def test_a_process_that_nobody_asks_puts_its_leases_back_too(shared: Bench) -> None:
    """It looks by itself, and from then on the task is not given away by others."""
    here, there = process(shared), process(shared)
    await here.add([a_task(0)])
    (lease,) = (await here.claim("ann", 1)).leases
    await rebuilt(shared, 1)
    await here.regrant()
    assert (await there.claim("bob", 1)).reason is Empty.ALL_LEASED
    assert (await there.prepare(request(lease, "ann"))).state is AnnotationState.SUBMITTED


@pytest.mark.redis
@pytest.mark.parametrize("asked", [True, False])
async def test_a_lease_that_cannot_be_put_back_is_dropped_told_and_counted_and_the_rest_goes_on(
    shared: Bench, asked: bool
) -> None:
    """Something else is where a task's state should be, so the script itself fails: without this the process served nobody."""
    assert shared.client is not None
    metrics = Metrics(shared.project.project)
    here = RedisQueue(shared.client, shared.project, metrics=metrics)
    await here.add([a_task(0), a_task(1)])
    first, second = (await here.claim("ann", 2)).leases
    await rebuilt(shared, 2)
    await shared.client.set(f"{here._prefix}task:{first.task.task_id}", "odd")
    with capture_logs() as logs:
        if not asked:
            await here.regrant()
        assert (await here.renew("ann", second.task.task_id, second.token)).deadline_ms >= second.deadline_ms
    (told,) = [line for line in logs if line["event"] == "leases_not_put_back"]
    assert (told["leases"], told["task"], "WRONGTYPE" in told["error"]) == (1, first.task.task_id, True)
    assert b'tiebreak_labeling_leases_dropped_total{project="pets"} 1.0' in metrics.exposition()
    assert [grant.task_id for grant in here._grants.standing()] == [second.task.task_id]


@pytest.mark.redis
async def test_tokens_grow_also_where_the_clock_was_set_back_with_the_loss(shared: Bench) -> None:
    """What is given of a new index has a larger token than what was put back into it."""
    here = process(shared)
    await here.add([a_task(0), a_task(1)])
    (lease,) = (await here.claim("ann", 1)).leases
    ahead = Grant("ann", lease.task.task_id, 2**52, lease.claimed_ms, lease.deadline_ms)
    here._grants.give(ahead, lease.claimed_ms)
    await rebuilt(shared, 2)
    (other,) = (await here.claim("bob", 1)).leases
    assert other.token > ahead.token

"""The queue's contract from a task to an answer, over the in-memory twin and over Redis alike."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.labeling import HASTY, Bench, a_task, annotation, answer, request
from tiebreak.contracts.errors import NotFound
from tiebreak.contracts.messages import AnnotationState
from tiebreak.labeling.port import (
    Empty,
    Refusal,
    Refused,
    Reopen,
    Stats,
    Swept,
)


async def test_a_task_added_twice_is_offered_once_and_comes_back_whole(bench: Bench) -> None:
    """A replay of `tasks` adds nothing, and what a person claims is what was added, to the last bit."""
    queue, task = bench.queue(), a_task(1)
    assert [await queue.add([task, task]), await queue.add([task])] == [1, 0]
    claimed = await queue.claim("ann", 5)
    assert [lease.task for lease in claimed.leases] == [task]
    assert await queue.stats() == Stats(open_tasks=1, waiting=0, leased=1, in_review=0)


async def test_tasks_are_served_by_lane_then_priority_then_age(bench: Bench) -> None:
    """Triage goes before normal before backfill; within a lane urgency first, and the older of two equals."""
    queue = bench.queue()
    old, new = a_task(1), a_task(2)
    urgent = a_task(3, priority=0.9)
    await queue.add(
        [a_task(4, lane="backfill", priority=1.0), new, old, urgent, a_task(5, lane="triage"), a_task(6, lane="?")]
    )
    claimed = await queue.claim("ann", 10)
    assert [lease.task.event_id[-1] for lease in claimed.leases] == ["5", "3", "1", "2", "6", "4"]


async def test_two_people_never_hold_one_task(bench: Bench) -> None:
    """Forty claims at once over twenty tasks give each task to exactly one person, with growing tokens."""
    queue = bench.queue()
    await queue.add([a_task(i) for i in range(20)])
    answers = await asyncio.gather(*(queue.claim(f"p{i}", 1) for i in range(40)))
    held = [lease for claimed in answers for lease in claimed.leases]
    assert len({lease.task.task_id for lease in held}) == len(held) == 20
    assert len({lease.token for lease in held}) == 20
    assert {c.reason for c in answers if not c.leases} == {Empty.ALL_LEASED}


async def test_two_tabs_of_one_person_get_the_same_lease(bench: Bench) -> None:
    """A second claim of the same person returns what they hold, first come first, and tops it up."""
    queue = bench.queue()
    await queue.add([a_task(i) for i in range(3)])
    first = await queue.claim("ann", 1)
    again = await queue.claim("ann", 1)
    more = await queue.claim("ann", 2)
    assert [(x.task, x.token) for x in again.leases] == [(x.task, x.token) for x in first.leases]
    assert more.leases[0].token == first.leases[0].token
    assert len(more.leases) == 2


@pytest.mark.parametrize(("held", "reason"), [(False, Empty.NO_TASKS), (True, Empty.ALL_LEASED)])
async def test_a_claim_that_gets_nothing_says_why(bench: Bench, held: bool, reason: Empty) -> None:
    """An empty answer carries its reason and a time to come back."""
    queue = bench.queue()
    if held:
        await queue.add([a_task(1)])
        await queue.claim("ann", 1)
    claimed = await queue.claim("bob", 1)
    assert (claimed.leases, claimed.reason) == ((), reason)
    assert 1.0 <= claimed.retry_after_s <= 60.0


async def test_an_expired_lease_returns_its_task_with_a_larger_token(bench: Bench) -> None:
    """A person walks off: the sweep gives the task to the next one, and the old token no longer renews."""
    queue = bench.queue(HASTY)
    await queue.add([a_task(1)])
    (old,) = (await queue.claim("ann", 1)).leases
    await bench.pass_ms(10)
    assert await queue.sweep(10) == Swept(leases_expired=1)
    (new,) = (await bench.queue().claim("bob", 1)).leases
    assert new.task == old.task
    assert new.token > old.token
    with pytest.raises(Refused) as refused:
        await queue.renew("ann", old.task.task_id, old.token)
    assert refused.value.refusal is Refusal.STALE_LEASE


async def test_a_renewed_lease_outlives_its_first_deadline(bench: Bench) -> None:
    """The heartbeat moves the deadline, so the sweep leaves the task with its holder."""
    hasty = bench.queue(HASTY)
    await hasty.add([a_task(1)])
    (lease,) = (await hasty.claim("ann", 1)).leases
    deadline, _ = await bench.queue().renew("ann", lease.task.task_id, lease.token)
    await bench.pass_ms(10)
    assert deadline > lease.deadline_ms + 10_000
    assert await hasty.sweep(10) == Swept()


async def test_a_released_task_is_on_offer_again_and_releasing_twice_is_harmless(bench: Bench) -> None:
    """Release gives the task back at its old place; repeated after a lost answer it changes nothing."""
    queue = bench.queue()
    await queue.add([a_task(1), a_task(2)])
    (lease,) = (await queue.claim("ann", 1)).leases
    await queue.release("ann", lease.task.task_id, lease.token)
    await queue.release("ann", lease.task.task_id, lease.token)
    (again,) = (await queue.claim("bob", 1)).leases
    assert again.task == lease.task
    await queue.release("ann", lease.task.task_id, lease.token)
    assert (await queue.claim("bob", 1)).leases[0].token == again.token


async def test_what_is_not_yours_looks_like_what_does_not_exist(bench: Bench) -> None:
    """Renewing, releasing or answering a task one never held is NotFound, in the same words as for an unknown id."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    words = set()
    for task in (lease.task.task_id, "0" * 32):
        with pytest.raises(NotFound) as renewed:
            await queue.renew("eve", task, lease.token)
        with pytest.raises(NotFound) as released:
            await queue.release("eve", task, lease.token)
        words |= {str(renewed.value), str(released.value)}
    with pytest.raises(NotFound) as answered:
        await queue.prepare(request(lease, "eve"))
    assert words == {str(answered.value)}


async def test_the_same_key_gives_the_same_receipt_and_another_body_is_refused(bench: Bench) -> None:
    """A retry after a lost answer, before and after the log took it, is the same promise; a reused key is a conflict."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    first = await queue.prepare(request(lease, "ann", key="k"))
    assert await queue.prepare(request(lease, "ann", key="k")) == first
    await queue.confirm(annotation(lease.task, "ann", first), counted=True)
    assert await queue.prepare(request(lease, "ann", key="k")) == first
    with pytest.raises(Refused) as reused:
        await queue.prepare(request(lease, "ann", key="k", digest="other"))
    assert reused.value.refusal is Refusal.KEY_REUSED
    assert (first.revision, first.state, first.token, first.counted) == (
        1,
        AnnotationState.SUBMITTED,
        lease.token,
        True,
    )


async def test_fifty_submits_at_once_accept_one(bench: Bench) -> None:
    """A storm of different requests for one lease: one receipt, the others are told that one is under way."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    results = await asyncio.gather(*(queue.prepare(request(lease, "ann")) for _ in range(50)), return_exceptions=True)
    refusals = [r.refusal for r in results if isinstance(r, Refused)]
    assert refusals == [Refusal.IN_PROGRESS] * 49


async def test_one_answer_per_person_and_task(bench: Bench) -> None:
    """After an answer the same person can neither answer again nor claim the task again."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = await answer(queue, lease, "ann")
    with pytest.raises(Refused) as refused:
        await queue.prepare(request(lease, "ann"))
    assert refused.value.refusal is Refusal.ALREADY_ANSWERED
    (applied,) = await queue.apply([made])
    assert applied.record is not None
    await queue.reopen([Reopen(made.task_id, applied.record.sequence, review=False)])
    assert (await queue.claim("ann", 1)).reason is Empty.NONE_FOR_YOU
    assert [x.task.task_id for x in (await queue.claim("bob", 1)).leases] == [made.task_id]

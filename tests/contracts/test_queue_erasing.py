"""The queue's contract about people who asked to be forgotten, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.labeling import HASTY, Bench, Queues, a_task, annotation, answer, decided, request
from tiebreak.contracts.erasure import subject_digest
from tiebreak.contracts.messages import Annotation, AnnotationState, Task
from tiebreak.labeling.port import Act, Lease, Outcome, Refusal, Refused, Reopen, Stats
from tiebreak.labeling.port_erasing import Erased

NOBODY = Stats(open_tasks=0, waiting=0, leased=0, in_review=0)
ANN17 = subject_digest("pets", "ann-17")


async def leased(queue: Queues, who: str, task: Task) -> Lease:
    """The one task on the queue, in this person's hands."""
    await queue.add([task])
    (lease,) = (await queue.claim(who, 1)).leases
    return lease


async def refusal(queue: Queues, lease: Lease, who: str, *, act: Act = Act.VOTE, key: str | None = None) -> Refusal:
    """Why this person's answer is refused."""
    with pytest.raises(Refused) as refused:
        await queue.prepare(request(lease, who, act=act, key=key))
    return refused.value.refusal


async def everything(bench: Bench) -> str:
    """All that the store holds, as text."""
    if bench.client is None:
        return repr(bench.queue()._state)  # type: ignore[union-attr]
    client, found = bench.client, []
    async for key in client.scan_iter(count=1000):
        match await client.type(key):
            case b"hash":
                value: object = await client.hgetall(key)
            case b"zset":
                value = await client.zrange(key, 0, -1)
            case b"list":
                value = await client.lrange(key, 0, -1)
            case _:
                value = await client.get(key)
        found.append(f"{key!r}: {value!r}")
    return "\n".join(found)


@pytest.mark.parametrize("lane", ["normal", "triage+birds"])
async def test_a_waiting_task_is_forgotten_and_does_not_come_back(bench: Bench, lane: str) -> None:
    """It is offered to nobody, counted no more, and the topic replayed does not bring it back; other tasks stay."""
    queue, gone, left = bench.queue(), a_task(1, lane=lane), a_task(2)
    await queue.add([gone, left])
    assert await queue.erase([gone.task_id, gone.task_id, "f" * 32]) == Erased(tasks=1)
    assert await queue.erase([gone.task_id]) == Erased()
    assert await queue.add([gone, left]) == 0
    assert await queue.look(gone.task_id) is None
    assert [lease.task for lease in (await queue.claim("ann", 5, routes=("triage+birds", "normal"))).leases] == [left]
    assert await queue.stats() == Stats(open_tasks=1, waiting=0, leased=1, in_review=0)
    assert "what is 1?" not in await everything(bench)


async def test_a_held_task_is_taken_out_of_its_holders_hands(bench: Bench) -> None:
    """Their lease ends; renewing, giving back and answering are refused with a reason; a sweep later finds nothing to return."""
    queue = bench.queue()
    lease = await leased(bench.queue(HASTY), "ann", a_task(1))
    assert await queue.erase([lease.task.task_id]) == Erased(tasks=1, leases=1)
    for act in (queue.renew, queue.release):
        with pytest.raises(Refused) as refused:
            await act("ann", lease.task.task_id, lease.token)
        assert refused.value.refusal is Refusal.ERASED
    assert await refusal(queue, lease, "ann") is Refusal.ERASED
    assert (await queue.claim("ann", 1)).leases == ()
    await bench.pass_ms(10)
    assert (await queue.sweep(10)).total == 0
    assert await queue.stats() == NOBODY


async def test_an_answer_on_its_way_when_the_task_is_erased_harms_nothing(bench: Bench) -> None:
    """Promised before, on the log after: nothing is counted, nothing is remembered, and the settler knows that it is done with."""
    queue = bench.queue()
    lease = await leased(queue, "ann", a_task(1))
    receipt = await queue.prepare(request(lease, "ann", key="k"))
    await queue.erase([lease.task.task_id])
    assert await refusal(queue, lease, "ann", key="k") is Refusal.ERASED  # the receipt is gone too
    made = annotation(lease.task, "ann", receipt)
    assert await queue.confirm(made, counted=True) is None
    assert [applied.outcome for applied in await queue.apply([made])] == [Outcome.DONE]
    assert (await queue.history("ann", 10), await queue.answered("ann")) == ([], 0)


async def test_what_people_said_about_it_goes_from_their_histories(bench: Bench) -> None:
    """Two answered, one of them another task too: the lines about the erased one go, the other stays, and so does the work done."""
    queue, gone, left = bench.queue(), a_task(1, votes_wanted=3), a_task(2, votes_wanted=3)
    await queue.add([gone, left])
    said: list[Annotation] = []
    for who, want in (("ann", 2), ("bob", 1)):
        new = [await answer(queue, lease, who, "bird") for lease in (await queue.claim(who, want)).leases]
        records = [applied.record for applied in await queue.apply(new)]
        await queue.reopen([Reopen(r.task.task_id, r.sequence, review=False) for r in records if r is not None])
        said += new
    assert await queue.erase([gone.task_id]) == Erased(tasks=1, answers=2, lines=2)
    assert [line.task_id for line in await queue.history("ann", 10)] == [left.task_id]
    assert await queue.history("bob", 10) == []
    assert [await queue.answered(who) for who in ("ann", "bob")] == [2, 1]
    held = await everything(bench)
    assert [a.annotation_id in held for a in said] == [a.task_id == left.task_id for a in said]
    assert await queue.stats() == Stats(open_tasks=1, waiting=1, leased=0, in_review=0)


async def test_a_disputed_task_leaves_the_reviewers_line(bench: Bench) -> None:
    """No reviewer is given it, and nothing is counted as in review."""
    queue = bench.queue()
    lease = await leased(queue, "ann", a_task(1))
    (applied,) = await queue.apply([await answer(queue, lease, "ann")])
    assert applied.record is not None
    await queue.reopen([Reopen(lease.task.task_id, applied.record.sequence, review=True)])
    assert (await queue.stats()).in_review == 1
    assert await queue.erase([lease.task.task_id]) == Erased(tasks=1, answers=1, lines=1)
    assert (await queue.claim("rev", 1, review=True)).leases == ()
    assert await queue.stats() == NOBODY


@pytest.mark.parametrize("published", [False, True])
async def test_a_settled_task_is_forgotten_with_its_label(bench: Bench, published: bool) -> None:
    """A decision that is not on the log yet is not handed out again; the answer cannot be taken back any more."""
    queue = bench.queue()
    lease = await leased(queue, "ann", a_task(1))
    said = await answer(queue, lease, "ann", "bird")
    (applied,) = await queue.apply([said])
    settlement = decided(applied.record)
    (label,) = await queue.settle([settlement])
    assert label is not None
    if published:
        await queue.published([(label.task_id, label.revision)])
    assert await queue.erase([lease.task.task_id]) == Erased(tasks=1, answers=1, lines=1)
    assert list(await queue.settle([settlement])) == [None]
    await queue.published([(label.task_id, label.revision)])
    assert [x.outcome for x in await queue.apply([replace(said, revision=2)])] == [Outcome.DONE]
    assert await refusal(queue, lease, "ann", act=Act.UNDO) is Refusal.ERASED
    assert await queue.stats() == NOBODY
    held = await everything(bench)
    assert [word in held for word in ("what is 1?", lease.task.event_id, said.annotation_id)] == [False] * 3


async def test_a_settled_task_is_forgotten_after_its_content_went(bench: Bench) -> None:
    """The sweep dropped its content and kept the answers for a while: these go, and the next sweeps have nothing to stumble over."""
    queue = bench.queue(replace(HASTY, keep_ms=5))
    await queue.add([a_task(1)])
    (lease,) = (await bench.queue().claim("ann", 1)).leases
    said = await answer(queue, lease, "ann")
    (applied,) = await queue.apply([said])
    (label,) = await queue.settle([decided(applied.record)])
    assert label is not None
    await queue.published([(label.task_id, label.revision)])
    await bench.pass_ms(10)
    assert (await queue.sweep(10)).purged == 1
    assert await queue.erase([lease.task.task_id]) == Erased(answers=1, lines=1)
    assert said.annotation_id not in await everything(bench)
    await bench.pass_ms(10)
    assert (await queue.sweep(10)).total == 0
    assert await refusal(queue, lease, "ann") is Refusal.ERASED


async def test_gold_is_forgotten_and_so_are_its_copies(bench: Bench) -> None:
    """The kept piece, the copy on somebody's line: both by their ids; kept again, once the person is known to be erased, neither."""
    queue = bench.queue()
    piece = a_task(1, gold="cat", subject="ann-17")
    copy = a_task(2, gold="cat", audience="bob", subject="ann-17")
    await queue.keep_gold([piece])
    await queue.add([copy])
    await queue.begin_erasure([ANN17])
    assert await queue.erase([piece.task_id, copy.task_id]) == Erased(tasks=2)
    await queue.keep_gold([piece])
    assert await queue.gold(1) == []
    assert await queue.stats() == NOBODY


async def test_nothing_about_an_erased_person_is_taken_in(bench: Bench) -> None:
    """From the beginning of the erasure on: a task that comes late is refused at the door and its answers are done with."""
    queue = bench.queue()
    early, late, other = a_task(1, subject="ann-17"), a_task(2, subject="ann-17"), a_task(3, subject="bob-3")
    await queue.add([early])
    await queue.begin_erasure([ANN17])
    assert await queue.erased() == frozenset()
    assert await queue.add([early, late, other, late]) == 1
    assert [lease.task for lease in (await queue.claim("ann", 5)).leases] == [
        early,
        other,
    ]  # known before: for `erase` to take
    await queue.erase([early.task_id])
    await queue.end_erasure([ANN17])
    await queue.begin_erasure([ANN17])  # again changes nothing
    assert await queue.erased() == {ANN17}
    unheard = Annotation(
        *("a" * 32, late.task_id, "pets", "ann", 1, AnnotationState.SUBMITTED, "cat", 1, 0.0, 0, 0, 1),
    )
    assert [x.outcome for x in await queue.apply([unheard])] == [Outcome.DONE]
    assert await queue.stats() == Stats(open_tasks=1, waiting=0, leased=1, in_review=0)

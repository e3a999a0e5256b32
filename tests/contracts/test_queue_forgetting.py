"""The queue's contract about answers that are too old, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contracts.test_queue_erasing import everything
from tests.support.labeling import CALM, HASTY, Bench, Queues, a_project, a_task, annotation, answer, decided, request
from tiebreak.contracts.errors import NotFound
from tiebreak.contracts.messages import Annotation, AnnotationState, Task
from tiebreak.contracts.project import Privacy, Retention
from tiebreak.labeling.port import Act, Answer, Lease, Refusal, Refused, Reopen, Stats, settings_for
from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.port_review import Dispute

VALUE, DIGEST = "a-telling-value", "a-telling-digest"


async def claim(queue: Queues, who: str, *, review: bool = False) -> Lease:
    (lease,) = (await queue.claim(who, 1, review=review)).leases
    return lease


def again(made: Annotation) -> Answer:
    """The request that made this answer, sent once more."""
    return Answer(Act.VOTE, made.task_id, made.annotator, f"{made.annotator}-key", DIGEST, made.lease_token)


async def say(bench: Bench, who: str, value: str = "cat", **more: object) -> Annotation:
    """Claim a task, answer it and fold the answer; the task is on offer to the next person, and a millisecond is over."""
    queue = bench.queue()
    lease = await claim(queue, who)
    receipt = await queue.prepare(request(lease, who, key=f"{who}-key", digest=DIGEST))
    made = replace(annotation(lease.task, who, receipt, value), **more)  # type: ignore[arg-type]  # fields of Annotation
    await queue.confirm(made, counted=True)
    (applied,) = await queue.apply([made])
    assert applied.record is not None
    await queue.reopen([Reopen(made.task_id, applied.record.sequence, review=False)])
    await bench.pass_ms(2)
    return made


async def settled(bench: Bench, task: Task, who: str = "zoe") -> Annotation:
    """A task that one answer settled a while ago, its content gone."""
    queue = bench.queue(HASTY)
    await queue.add([task])
    lease = await claim(bench.queue(), who)
    receipt = await queue.prepare(request(lease, who, key=f"{who}-key", digest=DIGEST))
    made = annotation(lease.task, who, receipt, VALUE)
    await queue.confirm(made, counted=True)
    (applied,) = await queue.apply([made])
    (label,) = await queue.settle([decided(applied.record)])
    assert label is not None
    await queue.published([(label.task_id, label.revision)])
    await bench.pass_ms(10)
    assert (await queue.sweep(10)).purged == 1
    return made


async def test_nothing_of_an_answer_to_a_settled_task_outlives_the_horizon(bench: Bench) -> None:
    """Value, who gave it and when, receipt and line of history go; that the task was settled stays, and what is newer."""
    queue = bench.queue()
    old = await settled(bench, a_task(1))
    new = await settled(bench, a_task(2), "ann")
    before = new.submitted_ms
    assert old.submitted_ms < before
    assert await queue.forget_before(before) == Erased(answers=1, lines=1)
    left = await everything(bench)
    assert (left.count(DIGEST), left.count(old.annotation_id)) == (1, 0)
    assert new.annotation_id in left
    with pytest.raises(Refused) as refused:
        await queue.prepare(again(old))
    assert refused.value.refusal is Refusal.SETTLED
    assert await queue.forget_before(before) == Erased()
    assert await queue.forget_before(before + 1) == Erased(answers=1, lines=1)
    left = await everything(bench)
    assert not [word for word in (VALUE, DIGEST, new.annotation_id) if word in left]
    assert [await queue.answered(who) for who in ("zoe", "ann")] == [1, 1]


async def test_an_open_task_goes_on_as_if_the_old_answers_had_not_been_given(bench: Bench) -> None:
    """It waits as one that nobody touched, and its first person may be asked again: their answer is a newer revision."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    old = await say(bench, "zoe", VALUE, comment=VALUE)
    assert await queue.forget_before(old.submitted_ms + 1) == Erased(answers=1, lines=2)
    left = await everything(bench)
    assert not [word for word in (VALUE, DIGEST, old.annotation_id) if word in left]
    with pytest.raises(NotFound):
        await queue.prepare(again(old))
    assert await queue.stats() == Stats(open_tasks=1, waiting=1, leased=0, in_review=0)
    assert await queue.rerank([a_task(1)]) == 1  # begun ones keep their place
    lease = await claim(queue, "zoe")
    new = await answer(queue, lease, "zoe", "dog")
    assert (lease.task.task_id, new.revision) == (old.task_id, 2)
    (applied,) = await queue.apply([new])
    assert applied.record is not None
    assert [(b.value, b.revision, b.replaces) for b in applied.record.ballots] == [("dog", 2, 0)]


async def test_a_task_that_was_begun_does_not_expire_when_that_is_forgotten(bench: Bench) -> None:
    """Nor does a model take it back: somebody's work was in it, here and in a queue that is built again."""
    queue = bench.queue(replace(CALM, task_ttl_ms=1))
    await queue.add([a_task(1, created_ms=0)])
    old = await say(bench, "zoe")
    await queue.forget_before(old.submitted_ms + 1)
    await bench.pass_ms(5)
    assert (await queue.sweep(10)).tasks_expired == 0
    assert await queue.withdraw([old.task_id]) == 0
    assert (await queue.stats()).open_tasks == 1


async def test_the_answers_that_are_left_count_and_keep_their_order(bench: Bench) -> None:
    """Of three people the second is forgotten: the settler sees the others' ballots, a reviewer their answers as first and second."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    said = [
        await say(bench, who, value, **when)
        for who, value, when in (("zoe", "cat", {}), ("ann", "dog", {"submitted_ms": 1000}), ("bob", "bird", {}))
    ]
    assert await queue.forget_before(5000) == Erased(answers=1, lines=1)
    (applied,) = await queue.apply([said[2]])
    assert applied.record is not None
    assert (applied.record.sequence, [b.annotator for b in applied.record.ballots]) == (3, ["zoe", "bob"])
    await queue.reopen([Reopen(said[0].task_id, 3, review=True)])
    lease = await claim(queue, "rita", review=True)
    answers = (await queue.dispute("rita", lease.task.task_id)).answers
    assert [(a.place, a.annotator) for a in answers] == [(1, "zoe"), (2, "bob")]


async def test_a_reviewer_is_told_nothing_that_was_made_of_what_is_forgotten(bench: Bench) -> None:
    """What the consensus thought rests on the old answers too; and the first of those left is the first."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    old = await say(bench, "zoe", submitted_ms=1000)
    await queue.reopen([Reopen(old.task_id, 1, review=True, shares={"cat": 1.0})])
    lease = await claim(queue, "rita", review=True)
    assert (await queue.dispute("rita", old.task_id)).shares == {"cat": 1.0}
    await queue.forget_before(5000)
    assert await queue.dispute("rita", old.task_id) == Dispute((), {})
    await queue.release("rita", old.task_id, lease.token)
    new = await answer(queue, await claim(queue, "bob", review=True), "bob", "dog")
    (applied,) = await queue.apply([new])
    assert applied.record is not None
    await queue.reopen([Reopen(old.task_id, applied.record.sequence, review=True)])
    await claim(queue, "rita", review=True)
    answers = (await queue.dispute("rita", old.task_id)).answers
    assert [(a.place, a.annotator) for a in answers] == [(1, "bob")]


async def test_who_holds_the_task_again_goes_on_holding_it(bench: Bench) -> None:
    """They took their old answer back: that is forgotten, and the new one is accepted with the lease they have."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    said = await say(bench, "zoe")
    receipt = await queue.prepare(Answer(Act.UNDO, said.task_id, "zoe", "undo-key", DIGEST))
    taken = annotation(a_task(1), "zoe", receipt)
    lease = await queue.confirm(taken, counted=True)
    await queue.apply([taken])
    assert lease is not None
    assert (await queue.forget_before(taken.submitted_ms + 1)).answers == 1
    new = await answer(queue, lease, "zoe", "dog")
    assert (new.revision, new.state) == (3, AnnotationState.SUBMITTED)


async def test_an_answer_that_was_taken_back_is_not_taken_off_twice(bench: Bench) -> None:
    """It did not stand any more: the task given back waits as one that nobody touched."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    said = await say(bench, "zoe")
    taken = annotation(a_task(1), "zoe", await queue.prepare(Answer(Act.UNDO, said.task_id, "zoe", "undo", DIGEST)))
    lease = await queue.confirm(taken, counted=True)
    await queue.apply([taken])
    assert lease is not None
    await queue.forget_before(taken.submitted_ms + 1)
    await queue.release("zoe", said.task_id, lease.token)
    assert await queue.rerank([a_task(1)]) == 1


@pytest.mark.parametrize("confirmed", [True, False])
async def test_an_answer_on_its_way_to_the_settler_is_not_forgotten(bench: Bench, confirmed: bool) -> None:
    """It counts when it comes, and is forgotten then; one that never came is waited for no longer than it is elsewhere."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    lease = await claim(queue, "zoe")
    receipt = await queue.prepare(request(lease, "zoe"))
    made = annotation(lease.task, "zoe", receipt, VALUE)
    if confirmed:
        await queue.confirm(made, counted=True)
    await bench.pass_ms(5)
    later = made.submitted_ms + 10_000
    assert (await queue.forget_before(later)).answers == 0
    (applied,) = await queue.apply([made])
    assert applied.record is not None
    assert [b.value for b in applied.record.ballots] == [VALUE]
    assert (await queue.forget_before(later)).answers == 1


async def test_an_answer_that_never_reaches_the_settler_keeps_the_task_for_a_while(bench: Bench) -> None:
    """Then the task is on offer to everybody: nobody knows of what was said."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    made = await answer(queue, await claim(queue, "zoe"), "zoe", VALUE)
    await bench.pass_ms(5)
    hasty = bench.queue(replace(CALM, keep_ms=1))
    assert await hasty.forget_before(made.submitted_ms + 10_000) == Erased(answers=1, lines=1)
    assert (await claim(queue, "zoe")).task.task_id == made.task_id


async def test_a_line_of_a_history_has_the_time_of_the_answer(bench: Bench) -> None:
    """Not that of an index that was built since, or it would be kept anew from then on."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    made = await say(bench, "zoe", submitted_ms=1000)
    assert [line.at_ms for line in await queue.history("zoe", 10)] == [1000]
    await bench.lose()
    builder = await queue.begin_build()
    assert builder is not None
    await builder.add([a_task(1)])
    await builder.apply([made])
    await builder.end_build([])
    assert [line.at_ms for line in await queue.history("zoe", 10)] == [1000]
    assert await queue.forget_before(1001) == Erased(answers=1, lines=1)


@pytest.mark.redis
async def test_a_receipt_is_not_kept_longer_than_answers_are(bench: Bench) -> None:
    """Its task may leave before it does: it ends by itself, at the time that `annotations_days` says."""
    kept = Privacy(retention=Retention(tasks_days=1 / 24, annotations_days=1 / 24))
    settings = settings_for(a_project().model_copy(update={"privacy": kept}))
    assert (settings.idempotency_ms, settings_for(a_project()).idempotency_ms) == (3_600_000, 86_400_000)
    if bench.client is not None:
        await bench.queue().add([a_task(1)])
        lease = await claim(bench.queue(), "zoe")
        await bench.queue(settings).prepare(request(lease, "zoe", key="a-key"))
        left_ms = await bench.client.pttl("tb:{pets}:idem:zoe:a-key")
        assert 0 < left_ms <= 3_600_000

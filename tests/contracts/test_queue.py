"""The queue's contract, over the in-memory twin and over Redis alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis.asyncio

from tests.support.labeling import Bench, a_project, a_task, annotation, answer, request
from tiebreak.contracts.errors import NotFound, SlowDown
from tiebreak.contracts.messages import AnnotationState, Label, LabelMethod
from tiebreak.labeling.consensus import majority
from tiebreak.labeling.port import (
    Act,
    Done,
    Empty,
    Outcome,
    QueueSettings,
    Refusal,
    Refused,
    Reopen,
    Settlement,
    Stats,
    Swept,
)
from tiebreak.labeling.settling import TaskRecord, next_step, rule_of

HASTY = QueueSettings(lease_ms=5, undo_ms=5, task_ttl_ms=86_400_000)


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "memory":
        bench = Bench(a_project())
        await bench.start()
        yield bench
        return
    client = redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url"))
    bench = Bench(a_project(), client=client)
    await bench.start()
    yield bench
    await client.aclose()


def decided(record: TaskRecord | None) -> Settlement:
    assert record is not None
    step = next_step(record, majority(), rule_of(a_project(), record.task))
    assert step.publish is not None
    return Settlement(record.sequence, step.publish)


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
    deadline = await bench.queue().renew("ann", lease.task.task_id, lease.token)
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


async def test_annotations_fold_once_in_the_order_of_the_log(bench: Bench) -> None:
    """Applying the log twice gives duplicates and the same ballots; the place of each is the order of its arrival."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    a = await answer(queue, lease, "ann", "cat")
    (first,) = await queue.apply([a])
    assert first.record is not None
    await queue.reopen([Reopen(a.task_id, 1, review=False)])
    (lease,) = (await queue.claim("bob", 1)).leases
    b = await answer(queue, lease, "bob", "dog")
    (second,) = await queue.apply([b])
    replay = await queue.apply([a, b])
    assert [first.outcome, second.outcome, *(r.outcome for r in replay)] == [
        Outcome.NEW,
        Outcome.NEW,
        Outcome.DUPLICATE,
        Outcome.DUPLICATE,
    ]
    assert second.record is not None
    assert [(x.annotator, x.value, x.sequence) for x in second.record.ballots] == [("ann", "cat", 1), ("bob", "dog", 2)]
    assert [r.record for r in replay] == [second.record, second.record]


async def test_a_decision_is_stored_once_and_given_out_again_until_it_is_published(bench: Bench) -> None:
    """The first decision wins over a later one for the same revision; after `published` there is nothing to send."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    (applied,) = await queue.apply([await answer(queue, lease, "ann", "dog")])
    decision = decided(applied.record)
    rival = Settlement(decision.sequence, _renamed(decision))
    assert await queue.settle([decision]) == [decision.label]
    assert await queue.settle([rival]) == [decision.label]
    assert await queue.stats() == Stats(open_tasks=0, waiting=0, leased=0, in_review=0)
    await queue.published([(lease.task.task_id, 1)])
    assert await queue.settle([rival]) == [None]


def _renamed(decision: Settlement) -> Label:
    return replace(decision.label, value="bird", method=LabelMethod.AUTO)


async def test_a_decision_on_an_old_view_is_not_stored(bench: Bench) -> None:
    """A settler that lost its partition decides on fewer answers than there are: the other one's decision stands."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    a = await answer(queue, lease, "ann")
    (applied,) = await queue.apply([a])
    old = decided(applied.record)
    await queue.apply([replace(a, revision=2, state=AnnotationState.WITHDRAWN)])
    assert await queue.settle([old]) == [None]


async def test_an_answer_after_the_lease_expired_is_late_and_counts_while_wanted(bench: Bench) -> None:
    """Nobody else settled the task: the late answer is marked, folded and can settle it."""
    queue = bench.queue(HASTY)
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    await bench.pass_ms(10)
    await queue.sweep(10)
    made = await answer(queue, lease, "ann", "bird")
    assert made.state is AnnotationState.LATE
    assert (await queue.claim("bob", 1)).leases == ()  # it waits for its decision
    (applied,) = await queue.apply([made])
    assert decided(applied.record).label.value == "bird"


async def test_an_answer_to_a_settled_task_is_kept_and_not_counted(bench: Bench) -> None:
    """Ann walks off, Bob settles the task, Ann's answer arrives: its receipt says late and not counted."""
    hasty, queue = bench.queue(HASTY), bench.queue()
    await queue.add([a_task(1)])
    (ann,) = (await hasty.claim("ann", 1)).leases
    await bench.pass_ms(10)
    await queue.sweep(10)
    (bob,) = (await queue.claim("bob", 1)).leases
    (applied,) = await queue.apply([await answer(queue, bob, "bob", "dog")])
    await queue.settle([decided(applied.record)])
    receipt = await queue.prepare(request(ann, "ann"))
    assert (receipt.state, receipt.counted) == (AnnotationState.LATE, False)
    kept = annotation(ann.task, "ann", receipt)
    await queue.confirm(kept, counted=False)
    (late,) = await queue.apply([kept])
    assert late.record is not None
    assert next_step(late.record, majority(), rule_of(bench.project, ann.task)).offer is None


async def test_an_undo_gives_the_task_back_to_the_same_person(bench: Bench) -> None:
    """Within the window the answer is withdrawn under the next revision, and its author holds the task again."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    await answer(queue, lease, "ann", "dog")
    receipt = await queue.prepare(request(lease, "ann", act=Act.UNDO))
    undone = annotation(lease.task, "ann", receipt)
    again = await queue.confirm(undone, counted=True)
    assert (receipt.revision, receipt.state) == (2, AnnotationState.WITHDRAWN)
    assert again is not None
    assert again.task == lease.task
    assert again.token > lease.token
    repeated = await queue.confirm(undone, counted=True)
    assert repeated is not None
    assert repeated.token == again.token
    assert await queue.answered("ann") == 0


async def test_an_undo_after_the_window_is_refused(bench: Bench) -> None:
    """The window is the queue's clock's, not the client's."""
    queue = bench.queue(HASTY)
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    await answer(queue, lease, "ann")
    await bench.pass_ms(10)
    with pytest.raises(Refused) as refused:
        await queue.prepare(request(lease, "ann", act=Act.UNDO))
    assert refused.value.refusal is Refusal.TOO_LATE_TO_UNDO


async def test_taking_a_counted_answer_back_withdraws_the_label_and_opens_the_task(bench: Bench) -> None:
    """A settled task whose only answer is undone counts as open again, and its label gets a withdrawn revision."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    (applied,) = await queue.apply([await answer(queue, lease, "ann", "dog")])
    await queue.settle([decided(applied.record)])
    receipt = await queue.prepare(request(lease, "ann", act=Act.UNDO))
    undone = annotation(lease.task, "ann", receipt)
    again = await queue.confirm(undone, counted=True)
    (applied,) = await queue.apply([undone])
    taken = decided(applied.record)
    assert (taken.label.revision, taken.label.withdrawn, taken.label.votes) == (2, True, ())
    assert await queue.settle([taken]) == [taken.label]
    assert again is not None
    assert await queue.stats() == Stats(open_tasks=1, waiting=0, leased=1, in_review=0)
    (applied,) = await queue.apply([await answer(queue, again, "ann", "bird")])
    final = decided(applied.record)
    assert (final.label.revision, final.label.value, final.label.withdrawn) == (3, "bird", False)


async def test_a_disputed_task_is_offered_to_reviewers_alone(bench: Bench) -> None:
    """In review it is invisible to annotators, and a reviewer gets it before anything else."""
    queue = bench.queue()
    await queue.add([a_task(1), a_task(2)])
    (lease,) = (await queue.claim("ann", 1)).leases
    await queue.apply([await answer(queue, lease, "ann")])
    await queue.reopen([Reopen(lease.task.task_id, 1, review=True)])
    assert (await queue.stats()).in_review == 1
    assert [x.task.event_id for x in (await queue.claim("bob", 5)).leases] == ["event-2"]
    (given,) = (await queue.claim("rev", 1, review=True)).leases
    assert given.task == lease.task
    (applied,) = await queue.apply([await answer(queue, given, "rev", "dog")])
    await queue.settle([decided(applied.record)])
    assert (await queue.stats()).in_review == 0


async def test_a_skipped_task_goes_to_somebody_else(bench: Bench) -> None:
    """A skip ends the lease and shuts the person out; it gives no label."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    skipped = await answer(queue, lease, "ann", act=Act.SKIP)
    (applied,) = await queue.apply([skipped])
    assert applied.record is not None
    assert next_step(applied.record, majority(), rule_of(bench.project, lease.task)).publish is None
    await queue.reopen([Reopen(lease.task.task_id, 1, review=False)])
    assert (await queue.claim("ann", 1)).leases == ()
    assert len((await queue.claim("bob", 1)).leases) == 1


async def test_a_stale_task_expires_unless_somebody_worked_on_it(bench: Bench) -> None:
    """Untouched past its time it leaves for good; with an answer in it, it stays to be settled."""
    queue = bench.queue()
    brief = bench.queue(QueueSettings(lease_ms=60_000, undo_ms=60_000, task_ttl_ms=1))
    await brief.add([a_task(1), a_task(2)])
    (lease,) = (await queue.claim("ann", 1)).leases
    await answer(queue, lease, "ann")
    assert await queue.sweep(10) == Swept(tasks_expired=1)
    assert await queue.sweep(10) == Swept()
    assert await queue.add([a_task(1), a_task(2)]) == 0
    assert (await queue.stats()).open_tasks == 1


async def test_the_content_of_a_settled_task_goes_after_the_undo_window_and_not_before_its_label_is_out(
    bench: Bench,
) -> None:
    """The sweep keeps a task whose label may have to be sent again; afterwards it drops it and the task is done for good."""
    queue = bench.queue(HASTY)
    await queue.add([a_task(1)])
    (lease,) = (await bench.queue().claim("ann", 1)).leases
    made = await answer(queue, lease, "ann")
    (applied,) = await queue.apply([made])
    await queue.settle([decided(applied.record)])
    await bench.pass_ms(10)
    assert await queue.sweep(10) == Swept()
    await queue.published([(made.task_id, 1)])
    await bench.pass_ms(1001)
    assert await queue.sweep(10) == Swept(purged=1)
    assert [a.outcome for a in await queue.apply([made])] == [Outcome.DONE]
    assert await queue.add([lease.task]) == 0


async def test_an_annotation_of_an_unknown_task_is_named_so(bench: Bench) -> None:
    """The settler must be able to tell it from one whose task has left."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = await answer(queue, lease, "ann")
    stranger = replace(made, task_id="f" * 32)
    assert [a.outcome for a in await queue.apply([stranger])] == [Outcome.UNKNOWN]


async def test_a_person_sees_own_answers_newest_first_one_line_each(bench: Bench) -> None:
    """An undone answer shows as withdrawn, in one line, and no longer counts."""
    queue = bench.queue()
    await queue.add([a_task(1), a_task(2)])
    one, two = (await queue.claim("ann", 2)).leases
    first = await answer(queue, one, "ann", "dog")
    second = await answer(queue, two, "ann", "cat")
    undone = annotation(one.task, "ann", await queue.prepare(request(one, "ann", act=Act.UNDO)))
    await queue.confirm(undone, counted=True)
    lines = await queue.history("ann", 10)
    assert [(x.annotation_id, x.state, x.value, x.revision) for x in lines] == [
        (first.annotation_id, AnnotationState.WITHDRAWN, "", 2),
        (second.annotation_id, AnnotationState.SUBMITTED, "cat", 1),
    ]
    assert isinstance(lines[0], Done)
    assert (await queue.answered("ann"), await queue.answered("bob"), await queue.history("bob", 5)) == (1, 0, [])


async def test_added_classes_are_kept_in_order_once(bench: Bench) -> None:
    """Two people add the same class: it is there once, where the first put it."""
    queue = bench.queue()
    for name in ("fish", "horse", "fish"):
        await queue.add_class(name)
    assert list(await queue.classes()) == ["fish", "horse"]


async def test_a_lost_index_stops_everybody_but_its_builder(bench: Bench) -> None:
    """After the store forgot everything nobody works on the void; one builder fills it, then all go on, with larger tokens."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (before,) = (await queue.claim("ann", 1)).leases
    await bench.lose()
    await bench.pass_ms(2)
    for work in (queue.add([a_task(2)]), queue.claim("ann", 1), queue.stats(), queue.sweep(1)):
        with pytest.raises(SlowDown):
            await work
    builder = await queue.begin_build()
    assert builder is not None
    assert await queue.begin_build() is None
    await builder.add([a_task(1), a_task(2)])
    await builder.end_build([(a_task(3).task_id, 1)])
    assert await queue.is_built()
    assert await queue.add([a_task(3)]) == 0
    leases = (await queue.claim("ann", 5)).leases
    assert [lease.task.event_id for lease in leases] == ["event-1", "event-2"]
    assert leases[0].token > before.token


async def test_answers_given_before_the_loss_are_folded_after_it(bench: Bench) -> None:
    """The annotation is on the log: applied to a rebuilt task nobody has claimed since, it counts, and its author is shut out."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = await answer(queue, lease, "ann", "dog")
    await bench.lose()
    builder = await queue.begin_build()
    assert builder is not None
    await builder.add([lease.task])
    (applied,) = await builder.apply([made])
    await builder.end_build([])
    assert decided(applied.record).label.value == "dog"
    assert (await queue.claim("ann", 1)).leases == ()

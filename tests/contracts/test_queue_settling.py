"""The queue's contract from an answer to its label, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.labeling import HASTY, Bench, a_task, annotation, answer, decided, request
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.messages import AnnotationState, Label, LabelMethod
from tiebreak.labeling.consensus import majority
from tiebreak.labeling.port import (
    Act,
    Done,
    Outcome,
    QueueSettings,
    Refusal,
    Refused,
    Reopen,
    Settlement,
    Stats,
    Swept,
)
from tiebreak.labeling.settling import next_step, rule_of


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


async def test_what_was_settled_is_counted_for_the_pace_of_the_budget(bench: Bench) -> None:
    """One for each time a task is settled, none for a decision given out again: the sampler's budget reads it in Redis."""
    queue = bench.queue()
    await queue.add([a_task(1), a_task(2)])
    for person in ("ann", "bob"):
        (lease,) = (await queue.claim(person, 1)).leases
        (applied,) = await queue.apply([await answer(queue, lease, person, "dog")])
        decision = decided(applied.record)
        assert await queue.settle([decision]) == await queue.settle([decision]) == [decision.label]
    if bench.client is not None:
        assert int(await bench.client.get(f"tb:{{{bench.project.project}}}:settled_tasks") or 0) == 2


async def test_what_was_given_under_suspicion_is_remembered_so(bench: Bench) -> None:
    """The ballot says it as the log did, also when it is folded again and after its content was put back."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = replace(await answer(queue, lease, "ann"), suspect=True)
    for applied in (await queue.apply([made]), await queue.apply([made])):
        assert applied[0].record is not None
        assert [b.suspect for b in applied[0].record.ballots] == [True]


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


async def test_an_undo_that_the_log_brought_first_gives_the_task_back_all_the_same(bench: Bench) -> None:
    """The settler may fold the undo before its confirmation: the person holds the task after it, and a repeat changes nothing."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    voted = await answer(queue, lease, "ann", "dog")
    await queue.apply([voted])
    receipt = await queue.prepare(request(lease, "ann", act=Act.UNDO))
    undone = annotation(lease.task, "ann", receipt)
    await queue.apply([undone])
    again = await queue.confirm(undone, counted=True)
    assert again is not None
    assert (again.task, again.token > lease.token) == (lease.task, True)
    repeated = await queue.confirm(undone, counted=True)
    assert repeated is not None
    assert repeated.token == again.token
    # Given back and with somebody else by now, it is not theirs again for asking once more.
    await queue.release("ann", lease.task.task_id, again.token)
    assert (await queue.claim("bob", 1)).leases[0].task == lease.task
    assert await queue.confirm(undone, counted=True) is None


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


async def test_a_skip_is_on_record_and_no_answer(bench: Bench) -> None:
    """It is in the person's history and not in their count; undone, and with a vote in its place, one answer stands."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    await answer(queue, lease, "ann", act=Act.SKIP)
    assert (await queue.answered("ann"), len(await queue.history("ann", 5))) == (0, 1)
    receipt = await queue.prepare(request(lease, "ann", act=Act.UNDO))
    again = await queue.confirm(annotation(lease.task, "ann", receipt), counted=True)
    assert again is not None
    assert await queue.answered("ann") == 0
    await answer(queue, again, "ann")
    assert await queue.answered("ann") == 1


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


async def test_whoever_held_a_task_that_left_is_told_how_it_left(bench: Bench) -> None:
    """Expired is not settled, and withdrawn is neither: each is refused by its own name, for an answer as for a lease."""
    queue = bench.queue()
    brief = bench.queue(QueueSettings(lease_ms=1, undo_ms=60_000, task_ttl_ms=1))
    await brief.add([a_task(1)])
    (lease,) = (await brief.claim("ann", 1)).leases
    await bench.pass_ms(3)
    assert (await queue.sweep(10)).tasks_expired == 1
    with pytest.raises(Refused) as expired:
        await queue.prepare(request(lease, "ann"))
    with pytest.raises(Refused) as ended:
        await queue.renew("ann", lease.task.task_id, lease.token)
    await queue.add([a_task(2)])
    await queue.withdraw([a_task(2).task_id])
    with pytest.raises(Refused) as withdrawn:
        await queue.release("ann", a_task(2).task_id, lease.token)
    assert [e.value.refusal for e in (expired, ended, withdrawn)] == ["expired", "expired", "withdrawn"]


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


async def test_a_settled_task_stays_while_an_undo_has_not_been_folded(bench: Bench) -> None:
    """The settler may be away for longer than answers can be taken back: whoever took one back in time is not forgotten."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = await answer(queue, lease, "ann", "dog")
    (applied,) = await queue.apply([made])
    await bench.queue(HASTY).settle([decided(applied.record)])
    await queue.published([(made.task_id, 1)])
    undone = await answer(queue, lease, "ann", act=Act.UNDO)
    await bench.pass_ms(1001)
    assert await queue.sweep(10) == Swept()
    (applied,) = await queue.apply([undone])
    assert decided(applied.record).label.withdrawn


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
    """After the store forgot everything nobody works on the void; one builder fills it, then all go on."""
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
    assert leases[1].token > leases[0].token == before.token


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

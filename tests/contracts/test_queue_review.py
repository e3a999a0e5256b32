"""The queue's contract about what a reviewer is shown, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contracts.test_queue_erasing import everything
from tests.support.labeling import CALM, HASTY, Bench, Queues, a_task, annotation, answer, decided, request
from tiebreak.contracts.errors import NotFound
from tiebreak.contracts.messages import Annotation, AnnotationState, Task
from tiebreak.labeling.port import Act, Lease, Receipt, Refusal, Refused, Reopen, Settlement
from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.port_review import MAX_NOTE, Dispute, DisputedAnswer
from tiebreak.labeling.redis_wire import dispute_of
from tiebreak.labeling.settling import remembered

WORDS = "the Whole Secret, <b>\"'|\n\N{PILE OF POO}"
SHARES = {"cat": 0.1 + 0.2, "dog": 0.7}
EARLIER = (2, b"bob", b""), (1, b"ann", b",false")
SKIPPED, LATE = AnnotationState.SKIPPED, AnnotationState.LATE


async def say(queue: Queues, who: str, value: str, task: Task | None = None, **more: object) -> Annotation:
    """Claim the task, answer it and fold the answer; it is on offer to the next person."""
    (lease,) = (await queue.claim(who, 1)).leases
    assert task is None or lease.task == task
    act = Act.SKIP if value == "-" else Act.VOTE
    receipt = await queue.prepare(request(lease, who, act=act))
    made = replace(annotation(lease.task, who, receipt, value), **more)  # type: ignore[arg-type]  # fields of Annotation
    await queue.confirm(made, counted=True)
    return await fold(queue, made)


async def fold(
    queue: Queues, made: Annotation, review: bool = False, shares: dict[str, float] | None = None
) -> Annotation:
    """As the settler would."""
    (applied,) = await queue.apply([made])
    assert applied.record is not None
    await queue.reopen([Reopen(made.task_id, applied.record.sequence, review=review, shares=shares or {})])
    return made


async def disputed(queue: Queues, **notes: str) -> tuple[list[Annotation], Lease]:
    """A task that Zoe, Ann and Bob answered, who said what ``notes`` say, in Rita's hands."""
    await queue.add([a_task(1)])
    said = [
        await say(queue, "zoe", "cat", comment=notes.get("zoe", ""), flagged=True, lead_time_s=2.5),
        await say(queue, "ann", "dog", comment=notes.get("ann", ""), schema_version=2, schema_added=3),
        await say(queue, "bob", "-", comment=notes.get("bob", "")),
    ]
    await queue.reopen([Reopen(said[0].task_id, 3, review=True, shares=SHARES)])
    (lease,) = (await queue.claim("rita", 1, review=True)).leases
    return said, lease


def shown(a: Annotation, place: int, note: str = "", schema: str = "1") -> DisputedAnswer:
    return DisputedAnswer(place, a.annotator, a.value, a.state, a.submitted_ms, a.lead_time_s, a.flagged, schema, note)


async def refusal(queue: Queues, who: str, task_id: str) -> Refusal:
    """Why this person is told nothing."""
    with pytest.raises(Refused) as refused:
        await queue.dispute(who, task_id)
    return refused.value.refusal


async def test_the_holder_of_a_task_in_review_sees_what_was_said(bench: Bench) -> None:
    """In the order of the first answers: value, state, note, flag, times, schema; and what the consensus made of it, to the bit."""
    queue = bench.queue()
    (zoe, ann, bob), lease = await disputed(queue, zoe=WORDS, bob="too dark")
    assert await queue.dispute("rita", lease.task.task_id) == Dispute(
        (shown(zoe, 1, WORDS), shown(ann, 2, schema="2.3"), shown(bob, 3, "too dark")), SHARES
    )
    assert bob.state is SKIPPED
    assert await queue.dispute("rita", lease.task.task_id) == await bench.queue().dispute("rita", lease.task.task_id)


async def test_nobody_else_is_told_and_nothing_of_what_is_answered_blind(bench: Bench) -> None:
    """Never given: no such task. Given before, answered, or given back: a stale lease. Held, but not in review: blind."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    said = await say(queue, "zoe", "cat")
    (held,) = (await queue.claim("rita", 1, review=True)).leases
    assert held.task.task_id == said.task_id
    assert await refusal(queue, "rita", said.task_id) is Refusal.NOT_IN_REVIEW
    await queue.reopen([Reopen(said.task_id, 1, review=True)])
    assert len((await queue.dispute("rita", said.task_id)).answers) == 1
    assert await refusal(queue, "zoe", said.task_id) is Refusal.STALE_LEASE
    for who in ("eve", "rita2"):
        with pytest.raises(NotFound):
            await queue.dispute(who, said.task_id)
    with pytest.raises(NotFound):
        await queue.dispute("rita", "f" * 32)
    await queue.release("rita", said.task_id, held.token)
    assert await refusal(queue, "rita", said.task_id) is Refusal.STALE_LEASE
    assert await refusal(queue, "zoe", said.task_id) is Refusal.STALE_LEASE


async def test_a_lease_that_ran_out_shows_no_more(bench: Bench) -> None:
    """Once the sweep returned it, the task may be somebody else's: who held it is told so."""
    queue = bench.queue(HASTY)
    _, lease = await disputed(queue)
    await bench.pass_ms(10)
    assert (await queue.sweep(10)).leases_expired == 1
    assert await refusal(queue, "rita", lease.task.task_id) is Refusal.STALE_LEASE
    (again,) = (await bench.queue().claim("rita", 1, review=True)).leases
    assert len((await queue.dispute("rita", again.task.task_id)).answers) == 3


async def test_what_settles_meanwhile_says_so(bench: Bench) -> None:
    """A second reviewer whose lease was over sent theirs late: the task is settled, and the first one is told."""
    queue = bench.queue()
    _, lease = await disputed(queue)
    (applied,) = await queue.apply(
        [replace(annotation(lease.task, "ruth", Receipt(1, LATE, 1, 1, 2), "dog"), reviewer=True)]
    )
    (label,) = await queue.settle([decided(applied.record)])
    assert label is not None
    assert await refusal(queue, "rita", lease.task.task_id) is Refusal.SETTLED


async def test_an_answer_that_is_taken_back_is_shown_no_more_and_nobody_takes_its_place(bench: Bench) -> None:
    """Its note is gone from the store; the others keep their places; what the consensus made of the answers before is not told."""
    queue = bench.queue()
    (_, ann, bob), lease = await disputed(queue, zoe=WORDS)
    receipt = await queue.prepare(request(lease, "zoe", act=Act.WITHDRAW))
    back = replace(annotation(lease.task, "zoe", receipt), comment="taken back by boss")
    await queue.confirm(back, counted=True)
    (applied,) = await queue.apply([back])
    assert applied.record is not None
    left = (shown(ann, 2, schema="2.3"), shown(bob, 3))
    assert await queue.dispute("rita", lease.task.task_id) == Dispute(left)
    assert [word in await everything(bench) for word in ("the Whole Secret", "taken back by boss")] == [False, False]
    await queue.reopen([Reopen(back.task_id, applied.record.sequence, review=True, shares={"dog": 1.0})])
    assert await queue.dispute("rita", lease.task.task_id) == Dispute(left, {"dog": 1.0})
    await queue.reopen([Reopen(back.task_id, applied.record.sequence, review=False)])
    assert await refusal(queue, "rita", lease.task.task_id) is Refusal.NOT_IN_REVIEW


async def test_a_lease_says_whether_its_task_is_in_review(bench: Bench) -> None:
    """When it is claimed, claimed again, renewed, given after an answer or back by an undo: whoever holds it need not ask."""
    queue = bench.queue()
    (zoe, *_), lease = await disputed(queue)
    assert lease.review
    assert (await queue.renew("rita", zoe.task_id, lease.token)).review
    await queue.add([a_task(2)])
    both = (await queue.claim("rita", 2, review=True)).leases
    assert [held.review for held in both] == [True, False]
    ordinary = both[1]
    await queue.release("rita", ordinary.task.task_id, ordinary.token)
    receipt, onward = await queue.prepare_next(request(lease, "rita"), 1, review=True)
    assert onward is not None
    assert [held.review for held in onward.leases] == [False]
    await queue.confirm(annotation(lease.task, "rita", receipt, "cat", reviewer=True), counted=True)
    back = await queue.prepare(request(lease, "rita", act=Act.UNDO))
    undone = annotation(lease.task, "rita", back)
    for _ in range(2):
        again = await queue.confirm(undone, counted=True)
        assert again is not None
        assert again.review


async def test_a_task_that_goes_to_review_in_somebodys_hands_says_so_from_then_on(bench: Bench) -> None:
    """They claimed it as any other; a late answer disagreed meanwhile."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    said = await say(queue, "zoe", "cat")
    (lease,) = (await queue.claim("rita", 1, review=True)).leases
    assert not lease.review
    assert not (await queue.renew("rita", said.task_id, lease.token)).review
    await queue.reopen([Reopen(said.task_id, 1, review=True)])
    assert (await queue.renew("rita", said.task_id, lease.token)).review
    (same,) = (await queue.claim("rita", 1, review=True)).leases
    assert (same.token, same.review) == (lease.token, True)


async def test_a_newer_answer_brings_its_own_note(bench: Bench) -> None:
    """What somebody noted with an answer before is not theirs any more; replayed, the older one changes nothing."""
    queue = bench.queue()
    (zoe, *_), lease = await disputed(queue, zoe=WORDS)
    newer = replace(zoe, revision=2, state=LATE, value="bird", comment="another", submitted_ms=zoe.submitted_ms + 1)
    await queue.apply([newer])
    await queue.apply([zoe])
    first, *_ = (await queue.dispute("rita", lease.task.task_id)).answers
    assert first == shown(newer, 1, "another")
    await queue.apply([replace(newer, revision=3, comment="")])
    first, *_ = (await queue.dispute("rita", lease.task.task_id)).answers
    assert first.note == ""


async def test_a_huge_note_is_kept_as_far_as_one_can_be_sent(bench: Bench) -> None:
    """The log may hold what no API took."""
    queue = bench.queue()
    _, lease = await disputed(queue, zoe="x" * 100_000)
    first, *_ = (await queue.dispute("rita", lease.task.task_id)).answers
    assert first.note == "x" * MAX_NOTE


async def test_an_erasure_takes_the_notes_along(bench: Bench) -> None:
    """Nothing of them is left in the store, and the reviewer is told why the task is gone."""
    queue = bench.queue()
    (zoe, *_), lease = await disputed(queue, zoe=WORDS)
    assert "the Whole Secret" in await everything(bench)
    assert await queue.erase([zoe.task_id]) == Erased(tasks=1, leases=1, answers=3, lines=3)
    assert "the Whole Secret" not in await everything(bench)
    assert await refusal(queue, "rita", lease.task.task_id) is Refusal.ERASED


async def test_retention_takes_what_was_said_before_its_horizon(bench: Bench) -> None:
    """The horizon of `annotations`: older answers and notes are gone, and what was made of them; a newer one is told as before."""
    queue = bench.queue()
    (zoe, ann, bob), lease = await disputed(queue, zoe=WORDS, ann="older", bob="newer")
    await queue.apply([replace(a, revision=2, submitted_ms=at) for a, at in ((zoe, 1000), (ann, 4999))])
    assert await queue.forget_before(5000) == Erased(answers=2, lines=4)
    assert await queue.dispute("rita", lease.task.task_id) == Dispute((shown(bob, 1, "newer"),), {})
    assert "the Whole Secret" not in await everything(bench)


@pytest.mark.parametrize("keep", [True, False])
async def test_notes_go_with_the_content_and_come_back_with_it(bench: Bench, keep: bool) -> None:
    """A while after a task settled nothing is left of them here; where an answer is taken back they are read from the log again."""
    queue = bench.queue(HASTY)
    said, lease = await disputed(queue, zoe=WORDS)
    rita = await answer(bench.queue(), lease, "rita", "bird")
    (applied,) = await queue.apply([rita])
    (label,) = await queue.settle([decided(applied.record)])
    assert label is not None
    await queue.published([(label.task_id, label.revision)])
    await bench.pass_ms(10)
    sweeping = bench.queue(CALM if keep else replace(HASTY, keep_ms=0))
    assert (await sweeping.sweep(10)).purged == 1
    await bench.pass_ms(2)
    await sweeping.sweep(10)
    assert "the Whole Secret" not in await everything(bench)

    assert await bench.queue().restore(remembered(lease.task, [*said, rita]))
    back = annotation(lease.task, "rita", await queue.prepare(request(lease, "rita", act=Act.WITHDRAW)))
    await queue.confirm(back, counted=True)
    (applied,) = await queue.apply([back])
    assert applied.record is not None
    await queue.settle([Settlement(applied.record.sequence, replace(label, revision=2, withdrawn=True))])
    await queue.reopen([Reopen(back.task_id, applied.record.sequence, review=True)])
    (given,) = (await bench.queue().claim("ruth", 1, review=True)).leases
    told = (await queue.dispute("ruth", given.task.task_id)).answers
    assert [(a.place, a.annotator, a.note) for a in told] == [(1, "zoe", WORDS), (2, "ann", ""), (3, "bob", "")]


def test_an_index_of_an_earlier_version_tells_what_it_has() -> None:
    """Answers that it folded have no lead time, no flag, no schema, no note and nobody's place: who said what is there."""
    old = [[b'%d|0|1|submitted|["id","%b","cat",5,false%b]' % (i, who, rest), b""] for i, who, rest in EARLIER]
    answers = dispute_of([b"", b"", *old]).answers
    assert [(a.place, a.annotator, a.value, a.lead_time_s, a.flagged, a.schema) for a in answers] == [
        (1, "ann", "cat", 0.0, False, ""),
        (2, "bob", "cat", 0.0, False, ""),
    ]

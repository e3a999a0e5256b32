"""The queue's contract about lines that not everybody is served from, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from dataclasses import replace

from tests.support.labeling import HASTY, Bench, a_task, annotation, answer, request
from tiebreak.labeling.port import Act, Outcome, Reopen, Stats
from tiebreak.labeling.routing import routes_of


async def test_a_task_for_a_skill_is_given_to_those_who_have_it_only(bench: Bench) -> None:
    """Before common work to those who can do it, never to others, and again so after a release."""
    queue = bench.queue()
    special, common = a_task(2, lane="normal+birds"), a_task(1)
    await queue.add([common, special])
    (first,) = (await queue.claim("ann", 1, routes=routes_of("ann", ["birds"]))).leases
    assert first.task == special
    await queue.release("ann", special.task_id, first.token)
    others = await queue.claim("bob", 5, routes=routes_of("bob", []))
    plain = await queue.claim("cyd", 5)
    (again,) = (await queue.claim("dan", 5, routes=routes_of("dan", ["birds"]))).leases
    assert ([x.task for x in others.leases], plain.leases, again.task) == ([common], (), special)


async def test_what_waits_is_counted_whatever_line_it_is_in(bench: Bench) -> None:
    """A lane, a lane with a skill, somebody's own: until it is given to somebody, and again when it is given back."""
    queue, routes = bench.queue(), routes_of("ann", ["birds"], personal=True)
    await queue.add([a_task(1), a_task(2, lane="normal+birds"), a_task(3, audience="ann")])
    assert await queue.stats() == Stats(open_tasks=3, waiting=3, leased=0, in_review=0)
    leases = (await queue.claim("ann", 3, routes=routes)).leases
    assert await queue.stats() == Stats(open_tasks=3, waiting=0, leased=3, in_review=0)
    for lease in leases:
        await queue.release("ann", lease.task.task_id, lease.token)
    assert await queue.stats() == Stats(open_tasks=3, waiting=3, leased=0, in_review=0)
    for lease in (await queue.claim("ann", 3, routes=routes)).leases:
        receipt = await queue.prepare(request(lease, "ann", act=Act.SKIP))
        made = annotation(lease.task, "ann", receipt)
        await queue.confirm(made, counted=True)
        (applied,) = await queue.apply([made])
        assert applied.record is not None
        await queue.reopen([Reopen(lease.task.task_id, applied.record.sequence, review=False)])
    assert await queue.stats() == Stats(open_tasks=3, waiting=3, leased=0, in_review=0)


async def test_a_task_of_ones_own_waits_for_that_person_however_long(bench: Bench) -> None:
    """Nobody else is given it, it does not expire, and it comes only where it is asked for."""
    queue = bench.queue(replace(HASTY, task_ttl_ms=1))
    own = a_task(1, audience="ann")
    await queue.add([own, own])
    await bench.pass_ms(10)
    assert (await queue.sweep(100)).tasks_expired == 0
    assert (await queue.claim("bob", 1, routes=routes_of("bob", [], personal=True))).leases == ()
    assert (await queue.claim("ann", 1, routes=routes_of("ann", []))).leases == ()
    (lease,) = (await queue.claim("ann", 1, routes=routes_of("ann", [], personal=True))).leases
    assert lease.task == own


async def test_what_waits_for_one_person_has_no_place_of_its_own_among_several(bench: Bench) -> None:
    """Gold that always came first, with the lowest token, could be told by that: it comes at each place, and always comes."""
    queue, places = bench.queue(), set[int]()
    for turn in range(60):
        await queue.add([*(a_task(4 * turn + n) for n in range(2)), a_task(4 * turn + 2, audience="ann")])
        leases = (await queue.claim("ann", 3, routes=routes_of("ann", [], personal=True))).leases
        assert [lease.token for lease in leases] == sorted(lease.token for lease in leases)
        (place,) = [place for place, lease in enumerate(leases) if lease.task.audience]
        places.add(place)
        for lease in leases:
            await queue.apply([await answer(queue, lease, "ann")])
        await bench.pass_ms(1 + turn % 4)
    assert places == {0, 1, 2}
    await queue.add([a_task(900, audience="ann")])
    assert len((await queue.claim("ann", 3, routes=routes_of("ann", [], personal=True))).leases) == 1


async def test_a_second_opinion_on_a_skilled_task_is_asked_of_the_skilled(bench: Bench) -> None:
    """Begun tasks stay on the line they came from."""
    queue = bench.queue()
    await queue.add([a_task(1, lane="triage+birds")])
    routes = routes_of("ann", ["birds"])
    (lease,) = (await queue.claim("ann", 1, routes=routes)).leases
    (applied,) = await queue.apply([await answer(queue, lease, "ann")])
    assert applied.record is not None
    await queue.reopen([Reopen(lease.task.task_id, applied.record.sequence, review=False)])
    assert (await queue.claim("bob", 1)).leases == ()
    assert (await queue.claim("ann", 1, routes=routes)).leases == ()
    (second,) = (await queue.claim("bob", 1, routes=routes)).leases
    assert second.task == lease.task


async def test_an_answer_to_a_task_on_a_special_line_is_folded_although_nobody_claimed_it_here(bench: Bench) -> None:
    """After a loss the log brings answers to tasks that were never claimed from the new index."""
    queue = bench.queue()
    task = a_task(1, lane="normal+birds")
    await queue.add([task])
    (lease,) = (await queue.claim("ann", 1, routes=routes_of("ann", ["birds"]))).leases
    given = annotation(task, "ann", await queue.prepare(request(lease, "ann")))
    await bench.forget()
    await bench.start()
    await queue.add([task])
    (applied,) = await queue.apply([given])
    assert applied.outcome is Outcome.NEW
    assert (await queue.claim("bob", 1, routes=routes_of("bob", ["birds"]))).leases == ()

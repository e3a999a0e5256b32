"""The queue's contract about who comes first across lanes, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from dataclasses import replace

from tests.support.labeling import CALM, Bench, Queues, a_task, answer
from tiebreak.contracts.messages import Task
from tiebreak.labeling.port import Reopen

HOUR_MS = 3_600_000
NOW_MS = a_task(0).created_ms


def made(number: int, lane: str, hours_ago: float, deadline_ms: int = 0) -> Task:
    return a_task(number, lane=lane, created_ms=NOW_MS - round(hours_ago * HOUR_MS), deadline_ms=deadline_ms)


async def order(queue: Queues, *people: str, want: int = 1) -> list[int]:
    """The numbers of the tasks as these people are given them, one claim each."""
    return [
        int(lease.task.event_id.removeprefix("event-"))
        for name in people
        for lease in (await queue.claim(name, want)).leases
    ]


async def test_lanes_are_served_in_their_order_while_nobody_waits_long(bench: Bench) -> None:
    """Of tasks of about one age triage is first and backfill last, whoever came before whom."""
    queue = bench.queue()
    await queue.add([made(1, "backfill", 0.9), made(2, "normal", 0.9), made(3, "triage", 0.1), made(4, "triage", 0.0)])
    assert await order(queue, "ann", "bob", "cyd", "dan") == [3, 4, 2, 1]


async def test_a_task_that_waited_longer_than_its_lane_is_behind_comes_first(bench: Bench) -> None:
    """A head start is an hour from lane to lane: three hours of waiting beat two of them, and one is not enough."""
    queue = bench.queue()
    aged, young = made(1, "backfill", 2.5), made(2, "backfill", 1.5)
    await queue.add([young, aged, made(3, "triage", 0.0), made(4, "normal", 0.9)])
    assert await order(queue, "ann", want=4) == [1, 3, 4, 2]


async def test_a_claim_of_several_takes_each_from_the_line_that_is_first_then(bench: Bench) -> None:
    """One old task does not bring its whole lane to the front."""
    queue = bench.queue()
    await queue.add([made(1, "backfill", 9.0), *(made(i, "backfill", 0.1) for i in (2, 3)), made(4, "triage", 0.0)])
    assert await order(queue, "ann", want=2) == [1, 4]


async def test_no_lane_waits_for_ever_behind_a_stream_of_others(bench: Bench) -> None:
    """One triage task a minute, one claim a minute: the task of the last lane has its turn once it is two head starts old."""
    queue = bench.queue(replace(CALM, head_start_ms=10 * 60_000))
    await queue.add([a_task(0, lane="backfill")])
    served: list[int] = []
    for minute in range(1, 30):
        await queue.add([a_task(minute, lane="triage", created_ms=NOW_MS + minute * 60_000)])
        served += await order(queue, f"person-{minute}")
    assert served == [*range(1, 21), 0, *range(21, 29)]


async def test_what_is_begun_goes_before_the_rest_of_its_lane_and_no_further(bench: Bench) -> None:
    """A second answer is asked for before anything of that lane is begun; a begun task of a later lane does not overtake."""
    queue = bench.queue()
    await queue.add([made(1, "backfill", 0.0)])
    (lease,) = (await queue.claim("ann", 1)).leases
    await queue.apply([await answer(queue, lease, "ann")])
    await queue.reopen([Reopen(lease.task.task_id, 1, review=False)])
    await queue.add([made(2, "backfill", 0.5), made(3, "normal", 0.0)])
    assert await order(queue, "ann", want=5) == [3, 2]
    await queue.add([made(4, "normal", 0.0)])
    assert await order(queue, "bob", want=5) == [4, 1]


async def test_a_deadline_brings_a_task_of_any_lane_to_the_front_in_time(bench: Bench) -> None:
    """Half an hour before it, before what just came to triage; ten hours before it, where it was. Also after a new priority."""
    queue = bench.queue()
    urgent = made(1, "backfill", 0.0, deadline_ms=NOW_MS + HOUR_MS // 2)
    later = made(2, "backfill", 0.0, deadline_ms=NOW_MS + 10 * HOUR_MS)
    tasks = [made(3, "triage", 0.0), later, urgent, made(4, "normal", 0.0)]
    await queue.add(tasks)
    assert await queue.rerank([replace(task, priority=0.5) for task in tasks]) == 4
    assert await order(queue, "ann", want=4) == [1, 3, 4, 2]

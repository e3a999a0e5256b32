"""Who builds the queue's index anew: one at a time, for as long as they are heard of; over the in-memory twin and over Redis alike."""

from __future__ import annotations

import pytest

from tests.contracts.test_queue_erasing import everything
from tests.support.eventually import eventually
from tests.support.labeling import Bench, a_task, answer
from tiebreak.contracts.errors import SlowDown
from tiebreak.labeling.lifecycle import BUILDER_MS

BUILDER = "tb:{pets}:builder"


async def _falls_silent(bench: Bench, left_ms: int) -> None:
    """The builder has not been heard of for so long that ``left_ms`` are left to them."""
    if bench.client is None:
        await bench.pass_ms(BUILDER_MS - left_ms)
        return
    await bench.client.pexpire(BUILDER, max(1, left_ms))
    if left_ms <= 0:
        client = bench.client

        async def gone() -> bool:
            return not await client.exists(BUILDER)

        await eventually(gone)


async def test_who_reads_a_long_log_stays_the_builder(bench: Bench) -> None:
    """Nothing is asked of the queue meanwhile; whoever says that they are still there has half a minute again."""
    queue = bench.queue()
    await bench.lose()
    builder = await queue.begin_build()
    assert builder is not None
    for _ in range(2):
        await _falls_silent(bench, 5_000)
        await builder.keep()
    if bench.client is not None:
        assert await bench.client.pttl(BUILDER) > BUILDER_MS - 5_000
    await bench.pass_ms(5_001 if bench.client is None else 1)
    assert await queue.begin_build() is None
    await builder.add([a_task(1)])
    await builder.end_build([])
    assert (await queue.stats()).open_tasks == 1


async def test_a_builder_who_was_silent_for_too_long_is_one_no_more(bench: Bench) -> None:
    """Somebody else begins; what the first one still says is refused, so that no index is of two minds."""
    queue = bench.queue()
    await bench.lose()
    first = await queue.begin_build()
    assert first is not None
    await _falls_silent(bench, 0)
    for work in (first.keep(), first.add([a_task(1)])):
        with pytest.raises(SlowDown):
            await work
    second = await queue.begin_build()
    assert second is not None
    with pytest.raises(SlowDown):
        await first.keep()
    await second.keep()
    await second.end_build([])
    assert (await queue.stats()).open_tasks == 0


async def test_who_builds_no_more_takes_no_line_out_of_a_history(bench: Bench) -> None:
    """Each step of what is forgotten asks whether they still build, and so tells that they do: one of them may take minutes."""
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("zoe", 1)).leases
    made = await answer(queue, lease, "zoe", "cat")
    await bench.lose()
    builder = await queue.begin_build()
    assert builder is not None
    await builder.add([a_task(1)])
    await builder.apply([made])
    told = (await everything(bench)).count(made.annotation_id)
    assert told
    await _falls_silent(bench, 0)
    with pytest.raises(SlowDown):
        await builder.forget_before(made.submitted_ms + 1)
    assert (await everything(bench)).count(made.annotation_id) == told

"""The consuming loop under faults of the writer: what overlaps, what is committed when, what is done again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from tests.support.eventually import eventually
from tests.support.log_clients import Collector, messages, publish, reading, values
from tests.support.skipping import skipping
from tiebreak.contracts.errors import PublishFailed
from tiebreak.contracts.handling import Handled
from tiebreak.contracts.log import Batch, Outputs, Partition, Positions, Reader, Writer
from tiebreak.contracts.topics import specs_for
from tiebreak.events.leases import Lease
from tiebreak.events.memory import MemoryLog
from tiebreak.events.stage import ConsumeLoop, LoopSettings
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics

EVENTS, OUT = "tiebreak.p.events", "tiebreak.p.predictions"
GROUP = "tiebreak.p.scoring"


@dataclass
class Faulty:
    """A writer that asks ``fate`` before each call: it may wait there, or raise."""

    writer: Writer
    fate: Callable[[int], asyncio.Future[None] | None]
    calls: int = 0
    acknowledged: list[str] = field(default_factory=list)

    async def start(self) -> None:
        await self.writer.start()

    async def publish(self, outputs: Outputs) -> None:
        self.calls += 1
        wait = self.fate(self.calls - 1)
        if wait is not None:
            await wait
        await self.writer.publish(outputs)
        self.acknowledged += [message.value.decode() for message in outputs.messages]

    async def close(self, timeout_s: float) -> None:
        await self.writer.close(timeout_s)


@dataclass
class Watched(Collector):
    """Remembers each commit, and what had been acknowledged by then."""

    commits: list[Positions] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def committed(self, positions: Positions) -> None:
        await super().committed(positions)
        self.commits.append(positions)

    async def rewind(self) -> None:
        await super().rewind()
        self.told.append("rewind")

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        self.told.append(f"assigned {len(partitions)}")

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        self.told.append(f"revoked {len(partitions)}")


async def fresh_log(partitions: int) -> MemoryLog:
    log = MemoryLog(lease=Lease(beat_s=0.02, settle_s=0.01))
    await log.ensure_topics(specs_for("p", partitions))
    return log


@pytest.fixture
async def log() -> MemoryLog:
    return await fresh_log(2)


@pytest.fixture
async def one_partition() -> MemoryLog:
    """Where a batch is always as large as the limit: a share of a partition that is yet to come would make it smaller."""
    return await fresh_log(1)


def loop_of(reader: Reader, writer: Writer, handler: Watched, **settings: float) -> ConsumeLoop:
    options = {"max_records": 10, "poll_s": 0.05, "backoff_s": 0.001, "max_backoff_s": 0.01, **settings}
    return ConsumeLoop(
        reader,
        writer,
        handler,
        LoopSettings("scoring", "p", **options),  # type: ignore[arg-type]
        Metrics("p"),
        SystemClock(),
    )


def numbers(count: int) -> list[str]:
    return [str(i) for i in range(count)]


async def one_by_one(**settings: float) -> list[int]:
    """Eight records, one in a second: how many were committed at a time."""
    log, handler, stop = await fresh_log(1), Watched(OUT), asyncio.Event()
    task = asyncio.create_task(loop_of(log.reader([EVENTS], "g"), log.writer(), handler, **settings).run(stop))
    for number in numbers(8):
        await publish(log, messages(EVENTS, [number], 0))
        await SystemClock().sleep(1.0)
    await eventually(lambda: handler.kept == numbers(8))
    stop.set()
    await task
    ends = [commit[Partition(EVENTS, 0)] for commit in handler.commits]
    return [end - before for before, end in pairwise([0, *ends])]


def test_what_comes_soon_after_a_batch_is_fetched_together_after_the_pause() -> None:
    """With ``gather_s`` a first record is handled at once, and those that follow one by one meanwhile are one batch."""
    assert skipping(one_by_one(gather_s=10.0)) == [1, 7]


def test_a_window_gathers_what_comes_within_it() -> None:
    """With ``window_s`` records that come one by one are one batch, begun when the window of the first is over."""
    assert skipping(one_by_one(window_s=4.5)) == [5, 3]


async def test_a_full_batch_waits_for_no_window(one_partition: MemoryLog) -> None:
    """As many records as a batch may have are begun at once, however long the window."""
    handler, stop = Watched(OUT), asyncio.Event()
    await publish(one_partition, messages(EVENTS, numbers(10), 0))
    loop = loop_of(one_partition.reader([EVENTS], "g"), one_partition.writer(), handler, window_s=3600.0)
    task = asyncio.create_task(loop.run(stop))
    await eventually(lambda: handler.kept == numbers(10))
    stop.set()
    await task


async def test_deciding_goes_on_while_earlier_batches_await_their_acknowledgement(one_partition: MemoryLog) -> None:
    """As many batches as ``depth`` are in flight, the next is fetched, none is committed; then all commit, never backwards."""
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writer = Faulty(one_partition.writer(), lambda _: asyncio.shield(gate))
    handler = Watched(OUT)
    stop = asyncio.Event()
    await publish(one_partition, messages(EVENTS, numbers(50), 0))
    task = asyncio.create_task(loop_of(one_partition.reader([EVENTS], GROUP), writer, handler, depth=3).run(stop))
    await eventually(lambda: writer.calls == 3)
    assert (handler.seen, handler.commits) == (numbers(30), [])
    gate.set_result(None)
    await eventually(lambda: handler.kept == numbers(50))
    # One request commits all that has been acknowledged when it begins.
    commits = [commit[Partition(EVENTS, 0)] for commit in handler.commits]
    assert (commits[-1], commits) == (50, sorted(set(commits)))
    stop.set()
    await task


async def test_a_later_batch_that_is_acknowledged_first_is_not_committed_first(one_partition: MemoryLog) -> None:
    """The second batch's acknowledgement overtakes the first's: nothing is committed until the first is there too."""
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writer = Faulty(one_partition.writer(), lambda call: asyncio.shield(gate) if call == 0 else None)
    handler = Watched(OUT)
    stop = asyncio.Event()
    await publish(one_partition, messages(EVENTS, numbers(20), 0))
    task = asyncio.create_task(loop_of(one_partition.reader([EVENTS], GROUP), writer, handler, depth=2).run(stop))
    await eventually(lambda: writer.acknowledged == numbers(20)[10:])
    assert handler.commits == []
    gate.set_result(None)
    await eventually(lambda: handler.kept == numbers(20))
    assert handler.rewinds == 0
    stop.set()
    await task


async def test_a_failed_publish_goes_back_to_the_last_commit(log: MemoryLog) -> None:
    """The third publish fails: the handler forgets what was not committed, is given it again, and ends with each record once."""

    def third_fails(call: int) -> None:
        if call == 2:
            raise PublishFailed("no")

    writer = Faulty(log.writer(), third_fails)
    handler = Watched(OUT)
    stop = asyncio.Event()
    await publish(log, messages(EVENTS, numbers(40), 0))
    task = asyncio.create_task(loop_of(log.reader([EVENTS], GROUP), writer, handler).run(stop))
    await eventually(lambda: handler.kept == numbers(40))
    assert handler.rewinds == 1
    assert set(writer.acknowledged) == set(numbers(40))
    stop.set()
    await task


async def test_a_publish_that_never_ends_is_given_up_at_its_deadline(log: MemoryLog) -> None:
    """One call hangs: after ``publish_timeout_s`` the loop goes back and the record is published again."""
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writer = Faulty(log.writer(), lambda call: asyncio.shield(never) if call == 0 else None)
    handler = Watched(OUT)
    stop = asyncio.Event()
    await publish(log, messages(EVENTS, ["a"], 0))
    loop = loop_of(log.reader([EVENTS], GROUP), writer, handler, publish_timeout_s=0.1)
    task = asyncio.create_task(loop.run(stop))
    await eventually(lambda: handler.kept == ["a"])
    assert handler.rewinds == 1
    stop.set()
    await task
    never.cancel()


async def test_work_that_cannot_be_finished_is_taken_back_before_its_partition_is_given_up(log: MemoryLog) -> None:
    """Acknowledgements do not come, a second member joins: the batch is dropped uncommitted and its new owner repeats it."""
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writer = Faulty(log.writer(), lambda _: asyncio.shield(never))
    handler = Watched(OUT)
    stop = asyncio.Event()
    await publish(log, messages(EVENTS, ["a"], 1))
    loop = loop_of(log.reader([EVENTS], GROUP), writer, handler, drain_s=0.1, stop_s=0.1)
    task = asyncio.create_task(loop.run(stop))
    await eventually(lambda: writer.calls == 1)
    async with reading(log, EVENTS, GROUP) as other:
        await eventually(lambda: len(other.assignment()) == 1)
        assert handler.told[:4] == ["assigned 2", "rewind", "revoked 1"]
        stop.set()
        await task
        await eventually(lambda: len(other.assignment()) == 2)
        batch = await other.poll(10, 5.0)
    assert [values(records) for records in batch.values()] == [["a"]]
    never.cancel()


async def test_a_cancelled_loop_leaves_its_group(log: MemoryLog) -> None:
    """Even a rude end closes the reader: another member owns everything at once, not after the lease."""
    handler = Watched(OUT)
    task = asyncio.create_task(loop_of(log.reader([EVENTS], GROUP), log.writer(), handler).run(asyncio.Event()))
    await eventually(lambda: handler.told == ["assigned 2"])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handler.told[-1] == "revoked 2"
    async with reading(log, EVENTS, GROUP) as other:
        assert len(other.assignment()) == 2


async def test_a_batch_that_the_handler_broke_on_is_taken_back_before_the_handler_is_told_to_leave(
    log: MemoryLog,
) -> None:
    """Whatever it did to its state before it raised: it is asked to forget it, and only then to give up its partitions."""

    @dataclass
    class Broken(Watched):
        async def handle(self, batch: Batch) -> Handled:
            await super().handle(batch)
            raise ZeroDivisionError

    handler = Broken(OUT)
    await publish(log, messages(EVENTS, ["a"], 0))
    with pytest.raises(ZeroDivisionError):
        await loop_of(log.reader([EVENTS], GROUP), log.writer(), handler).run(asyncio.Event())
    assert (handler.told, handler.seen, handler.commits) == (["assigned 2", "rewind", "revoked 2"], [], [])


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_fails_nothing_is_lost_and_no_commit_passes_an_unacknowledged_record(seed: int) -> None:
    """Random failures, outages and rebalances: each committed record was acknowledged before, and all records are copied."""
    chance = random.Random(seed)
    log = MemoryLog(lease=Lease(beat_s=0.01, settle_s=0.005))
    await log.ensure_topics(specs_for("p", 2))

    def fate(_: int) -> None:
        if chance.random() < 0.3:
            raise PublishFailed("by chance")

    writer = Faulty(log.writer(), fate)

    @dataclass
    class Audited(Watched):
        async def committed(self, positions: Positions) -> None:
            for partition, position in positions.items():
                done = {v for v in writer.acknowledged if v.startswith(f"{partition.index}.")}
                assert {f"{partition.index}.{offset}" for offset in range(position)} <= done
            await super().committed(positions)

    handler = Audited(OUT)
    stop = asyncio.Event()
    loop = loop_of(log.reader([EVENTS], GROUP), writer, handler, depth=chance.randint(1, 4))
    task = asyncio.create_task(loop.run(stop))
    for offset in range(60):
        for partition in (0, 1):
            await publish(log, messages(EVENTS, [f"{partition}.{offset}"], partition))
        if offset % 20 == 10:
            async with reading(log, EVENTS, GROUP) as guest:
                await guest.poll(5, 0.01)  # joins, takes records, commits none, leaves
        if offset % 20 == 15:
            log.stop()
            await asyncio.sleep(0)
            log.resume()
    everything = {f"{partition}.{offset}" for partition in (0, 1) for offset in range(60)}
    await eventually(lambda: set(handler.kept) == everything and loop.caught_up)
    assert everything == set(writer.acknowledged)
    stop.set()
    await task

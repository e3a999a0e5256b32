"""The consuming loop on every log: nothing lost, nothing committed before it is acknowledged, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.contracts.conftest import Server
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.log_clients import Collector, fresh_topic, messages, publish, reading, take, values
from tiebreak.contracts.codec import decode_dead
from tiebreak.contracts.errors import BadRecord, DeadReason, SlowDown, TooManyBadRecords, Unreachable
from tiebreak.contracts.handling import Handled, Handler
from tiebreak.contracts.log import Batch, Log, Message, Outputs, Partition
from tiebreak.contracts.topics import specs_for
from tiebreak.events.stage import ConsumeLoop, LoopSettings
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics


@dataclass
class Setup:
    """A project's topics on one log."""

    log: Log
    project: str
    events: str
    out: str
    dead: str

    def loop(self, handler: Handler, metrics: Metrics | None = None, **settings: float) -> ConsumeLoop:
        return ConsumeLoop(
            self.log.reader([self.events], f"tiebreak.{self.project}.scoring"),
            self.log.writer(),
            handler,
            LoopSettings("scoring", self.project, poll_s=0.1, max_records=20, **settings),  # type: ignore[arg-type]
            metrics or Metrics(self.project),
            SystemClock(),
        )

    async def copied(self, count: int) -> list[str]:
        """All values on ``out``, once ``count`` different ones are there."""
        got: list[str] = []
        async with reading(self.log, self.out, None) as reader:
            async with asyncio.timeout(PATIENCE_S):
                while len(set(got)) < count:
                    got += [v for records in (await reader.poll(1000, 0.2)).values() for v in values(records)]
        return got


@pytest.fixture
async def setup(log: Log) -> Setup:
    events = await fresh_topic(log, 2)
    project = events.split(".")[1]
    await log.ensure_topics(specs_for(project, 2))
    return Setup(log, project, events, f"tiebreak.{project}.predictions", f"tiebreak.{project}.dead")


@asynccontextmanager
async def running(loop: ConsumeLoop) -> AsyncIterator[ConsumeLoop]:
    stop = asyncio.Event()
    task = asyncio.create_task(loop.run(stop))
    try:
        yield loop
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)


def numbers(start: int, stop: int) -> list[str]:
    return [str(i) for i in range(start, stop)]


async def test_each_record_is_handled_published_and_committed_once(setup: Setup) -> None:
    """With nothing going wrong there are no replays, and a restart begins where the stop ended."""
    handler = Collector(setup.out)
    async with running(setup.loop(handler)) as loop:
        await publish(setup.log, messages(setup.events, numbers(0, 150), None))
        await eventually(lambda: len(handler.kept) == 150 and loop.caught_up)
    assert sorted(await setup.copied(150), key=int) == numbers(0, 150)
    again = Collector(setup.out)
    async with running(setup.loop(again)):
        await publish(setup.log, messages(setup.events, ["last"], 1))
        await eventually(lambda: again.kept == ["last"])
    assert (handler.rewinds, again.rewinds) == (0, 0)
    assert sum(again.positions.values()) == handler.positions[Partition(setup.events, 1)] + 1


@dataclass
class Picky(Collector):
    """Sets the values aside that start with ``bad``."""

    async def handle(self, batch: Batch) -> Handled:
        records = [record for records in batch.values() for record in records]
        bad = [r for r in records if (r.value or b"").startswith(b"bad")]
        good = [r for r in records if r not in bad]
        self.taken.extend(good)
        return Handled(
            Outputs([Message(self.out, r.key or b"", r.value or b"", (), 0) for r in good]),
            [(r, BadRecord(DeadReason.UNDECODABLE, "it says so itself")) for r in bad],
        )


async def test_a_bad_record_goes_to_dead_and_its_partition_goes_on(setup: Setup) -> None:
    """The letter holds the raw bytes, the place and the reason; the neighbours are processed; the reason is counted."""
    metrics = Metrics(setup.project)
    handler = Picky(setup.out)
    async with running(setup.loop(handler, metrics)):
        await publish(setup.log, messages(setup.events, ["a", "bad\x00", "b"], 1))
        await eventually(lambda: handler.kept == ["a", "b"])
    async with reading(setup.log, setup.dead, None) as reader:
        (record,) = await take(reader, 1)
    letter = decode_dead(record.value)
    assert (letter.topic, letter.partition, letter.offset, letter.raw) == (setup.events, 1, 1, b"bad\x00")
    assert (letter.project, letter.reason, letter.detail) == (
        setup.project,
        DeadReason.UNDECODABLE,
        "it says so itself",
    )
    counted = f'tiebreak_events_dead_total{{project="{setup.project}",reason="undecodable",stage="scoring"}} 1.0'
    assert counted in metrics.exposition().decode()


async def test_when_most_records_are_bad_the_stage_stops_instead_of_draining_them_away(setup: Setup) -> None:
    """Nothing of the flood is published or committed: after the producer is mended all of it is still there."""
    await publish(setup.log, messages(setup.events, [f"bad{i}" for i in range(50)], 0))
    with pytest.raises(TooManyBadRecords, match="records are bad"):
        await asyncio.wait_for(
            setup.loop(Picky(setup.out), max_bad_share=0.5, bad_window=10).run(asyncio.Event()), PATIENCE_S
        )
    async with reading(setup.log, setup.dead, None) as reader:
        assert await reader.poll(10, 0.3) == {}
    handler = Collector(setup.out)
    async with running(setup.loop(handler)):
        await eventually(lambda: handler.kept == [f"bad{i}" for i in range(50)])


@dataclass
class Busy(Collector):
    """Asks to slow down until ``ready``."""

    ready: bool = False
    refusals: int = 0

    async def handle(self, batch: Batch) -> Handled:
        if not self.ready:
            self.refusals += 1
            raise SlowDown("the queue is full", retry_after_s=0.05)
        return await super().handle(batch)


async def test_slow_down_offers_the_same_batch_again_and_keeps_the_membership(setup: Setup) -> None:
    """While the handler refuses, nothing is fetched on and nothing is lost; the reader stays in its group."""
    handler = Busy(setup.out)
    metrics = Metrics(setup.project)
    async with running(setup.loop(handler, metrics)) as loop:
        await publish(setup.log, messages(setup.events, numbers(0, 60), 0))
        await eventually(lambda: handler.refusals >= 5)
        paused = f'tiebreak_events_paused{{project="{setup.project}",stage="scoring"}} '
        assert paused + "1.0" in metrics.exposition().decode()
        handler.ready = True
        await eventually(lambda: handler.kept == numbers(0, 60))
        assert paused + "0.0" in metrics.exposition().decode()
        assert (handler.rewinds, loop.caught_up) == (0, True) or await eventually(lambda: loop.caught_up)


async def test_an_error_of_the_handler_ends_the_loop_and_loses_nothing(setup: Setup) -> None:
    """A bug is not retried for ever: the loop ends with it, the batches before it are committed, the rest comes again."""

    @dataclass
    class Broken(Collector):
        async def handle(self, batch: Batch) -> Handled:
            if any(value == "39" for records in batch.values() for value in values(records)):
                raise ZeroDivisionError("a bug")
            return await super().handle(batch)

    await publish(setup.log, messages(setup.events, numbers(0, 60), 0))
    broken, mended = Broken(setup.out), Collector(setup.out)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(setup.loop(broken).run(asyncio.Event()), PATIENCE_S)
    async with running(setup.loop(mended)):
        await eventually(lambda: "59" in mended.kept)
    assert broken.kept + mended.kept == numbers(0, 60)


async def test_two_loops_share_the_work_and_hand_it_over_when_one_stops(setup: Setup) -> None:
    """Joining and leaving in mid-stream: each record is committed by exactly one of them, and no output is missing."""
    first, second = Collector(setup.out), Collector(setup.out)
    async with running(setup.loop(first)):
        await publish(setup.log, messages(setup.events, numbers(0, 50), None))
        async with running(setup.loop(second)):
            await publish(setup.log, messages(setup.events, numbers(50, 100), None))
            await eventually(lambda: len(first.kept) + len(second.kept) >= 100)
            for i in range(100, 10_000):
                await publish(setup.log, messages(setup.events, [str(i)], i % 2))
                if second.kept:
                    break
            last = i + 1
        await publish(setup.log, messages(setup.events, numbers(last, last + 50), None))
        await eventually(lambda: len(first.kept) + len(second.kept) >= last + 50)
    assert Counter(first.kept) + Counter(second.kept) == Counter(numbers(0, last + 50))
    assert set(await setup.copied(last + 50)) == set(numbers(0, last + 50))


@dataclass
class Slow(Collector):
    """Waits for ``gate`` in each batch, once ``gate`` is closed."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0

    async def handle(self, batch: Batch) -> Handled:
        self.inside += 1
        await self.gate.wait()
        return await super().handle(batch)


async def test_a_stop_finishes_the_batch_in_hand(setup: Setup) -> None:
    """A stop that arrives while a batch is decided waits for it, publishes and commits it; the next owner starts after it."""
    handler = Slow(setup.out)
    stop = asyncio.Event()
    await publish(setup.log, messages(setup.events, numbers(0, 5), 0))
    task = asyncio.create_task(setup.loop(handler).run(stop))
    await eventually(lambda: handler.inside == 1)
    stop.set()
    handler.gate.set()
    await asyncio.wait_for(task, PATIENCE_S)
    assert handler.kept == numbers(0, 5)
    again = Collector(setup.out)
    async with running(setup.loop(again)):
        await publish(setup.log, messages(setup.events, ["5"], 0))
        await eventually(lambda: again.kept == ["5"])


async def cannot_connect(server: Server, topic: str) -> None:
    """Whoever comes while the server is down is told so, within the connect timeout."""
    log = server.open()
    for attempt in (log.ping(), log.reader([topic], "g").start(), log.writer().start()):
        with pytest.raises(Unreachable):
            await attempt
    await log.close()


async def test_a_full_stop_of_the_server_and_its_return_lose_nothing(setup: Setup, server: Server) -> None:
    """The server goes down in mid-stream and comes back: the loop goes back to its last commit and every record is copied."""
    handler = Collector(setup.out)
    async with running(setup.loop(handler, publish_timeout_s=2.0, max_backoff_s=0.5)):
        await publish(setup.log, messages(setup.events, numbers(0, 50), None))
        await eventually(lambda: len(handler.kept) == 50)
        await asyncio.to_thread(server.stop)
        await cannot_connect(server, setup.events)
        await asyncio.to_thread(server.start)
        await setup.log.ping()
        await publish(setup.log, messages(setup.events, numbers(50, 100), None))
        await eventually(lambda: len(set(handler.kept)) == 100, deadline_s=2 * PATIENCE_S)
    assert set(await setup.copied(100)) == set(numbers(0, 100))

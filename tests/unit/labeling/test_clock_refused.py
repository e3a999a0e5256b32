"""An API whose clock the log does not believe is not ready, and nothing else that goes wrong with the log makes it so."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.labeling import Bench, a_project, a_task, annotation, answer, request
from tiebreak.contracts.codec import decode_annotation
from tiebreak.contracts.errors import ClockRefused, PublishFailed
from tiebreak.contracts.log import Message, Outputs, Writer
from tiebreak.contracts.messages import AnnotationState
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.events.memory import MemoryLog
from tiebreak.labeling.figures import Figures
from tiebreak.labeling.port import Act
from tiebreak.labeling.stage import Settler, annotation_message
from tiebreak.labeling.stage_clock import TimelyWriter
from tiebreak.labeling.stage_reading import records_of
from tiebreak.runtime.metrics import Metrics

TOPIC = Topic.ANNOTATIONS.of("pets")


class Office:
    """A log, and one clock for all that write to it."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.is_believed = True
        self.tried = 0
        self.gate: asyncio.Event | None = None
        self.at_gate = asyncio.Event()

    def writer(self) -> Writer:
        return Dated(self)

    async def said(self) -> list[bytes]:
        return [record.value or b"" async for record in records_of(self.log, TOPIC)]


class Dated:
    """A writer to the log that looks at the time first, as Kafka does."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._inner = office.log.writer()

    async def start(self) -> None:
        await self._inner.start()

    async def publish(self, outputs: Outputs) -> None:
        self._office.tried += 1
        if not self._office.is_believed:
            raise ClockRefused("Set the clock that is wrong.")
        if self._office.gate is not None:
            self._office.at_gate.set()
            await self._office.gate.wait()
        await self._inner.publish(outputs)

    async def close(self, timeout_s: float) -> None:
        await self._inner.close(timeout_s)


def some(*words: str) -> Outputs:
    return Outputs([Message(TOPIC, a_task(1).task_id.encode(), word.encode()) for word in words])


async def opened(every_s: float = 0.0) -> tuple[Office, TimelyWriter]:
    office = Office()
    await office.log.ensure_topics(specs_for("pets", 1))
    writer = TimelyWriter(office.writer(), office.writer(), every_s)
    await writer.start()
    return office, writer


async def test_what_was_refused_for_its_time_stands_until_it_is_taken() -> None:
    """Each look tries one of it again; once it is taken all is well, and nothing is written by further looks."""
    office, writer = await opened()
    assert await writer.check() == ""
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(some("one", "two"))
    for _ in range(2):
        with pytest.raises(ClockRefused, match="Set the clock"):
            await writer.check()
    office.is_believed = True
    assert [await writer.check() for _ in range(2)] == ["", ""]
    assert await office.said() == [b"one"]


async def test_the_next_answer_that_is_taken_ends_it_too() -> None:
    """Nobody need look in between, and nothing is tried again."""
    office, writer = await opened()
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(some("one"))
    office.is_believed = True
    await writer.publish(some("two"))
    assert await writer.check() == ""
    assert await office.said() == [b"two"]


async def test_an_outage_of_the_log_is_not_the_clocks() -> None:
    """It is told by the check of the log itself, as ever; a refusal from before it stands."""
    office, writer = await opened()
    office.log.stop()
    with pytest.raises(PublishFailed):
        await writer.publish(some("one"))
    assert await writer.check() == ""
    office.log.resume()
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(some("two"))
    office.is_believed = True
    office.log.stop()
    with pytest.raises(PublishFailed):
        await writer.check()
    office.log.resume()
    assert await writer.check() == ""
    assert await office.said() == [b"two"]


async def test_many_looks_at_once_try_it_once() -> None:
    """Anybody may look, without a token. All are told the same, and the log is written to once."""
    office, writer = await opened()
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(some("one"))
    office.tried = 0
    looks = await asyncio.gather(*(writer.check() for _ in range(50)), return_exceptions=True)
    assert [type(look) for look in looks] == [ClockRefused] * 50
    assert office.tried == 1
    office.is_believed = True
    assert await asyncio.gather(*(writer.check() for _ in range(50))) == [""] * 50
    assert (office.tried, await office.said()) == (2, [b"one"])


async def test_looks_that_follow_each_other_try_it_now_and_then() -> None:
    """However often somebody looks: the next try is not before its time."""
    office, writer = await opened(every_s=3600.0)
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(some("one"))
    with pytest.raises(ClockRefused):
        await writer.check()
    office.is_believed, office.tried = True, 0
    _, waiting = await asyncio.wait({asyncio.create_task(writer.check())}, timeout=0.05)
    assert (len(waiting), office.tried) == (1, 0)
    waiting.pop().cancel()


async def test_what_is_refused_during_a_look_is_not_forgotten_by_it() -> None:
    """The clock jumps while the older one is being taken: not well yet."""
    office, writer = await opened()
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(some("one"))
    office.is_believed, office.gate = True, asyncio.Event()
    look = asyncio.create_task(writer.check())
    await office.at_gate.wait()
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(some("two"))
    office.gate.set()
    assert await look == ""
    with pytest.raises(ClockRefused):
        await writer.check()


async def test_nothing_is_tried_once_the_process_has_closed_it() -> None:
    """A look that comes while the API stops opens no connection that nobody closes."""
    office, writer = await opened()
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(some("one"))
    office.is_believed = True
    await writer.close(1.0)
    assert await writer.check() == ""
    assert await office.said() == []


async def test_an_answer_that_comes_after_what_its_author_said_since_changes_nothing() -> None:
    """Sent again elsewhere it was taken, and then taken back; the first process has its clock set, and writes the old one once more."""
    office, writer = await opened()
    bench = Bench(a_project())
    queue = bench.queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = await answer(queue, lease, "ann")
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(Outputs([annotation_message(made)]))
    office.is_believed = True
    taken = annotation(lease.task, "ann", await queue.prepare(request(lease, "ann", act=Act.UNDO)))
    await queue.confirm(taken, counted=True)
    await office.writer().publish(Outputs([annotation_message(a) for a in (made, taken)]))
    assert await writer.check() == ""
    said = [decode_annotation(value) for value in await office.said()]
    assert [a.revision for a in said] == [1, 2, 1]
    folded = await Settler(a_project(), queue, Metrics("pets")).fold(said)
    assert [label.withdrawn for label in folded.labels] == [False, True]
    figures = Figures()
    for a in said:
        figures.hear(a)
    assert (figures.answers, [(line.state, line.revision) for line in await queue.history("ann", 9)]) == (
        0,
        [(AnnotationState.WITHDRAWN, 2)],
    )


async def test_an_answer_whose_task_was_erased_meanwhile_does_not_come_back() -> None:
    """It is on the log, which nothing reaches; the queue knows that the task is gone."""
    office, writer = await opened()
    queue = Bench(a_project()).queue()
    await queue.add([a_task(1)])
    (lease,) = (await queue.claim("ann", 1)).leases
    made = annotation(lease.task, "ann", await queue.prepare(request(lease, "ann")))
    office.is_believed = False
    with pytest.raises(ClockRefused):
        await writer.publish(Outputs([annotation_message(made)]))
    await queue.erase([made.task_id])
    office.is_believed = True
    assert await writer.check() == ""
    folded = await Settler(a_project(), queue, Metrics("pets")).fold(
        [decode_annotation(v) for v in await office.said()]
    )
    assert (folded.labels, folded.unknown, await queue.history("ann", 9)) == ((), frozenset(), [])
    assert (await queue.stats()).open_tasks == 0

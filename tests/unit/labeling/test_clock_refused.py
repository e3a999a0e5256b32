"""An API whose clock the log does not believe is not ready, and nothing else that goes wrong with the log makes it so."""

from __future__ import annotations

import pytest

from tests.support.labeling import a_task
from tiebreak.contracts.errors import ClockRefused, PublishFailed
from tiebreak.contracts.log import Message, Outputs, Writer
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.events.memory import MemoryLog
from tiebreak.labeling.stage_clock import TimelyWriter
from tiebreak.labeling.stage_reading import records_of

TOPIC = Topic.ANNOTATIONS.of("pets")


class Office:
    """A log, and one clock for all that write to it."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.is_believed = True

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
        if not self._office.is_believed:
            raise ClockRefused("Set the clock that is wrong.")
        await self._inner.publish(outputs)

    async def close(self, timeout_s: float) -> None:
        await self._inner.close(timeout_s)


def some(*words: str) -> Outputs:
    return Outputs([Message(TOPIC, a_task(1).task_id.encode(), word.encode()) for word in words])


async def opened() -> tuple[Office, TimelyWriter]:
    office = Office()
    await office.log.ensure_topics(specs_for("pets", 1))
    writer = TimelyWriter(office.writer(), office.writer())
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

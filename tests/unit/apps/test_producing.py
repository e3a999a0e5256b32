"""Producing: every acknowledged event counts once, an unacknowledged chunk is sent again, a limit is kept to the event."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tests.support.models import project_of
from tests.support.records import floats
from tests.support.streaming import StreamBench
from tiebreak.apps.producing import Pace, Produced, produce
from tiebreak.apps.row_files import Row
from tiebreak.contracts.errors import BadRecord, DeadReason, PublishFailed, Unreachable
from tiebreak.contracts.log import Outputs, Writer
from tiebreak.contracts.messages import Event
from tiebreak.contracts.tensors import Tensor
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.clock import ManualClock

PROJECT = project_of([2])


class Shaky:
    """A writer whose first ``failures`` publishes are not acknowledged, though the records may have arrived."""

    def __init__(self, inner: Writer, failures: int) -> None:
        self._inner = inner
        self._failures = failures

    async def start(self) -> None:
        await self._inner.start()

    async def publish(self, outputs: Outputs) -> None:
        await self._inner.publish(outputs)
        self._failures -= 1
        if self._failures >= 0:
            raise PublishFailed("not acknowledged")

    async def close(self, timeout_s: float) -> None:
        await self._inner.close(timeout_s)


def _rows(count: int) -> Iterator[Row]:
    for i in range(count):
        yield Row(i + 1, Event(f"e{i}", (Tensor("x", "FP32", (2,), floats(i, 0)),)), i + 1)
    yield Row(count + 1, BadRecord(DeadReason.UNDECODABLE, "not JSON"), count + 1)


async def _produce(failures: int, pace: Pace, clock: ManualClock) -> tuple[Produced, list[int], StreamBench]:
    bench, told = StreamBench(PROJECT), list[int]()
    await bench.start()
    writer = Shaky(bench.log.writer(), failures)
    await writer.start()

    def tell(_produced: Produced, bad: Row | None) -> None:
        if bad is not None:
            told.append(bad.number)

    return await produce(_rows(1200), PROJECT, writer, clock, pace, tell), told, bench


async def test_a_chunk_whose_outcome_is_unknown_is_sent_again_under_the_same_ids() -> None:
    """After two lost acknowledgements every event is there, counted once; what arrived twice has the same id."""
    produced, told, bench = await _produce(2, Pace(), ManualClock())
    keys = [record.key for record in await bench.records(Topic.EVENTS)]
    assert (produced, told) == (Produced(sent=1200, bad=1, done=1201), [1201])
    assert set(keys) == {f"e{i}".encode() for i in range(1200)}
    assert len(keys) == 1200 + 2 * 500


async def test_a_log_that_never_acknowledges_is_given_up_after_a_while() -> None:
    """Thirty seconds on the clock, then the command ends: how much is written, what to do, and the exit code of a server away."""
    clock = ManualClock()
    with pytest.raises(
        Unreachable, match=r"for 3\d s: 0 events are written for sure, and of the next 500 .* run the same"
    ):
        await _produce(10_000, Pace(), clock)
    assert 30 < clock.monotonic() < 40


async def test_what_cannot_be_read_again_is_sent_once_the_log_is_well() -> None:
    """Standard input: far beyond the patience with a file, and nothing is missing."""
    clock = ManualClock()
    produced, _, bench = await _produce(100, Pace(patience_s=math.inf), clock)
    assert clock.monotonic() > 300
    assert produced.sent == 1200
    assert {record.key for record in await bench.records(Topic.EVENTS)} == {f"e{i}".encode() for i in range(1200)}


async def test_a_limit_is_kept_to_the_event_and_a_rate_over_time() -> None:
    """70 events at 100 a second take 0.7 s on the clock, and not one more is sent."""
    clock = ManualClock()
    produced, _, bench = await _produce(0, Pace(rate=100, limit=70), clock)
    assert produced.sent == 70 == len(await bench.records(Topic.EVENTS))
    assert 0.6 <= clock.monotonic() <= 0.7

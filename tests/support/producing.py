"""A scenario's producer: digits in order, with replays and records that no stage can use among them. Seeded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from tiebreak.apps.demo.world import World, event_id
from tiebreak.contracts.codec import JSON, OCTETS, PROTOBUF, encode, headers_for
from tiebreak.contracts.errors import PublishFailed
from tiebreak.contracts.log import Log, Message, Outputs
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.clock import SystemClock

TICK_S = 0.05
_RETRY_S = 0.2
_POISON = ("undecodable", "empty", "shape", "nan", "json", "oversized", "clash")


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the records that are a replay of a recent event, and that are poison; events a second."""

    replay: float = 0.03
    poison: float = 0.02
    rate: float = 200.0


@dataclass(slots=True)
class Producer:
    """Publishes until stopped. ``sent``: distinct records handed over; each is acknowledged, perhaps more than once on the log."""

    log: Log
    project: str
    world: World
    max_record_bytes: int
    seed: int
    mix: Mix = field(default_factory=Mix)
    sent: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` or the end of the world. A log that is away is tried again with the same records."""
        writer, records = self.log.writer(), self._records()
        await writer.start()
        try:
            batch = max(1, round(self.mix.rate * TICK_S))
            while not stop.is_set():
                messages = [m for _, m in zip(range(batch), records, strict=False)]
                if not messages:
                    return
                while True:
                    try:
                        await writer.publish(Outputs(messages))
                        break
                    except PublishFailed:
                        await SystemClock().sleep(_RETRY_S)
                self.sent += len(messages)
                await SystemClock().sleep(TICK_S)
        finally:
            await writer.close(5.0)

    def _records(self) -> Iterator[Message]:
        rng = np.random.default_rng(self.seed)
        for index in range(len(self.world)):
            draw = float(rng.random())
            if draw < self.mix.poison:
                yield self._poison(index, _POISON[int(rng.integers(len(_POISON)))])
            elif draw < self.mix.poison + self.mix.replay and index > 50:
                yield self._event(index - int(rng.integers(1, 50)))
            yield self._event(index)

    def _event(self, index: int) -> Message:
        event = self.world.event(index)
        return self._message(event.event_id, encode(event), PROTOBUF)

    def _poison(self, index: int, kind: str) -> Message:
        bad = {
            "undecodable": (b"\xff\x00 not a message", PROTOBUF),
            "empty": (b"", PROTOBUF),
            "shape": (b"\x00" * 12, OCTETS),
            "nan": (b"\x00\x00\xc0\x7f" * 64, OCTETS),
            "json": (b'{"inputs": NaN', JSON),
            "oversized": (b"\x00" * (self.max_record_bytes + 1), OCTETS),
        }
        if kind == "clash" and index > 50:
            # Another event under an id that was used before.
            other = replace(self.world.event(index), event_id=event_id(index // 2))
            return self._message(other.event_id, encode(other), PROTOBUF)
        value, content_type = bad.get(kind, bad["undecodable"])
        return self._message(f"poison-{index:06d}", value, content_type)

    def _message(self, key: str, value: bytes, content_type: str) -> Message:
        return Message(Topic.EVENTS.of(self.project), key.encode(), value, headers_for(content_type))

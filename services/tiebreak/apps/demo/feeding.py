"""The demo's producer: the world's events onto the log, at a steady pace."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from tiebreak.apps.demo.world import World
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import PROTOBUF, encode, headers_for
from tiebreak.contracts.errors import PublishFailed
from tiebreak.contracts.log import Message, Outputs, Writer
from tiebreak.contracts.topics import Topic

_TICK_S = 0.05
_RETRY_S = 0.5
_ENCORE_S = 0.05


async def feed(world: World, project: str, writer: Writer, clock: Clock, rate: float) -> None:
    """Publish every event, ``rate`` a second. A log that is away is tried again."""
    topic, headers = Topic.EVENTS.of(project), headers_for(PROTOBUF)
    began, done = clock.monotonic(), 0
    while done < len(world):
        due = min(len(world), int((clock.monotonic() - began) * rate) + 1)
        batch = [world.event(i) for i in range(done, due)]
        messages = tuple(Message(topic, e.event_id.encode(), encode(e), headers) for e in batch)
        await _publish(writer, messages, clock)
        done = due
        await clock.sleep(_TICK_S)


async def encore(world: World, project: str, writer: Writer, clock: Clock) -> None:
    """Go on with events like the last ones, slowly, for ever: under other ids they are other events."""
    topic, headers = Topic.EVENTS.of(project), headers_for(PROTOBUF)
    for number in count():
        event = replace(world.event(world.drift + number % (len(world) - world.drift)), event_id=f"encore-{number:06d}")
        await _publish(writer, (Message(topic, event.event_id.encode(), encode(event), headers),), clock)
        await clock.sleep(_ENCORE_S)


async def _publish(writer: Writer, messages: tuple[Message, ...], clock: Clock) -> None:
    while messages:
        try:
            await writer.publish(Outputs(messages))
        except PublishFailed:
            # The outcome is unknown; the same ids again are harmless.
            await clock.sleep(_RETRY_S)
        else:
            return

"""Labels that settle while a scorer runs reach its sampler, wherever they come from; what settled before does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.support.eventually import PATIENCE_S, eventually
from tiebreak.contracts import codec
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import Label, LabelMethod, Reason, Selection
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.events.memory import MemoryLog
from tiebreak.runtime.clock import SystemClock
from tiebreak.sampling.stage_labels import LabelFollower

TOPIC = Topic.LABELS.of("p")


def _label(event: str, project: str = "p") -> bytes:
    selection = Selection("margin", 0.1, 0.0, 0.1, Reason.AUDIT, audit=True, model_version="v1", state_digest="")
    return codec.encode(
        Label(
            f"l{event}", f"t{event}", event, project, 1, "b", {}, 1.0, LabelMethod.CONSENSUS, (), (), selection, "a", 0, 0, 1
        )
    )  # fmt: skip


def _into(own: list[str]) -> Callable[[Label], None]:
    return lambda label: own.append(label.event_id)


async def test_labels_are_heard_from_now_on() -> None:
    """Old labels, another project's and records that are none are passed over; each new one is heard once, by every replica."""
    log = MemoryLog()
    await log.ensure_topics(specs_for("p", 2))
    writer = log.writer()
    await writer.publish(Outputs([Message(TOPIC, b"t0", _label("e0"))]))
    heard: list[list[str]] = [[], []]
    followers = [LabelFollower("p", log.reader([TOPIC], None), _into(own), SystemClock()) for own in heard]
    stop = asyncio.Event()
    running = [asyncio.create_task(follower.run(stop)) for follower in followers]
    for follower in followers:
        await asyncio.wait_for(follower.following.wait(), PATIENCE_S)
    values = [_label("e1"), b"\xff no label", _label("e9", project="other"), _label("e2")]
    await writer.publish(Outputs([Message(TOPIC, b"t%d" % i, value) for i, value in enumerate(values)]))
    await eventually(lambda: all(len(own) == 2 for own in heard))
    stop.set()
    await asyncio.gather(*running)
    assert [sorted(own) for own in heard] == [["e1", "e2"]] * 2

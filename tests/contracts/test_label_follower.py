"""Labels that settle while a scorer runs reach its sampler, on every log; what settled before does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.log_clients import fresh_topic, publish
from tiebreak.contracts import codec
from tiebreak.contracts.log import Log, Message, Outputs
from tiebreak.contracts.messages import Label, LabelMethod, Reason, Selection
from tiebreak.runtime.clock import SystemClock
from tiebreak.sampling.stage_labels import LabelFollower


def _label(event: str, project: str = "p") -> bytes:
    selection = Selection("margin", 0.1, 0.0, 0.1, Reason.AUDIT, audit=True, model_version="v1", state_digest="")
    return codec.encode(
        Label(
            f"l{event}", f"t{event}", event, project, 1, "b", {}, 1.0, LabelMethod.CONSENSUS, (), (), selection, "a", 0, 0, 1
        )
    )  # fmt: skip


def _into(own: list[str]) -> Callable[[Label], None]:
    return lambda label: own.append(label.event_id)


async def test_labels_are_heard_from_now_on(log: Log) -> None:
    """Old labels, another project's and records that are none are passed over; each new one is heard once, by every replica."""
    topic = await fresh_topic(log, 2)
    await publish(log, Outputs([Message(topic, b"t0", _label("e0"))]))
    heard: list[list[str]] = [[], []]
    followers = [LabelFollower("p", log.reader([topic], None), _into(own), SystemClock()) for own in heard]
    stop = asyncio.Event()
    running = [asyncio.create_task(follower.run(stop)) for follower in followers]
    for follower in followers:
        await asyncio.wait_for(follower.following.wait(), 30)
    values = [_label("e1"), b"\xff no label", _label("e9", project="other"), _label("e2")]
    await publish(log, Outputs([Message(topic, b"t%d" % i, value) for i, value in enumerate(values)]))
    await eventually(lambda: all(len(own) == 2 for own in heard))
    stop.set()
    await asyncio.gather(*running)
    assert [sorted(own) for own in heard] == [["e1", "e2"]] * 2

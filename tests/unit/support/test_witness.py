"""The witness of a scenario knows what is owed: a task that a model took back is owed no label, unless it had been answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.support.eventually import eventually
from tests.support.labels import project_of
from tests.support.training import log_for
from tests.support.witness import Witness
from tests.unit.support.test_auditor import T1, annotation, label, task
from tiebreak.contracts.codec import encode
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import Annotation, Label, Task
from tiebreak.contracts.topics import Topic

PROJECT = project_of((2,), ("a", "b"))
GONE = replace(task("e0"), withdrawn_by="v2")


async def test_a_task_that_was_taken_back_is_owed_a_label_only_if_somebody_answered_it() -> None:
    """Asked: owed. Taken back: not. Answered all the same: owed again, until its label is there."""
    said: list[tuple[Topic, Task | Annotation | Label, str]] = [
        (Topic.TASKS, task("e0"), "1 tasks without a label"),
        (Topic.TASKS, GONE, ""),
        (Topic.ANNOTATIONS, annotation(T1, "ann", "k1", 1), "1 tasks without a label"),
        (Topic.LABELS, label("e0", "ann"), ""),
    ]
    log, stop = await log_for(PROJECT), asyncio.Event()
    writer, witness = log.writer(), Witness(log, PROJECT.project)
    watching = asyncio.create_task(witness.watch(stop))
    heard = []
    for number, (topic, message, _) in enumerate(said, 1):
        await writer.publish(Outputs([Message(topic.of(PROJECT.project), b"k", encode(message))]))
        await eventually(lambda n=number: witness.counts.total() == n, what="the witness heard it")  # type: ignore[misc]
        heard.append(witness.owed())
    stop.set()
    await watching
    assert heard == [owed for _, _, owed in said]

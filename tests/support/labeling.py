"""A small project, its tasks, and queues over both adapters, for the tests of labeling."""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass, replace
from itertools import count

import redis.asyncio

from tiebreak.contracts.ids import annotation_id, task_id
from tiebreak.contracts.messages import (
    Annotation,
    AnnotationState,
    Payload,
    PayloadKind,
    Reason,
    Selection,
    Task,
)
from tiebreak.contracts.project import Classes, Input, Labeling, Project, TensorSpec
from tiebreak.labeling.consensus import majority
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.port import Act, Answer, Lease, QueueSettings, Receipt, Settlement
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.settling import TaskRecord, next_step, rule_of
from tiebreak.runtime.clock import ManualClock

Queues = MemoryQueue | RedisQueue
CALM = QueueSettings(lease_ms=60_000, undo_ms=60_000, task_ttl_ms=86_400_000)
HASTY = QueueSettings(lease_ms=5, undo_ms=5, task_ttl_ms=86_400_000)
_BEGAN_MS = round(time.time() * 1000) - 100_000
_keys = count()


def a_project(name: str = "pets", *, votes: int = 1, max_votes: int = 5, is_open: bool = False) -> Project:
    """Cats, dogs and birds."""
    return Project(
        project=name,
        input=Input(tensors=(TensorSpec(name="x", shape=(3,)),)),
        classes=Classes(names=("cat", "dog", "bird"), open=is_open),
        labeling=Labeling(votes=votes, max_votes=max_votes),
    )


def a_task(number: int, project: str = "pets", **changes: object) -> Task:
    """Task ``number`` of a project, made a little later than the one before."""
    event = f"event-{number}"
    task = Task(
        task_id=task_id(project, event),
        project=project,
        event_id=event,
        payload=Payload(PayloadKind.TEXT, "text/plain", f"what is {number}?".encode()),
        features=(float(number), 0.5, -1.0),
        predicted="cat",
        probabilities=(0.5, 0.25, 0.25),
        classes=("cat", "dog", "bird"),
        selection=Selection("margin", 0.25, 0.125, 0.5, Reason.UNCERTAIN, False, "v1", "digest"),
        priority=0.0,
        lane="normal",
        votes_wanted=0,
        created_ms=_BEGAN_MS + number,
        event_time_ms=1_700_000_000_000 + number,
        schema_version=1,
    )
    return replace(task, **changes)  # type: ignore[arg-type]  # the caller names fields of Task


@dataclass(slots=True)
class Bench:
    """One project's queue, seen through any settings, and a way to let its time pass."""

    project: Project
    clock: ManualClock | None = None
    client: redis.asyncio.Redis | None = None
    memory: MemoryQueue | None = None
    redis: RedisQueue | None = None

    async def start(self) -> None:
        """Build an empty index, for a process that gave nobody anything yet."""
        self.redis = None
        queue = self.queue()
        builder = await queue.begin_build()
        if builder is not None:
            await builder.end_build([])

    def queue(self, settings: QueueSettings = CALM) -> Queues:
        """The queue; all views share one state."""
        if self.client is not None:
            if self.redis is None:
                self.redis = RedisQueue(self.client, self.project, settings)
            view = copy(self.redis)
            view._settings = settings
            return view
        if self.memory is None:
            self.clock = self.clock or ManualClock(wall=time.time())
            self.memory = MemoryQueue(self.project, self.clock, settings)
        return self.memory.seen_through(settings)

    async def pass_ms(self, milliseconds: int) -> None:
        """The queue's own clock is at least that much further."""
        if self.client is None:
            assert self.clock is not None
            self.clock.advance(milliseconds / 1000)
            return
        client = self.client

        async def now() -> float:
            seconds, micros = await client.time()
            return float(seconds) + float(micros) / 1e6

        end = await now() + milliseconds / 1000

        while await now() <= end:
            pass  # a few milliseconds of the server's own time: asking it is the wait

    async def forget(self) -> None:
        """The store forgets this project, whatever else it holds."""
        if self.client is None:
            await self.lose()
            return
        keys = [key async for key in self.client.scan_iter(match=f"tb:{{{self.project.project}}}:*", count=1000)]
        if keys:
            await self.client.delete(*keys)

    async def lose(self) -> None:
        """The store forgets everything."""
        if self.client is not None:
            await self.client.flushall()
        elif self.memory is not None:
            self.memory.lose()


def request(
    lease: Lease, annotator: str, *, act: Act = Act.VOTE, key: str | None = None, digest: str = "body"
) -> Answer:
    """A request to answer the leased task; a new key unless one is given."""
    return Answer(act, lease.task.task_id, annotator, key or f"key-{next(_keys)}", digest, lease.token)


def annotation(
    task: Task, annotator: str, receipt: Receipt, value: str = "cat", *, reviewer: bool = False
) -> Annotation:
    """What goes on the log for ``receipt``."""
    voted = receipt.state in (AnnotationState.SUBMITTED, AnnotationState.LATE)
    return Annotation(
        annotation_id=annotation_id(task.task_id, annotator),
        task_id=task.task_id,
        project=task.project,
        annotator=annotator,
        revision=receipt.revision,
        state=receipt.state,
        value=value if voted else "",
        lease_token=receipt.token,
        lead_time_s=1.0,
        claimed_ms=receipt.claimed_ms,
        submitted_ms=receipt.accepted_ms,
        schema_version=1,
        reviewer=reviewer,
    )


async def answer(queue: Queues, lease: Lease, annotator: str, value: str = "cat", **kinds: Act) -> Annotation:
    """Prepare and confirm an answer, as the API does; the annotation that would be on the log."""
    receipt = await queue.prepare(request(lease, annotator, **kinds))
    made = annotation(lease.task, annotator, receipt, value, reviewer=receipt.review)
    await queue.confirm(made, counted=receipt.counted)
    return made


def decided(record: TaskRecord | None) -> Settlement:
    """What the settler would store for ``record``, of whose answers one is enough."""
    assert record is not None
    step = next_step(record, majority(), rule_of(a_project(), record.task))
    assert step.publish is not None
    return Settlement(record.sequence, step.publish)

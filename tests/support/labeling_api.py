"""The labeling API with everything behind it, in one process: queue, log, loops, and people with tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import httpx
from fastapi import FastAPI

from tests.support.eventually import eventually
from tests.support.labeling import Queues
from tiebreak.contracts.codec import decode_annotation, decode_label, encode
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import Annotation, Label, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.events.memory import MemoryLog
from tiebreak.events.stage import ConsumeLoop, LoopSettings
from tiebreak.labeling.access import Role
from tiebreak.labeling.http import LabelingContext, create_app
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.memory_tokens import MemoryTokens
from tiebreak.labeling.stage import Doorbell, Intake, Settler, Sweeper
from tiebreak.labeling.stage_crowd import Panel
from tiebreak.labeling.stage_erasing import Eraser
from tiebreak.labeling.stage_people import People
from tiebreak.labeling.stage_reading import records_of
from tiebreak.labeling.stage_rebuild import Rebuilder
from tiebreak.labeling.stage_recall import Recall
from tiebreak.labeling.tokens import Tokens, mint
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.ops_http import HttpServer, bind

_people = count(1)
_keys = count(1)


@dataclass(slots=True)
class Office:
    """One project: its log, its queue, its API."""

    project: Project
    queue: Queues
    log: MemoryLog
    metrics: Metrics
    doorbell: Doorbell
    tokens: Tokens
    app: FastAPI
    context: LabelingContext
    people: People | None = None
    clock: SystemClock = field(default_factory=SystemClock)
    address: str = ""

    async def person(self, name: str, role: Role = Role.ANNOTATOR, ttl_ms: int = 3_600_000) -> str:
        """A token for a person."""
        random = next(_people).to_bytes(32, "big")
        text, record = mint(random, name, role, round(self.clock.wall() * 1000), 3_600_000)
        await self.tokens.put(replace(record, expires_ms=record.created_ms + ttl_ms))
        return text

    async def client(self, name: str, role: Role = Role.ANNOTATOR) -> httpx.AsyncClient:
        """An HTTP client as that person, that talks to the application without a network, or to its address if it has one."""
        return self.bare_client({"authorization": f"Bearer {await self.person(name, role)}"})

    def bare_client(self, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        """A client without a token."""
        transport = None if self.address else httpx.ASGITransport(self.app, raise_app_exceptions=False)
        address = self.address or "http://tiebreak.test"
        return httpx.AsyncClient(transport=transport, base_url=address, headers=dict(headers or {}))

    async def publish_tasks(self, *tasks: Task) -> None:
        """Put tasks on the topic, as sampling does."""
        topic = Topic.TASKS.of(self.project.project)
        messages = [Message(topic, t.task_id.encode(), encode(t)) for t in tasks]
        await self.log.writer().publish(Outputs(messages=messages))

    async def annotations(self) -> list[Annotation]:
        """Everything on `annotations`."""
        return [decode_annotation(r.value) async for r in records_of(self.log, self._topic(Topic.ANNOTATIONS))]

    async def labels(self) -> list[Label]:
        """Everything on `labels`."""
        return [decode_label(r.value) async for r in records_of(self.log, self._topic(Topic.LABELS))]

    def _topic(self, topic: Topic) -> str:
        return topic.of(self.project.project)

    def watch(self, people: People) -> None:
        """From now on ``people`` says who is served from where."""
        self.people = people
        self.queue.serve(people.routes)
        self.context = replace(self.context, people=people)
        self.app = create_app(self.context)

    def keep_record(self) -> None:
        """From now on the API puts on the audit trail what belongs there."""
        self.context = replace(self.context, audit=self.trail())
        self.app = create_app(self.context)

    def settler(self) -> Settler:
        """One that knows nothing yet but how to read the log."""
        panel = Panel(self.project, self.queue, self.log)
        return Settler(self.project, self.queue, self.metrics, self.doorbell, panel)

    def trail(self) -> AuditTrail:
        """The project's audit trail."""
        return AuditTrail(self.log, self.project.project, self.clock)

    def rebuilder(self) -> Rebuilder:
        """One that looks often."""
        return Rebuilder(self.project, self.queue, self.log, self.metrics, self.trail(), every_s=0.05)

    def loops(self) -> list[Callable[[asyncio.Event], Any]]:
        """Intake, settling, sweeping and rebuilding, as `tiebreak label` runs them."""
        name = self.project.project

        def consume(topic: Topic, stage: str, handler: Intake | Settler) -> Callable[[asyncio.Event], Any]:
            settings = LoopSettings(stage=stage, project=name, poll_s=0.05)
            reader = self.log.reader([topic.of(name)], f"tiebreak.{name}.{stage}")
            return ConsumeLoop(reader, self.log.writer(), handler, settings, self.metrics, self.clock).run

        eraser = Eraser(name, self.queue, self.log, self.trail(), after_s=0.0, metrics=self.metrics)
        intake = Intake(self.project, self.queue, self.metrics, self.doorbell, eraser.horizons)
        return [
            consume(Topic.TASKS, "intake", intake),
            consume(Topic.ANNOTATIONS, "settling", self.settler()),
            Sweeper(self.queue, self.metrics, self.doorbell, every_s=0.05).run,
            self.rebuilder().run,
            eraser.run,
            *([self.people.run] if self.people is not None else []),
        ]


async def open_office(project: Project, queue: Queues | None = None) -> Office:
    """The parts, wired; nothing runs yet."""
    clock, log, metrics = SystemClock(), MemoryLog(), Metrics(project.project)
    await log.ensure_topics(specs_for(project.project, 2))
    queue = queue or MemoryQueue(project, clock)
    doorbell, tokens = Doorbell(), MemoryTokens()
    recall = Recall(project, log, AuditTrail(log, project.project, clock))
    ctx = LabelingContext(project, queue, tokens, log.writer(), metrics, clock, doorbell, recall=recall)
    return Office(project, queue, log, metrics, doorbell, tokens, create_app(ctx), ctx)


async def open_tasks(office: Office, count: int) -> None:
    """Until so many tasks are open."""

    async def there() -> bool:
        return (await office.queue.stats()).open_tasks == count

    await eventually(there, retry_on=(SlowDown,))


async def lose(queue: Queues) -> None:
    """The store forgets everything."""
    if isinstance(queue, MemoryQueue):
        queue.lose()
    else:
        await queue._client.flushall()


@asynccontextmanager
async def listening(office: Office) -> AsyncIterator[Office]:
    """The office on a real address: what is asked of it comes to the door of the server first."""
    server = HttpServer(office.app, bind("127.0.0.1", 0))
    await server.start()
    try:
        yield replace(office, address=server.address)
    finally:
        await server.stop(2.0)


@asynccontextmanager
async def running(office: Office) -> AsyncIterator[None]:
    """All loops until the block ends."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for loop in office.loops():
            group.create_task(loop(stop))
        try:
            yield
        finally:
            stop.set()


async def claim(client: httpx.AsyncClient, project: str = "pets", **body: object) -> Any:
    """The body of a successful claim."""
    response = await client.post(f"/v1/projects/{project}/tasks:claim", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def submit(
    client: httpx.AsyncClient, task: Any, value: str = "cat", *, key: str = "", **more: object
) -> httpx.Response:
    """Answer a claimed task."""
    body = {"lease_token": task["lease"]["token"], "value": value, **more}
    headers = {"Idempotency-Key": key or f"key-{next(_keys)}"}
    return await client.post(f"/v1/tasks/{task['task_id']}/annotations", json=body, headers=headers)


async def withdraw(client: httpx.AsyncClient, annotation: str, key: str = "key") -> httpx.Response:
    """Take an answer back, however old it is."""
    return await client.post(f"/v1/annotations/{annotation}:withdraw", headers={"Idempotency-Key": key})

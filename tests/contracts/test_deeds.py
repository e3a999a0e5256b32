"""A request of a manager or reviewer that is sent again with its Idempotency-Key is the same deed, over every log: by two processes at

once, after a lost answer, in a new process, after what another person decided since.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from tests.support.labeling import a_project, a_task
from tests.support.models import dense, manifest_of, points
from tests.unit.labeling.test_people import said
from tiebreak.client import AsyncClient, Retries
from tiebreak.contracts.audit import Action, key_of, words_of
from tiebreak.contracts.codec import JSON, headers_for
from tiebreak.contracts.errors import Conflict
from tiebreak.contracts.log import Log, Message, Outputs
from tiebreak.contracts.messages import AuditRecord
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.events.stage_history import History
from tiebreak.labeling.access import Role
from tiebreak.labeling.http import LabelingContext, create_app
from tiebreak.labeling.memory import MemoryQueue
from tiebreak.labeling.memory_tokens import MemoryTokens
from tiebreak.labeling.stage_people import Around, People
from tiebreak.labeling.tokens import mint
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics

MODEL = dense(points(3, 2), squash="Softmax")
CLOCK = SystemClock()
WORD = {"reason": "complaints"}


@dataclass
class Process:
    """One `tiebreak label`: nothing of it outlives it but what is on the log and in the queue."""

    client: httpx.AsyncClient
    people: People
    deployer: Deployer
    at: str

    async def post(self, path: str, key: str, body: object = None) -> tuple[int, Any]:
        """Status and answer, by its last word where it is a refusal."""
        answer = await self.client.post(path, json=body, headers={"Idempotency-Key": key} if key else {})
        content: Any = answer.json() if answer.content else None
        return answer.status_code, content if answer.is_success else content["type"].rpartition(":")[2]

    async def serves(self) -> str:
        """The model that serves."""
        return (await self.deployer.registry()).champion


class Losing(httpx.AsyncBaseTransport):
    """Answers of every other request, beginning with the first, do not arrive."""

    def __init__(self, behind: httpx.AsyncClient) -> None:
        self._behind = behind
        self.keys: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["idempotency-key"])
        answer = await self._behind.request(
            request.method, request.url, content=await request.aread(), headers=request.headers
        )
        if len(self.keys) % 2:
            raise httpx.ReadError("gone", request=request)
        return httpx.Response(answer.status_code, content=answer.content, headers={"content-type": "application/json"})


class Site:
    """A project with three models, a task whose event is on the log, and what the processes have in common."""

    def __init__(self, log: Log, project: Project) -> None:
        self.log, self.project = log, project
        self.queue, self.tokens, self.store = MemoryQueue(project, CLOCK), MemoryTokens(), MemoryModelStore()
        self.tasks = [a_task(n, project.project, source_partition=0, source_offset=n) for n in range(2)]
        self._processes: list[Process] = []

    async def prepare(self) -> str:
        name = self.project.project
        await self.log.ensure_topics(specs_for(name, 1))
        for version in ("v1", "v2", "v3"):
            await self.store.put(manifest_of(self.project, MODEL, version), MODEL)
        tensor = '{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}'
        bodies = [f'{{"id": "event-{n}", "inputs": [{tensor}], "payload": "hi {n}"}}'.encode() for n in range(2)]
        await self._publish(*(Message(Topic.EVENTS.of(name), b"k", body, headers_for(JSON), 0) for body in bodies))
        await self.queue.add(self.tasks)
        token, record = mint(uuid.uuid4().bytes * 2, "mia", Role.MANAGER, round(CLOCK.wall() * 1000), 3_600_000)
        await self.tokens.put(record)
        self.token = token
        return token

    async def _publish(self, *messages: Message) -> None:
        writer = self.log.writer()
        await writer.start()
        await writer.publish(Outputs(messages))
        await writer.close(5.0)

    async def process(self) -> Process:
        """A new one."""
        name, log, metrics = self.project.project, self.log, Metrics(self.project.project)
        trail, writer = AuditTrail(log, name, CLOCK), log.writer()
        await writer.start()
        deployer = Deployer(self.project, Tools(self.store, log, SandboxProbe(self.project), metrics, CLOCK))
        await deployer.start()
        people = People(self.project, self.queue, Around(log, writer, metrics, CLOCK, lambda: 0.9, trail))
        ctx = LabelingContext(self.project, self.queue, self.tokens, writer, metrics, CLOCK, audit=trail)
        ctx = replace(ctx, models=deployer, people=people, originals=History(log, Topic.EVENTS.of(name)))
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(ctx), raise_app_exceptions=False),
            base_url="http://tiebreak.test",
            headers={"authorization": f"Bearer {self.token}"},
        )
        self._processes.append(Process(client, people, deployer, f"/v1/projects/{name}"))
        return self._processes[-1]

    @asynccontextmanager
    async def library(self) -> AsyncIterator[tuple[AsyncClient, Losing]]:
        """`tiebreak.client` as mia, over a network that loses every first answer: the server has done by then what it was asked for."""
        network = Losing((await self.process()).client)
        hasty = Retries(attempts=2, first_s=0.001, most_s=0.002)
        name = self.project.project
        async with AsyncClient(
            "http://tiebreak.test", token=self.token, project=name, retries=hasty, transport=network
        ) as mia:
            yield mia, network

    async def close(self) -> None:
        for process in self._processes:
            await process.client.aclose()
            await process.deployer.close(2.0)

    async def on_record(self, action: Action) -> Sequence[AuditRecord]:
        """What the trail says of it."""
        found, chain = await AuditTrail(self.log, self.project.project, CLOCK).read()
        assert chain.faults == []
        return [record for record in found if record.action == action]


@pytest.fixture
async def site(log: Log) -> AsyncIterator[Site]:
    site = Site(log, a_project(f"p-{uuid.uuid4().hex[:12]}", is_open=True))
    await site.prepare()
    yield site
    await site.close()


async def at_once(site: Site, path: str, key: str, body: object) -> tuple[int, Any]:
    """The same request four times at once, to two processes, and once more to one that just started: one answer for all."""
    one, two = await site.process(), await site.process()
    answers = await asyncio.gather(*(process.post(path, key, body) for process in (one, two, one, two)))
    answers.append(await (await site.process()).post(path, key, body))
    assert all(answer == answers[0] for answer in answers), answers
    return answers[0]


async def test_a_rollback_goes_back_one_model_however_often_it_is_sent(site: Site) -> None:
    """At once, and again when something else serves; the key is good for no other reason, a new one is another rollback."""
    mia = await site.process()
    for version in ("v1", "v2", "v3"):
        assert (await mia.post(f"{mia.at}/models/{version}:promote", "", WORD))[0] == 200
    assert await at_once(site, f"{mia.at}/models:rollback", "monday", WORD) == (200, {"serves": "v2"})
    assert await mia.serves() == "v2"
    assert [r.target for r in await site.on_record(Action.MODEL_ROLLED_BACK)] == ["v3"]
    assert await mia.post(f"{mia.at}/models:rollback", "monday", {"reason": "other"}) == (409, "key_reused")
    assert await mia.post(f"{mia.at}/models:rollback", "tuesday", WORD) == (200, {"serves": "v1"})
    site.queue.lose()  # the index of the queue has no part in it
    assert await (await site.process()).post(f"{mia.at}/models:rollback", "monday", WORD) == (200, {"serves": "v2"})
    assert await mia.serves() == "v1"


async def test_a_lost_answer_is_asked_for_again_and_nothing_is_done_twice(site: Site) -> None:
    """`tiebreak.client` repeats what it does not know the end of, with the same key: each deed is on record, and done, once."""
    task, _ = (task.task_id for task in site.tasks)
    async with site.library() as (mia, network):
        served = [await mia.promote(version, "complaints") for version in ("v1", "v2", "v3")]
        assert [*served, await mia.rollback("complaints")] == ["v1", "v2", "v3", "v2"]
        assert (await mia.reveal(task, "complaints")).audit_sequence == 5
        assert await mia.keep_gold(task, "cat")
        assert await mia.add_class("ferret") == "ferret"
        assert (await mia.pin("complaints"), await mia.unpin("complaints")) == ("v2", "v2")
    assert len(network.keys) == 18
    assert network.keys[::2] == network.keys[1::2]
    assert await (await site.process()).serves() == "v2"
    found, _ = await AuditTrail(site.log, site.project.project, CLOCK).read()
    assert [(key_of(record), record.target) for record in found] == list(
        zip(network.keys[::2], ["v1", "v2", "v3", "v3", task, task, "ferret", "v2", "v2"], strict=True)
    )


async def test_what_is_ordered_of_a_model_is_done_to_that_model(site: Site) -> None:
    """Two people without a key, at once, were both about the model that served: the second finds another one, and does nothing."""
    mia = await site.process()
    for version in ("v1", "v2", "v3"):
        await mia.post(f"{mia.at}/models/{version}:promote", "", WORD)
    assert await mia.deployer.rollback("mia", "complaints", "a digest", "v3") == "v2"
    for deed in (mia.deployer.rollback, mia.deployer.pin, mia.deployer.unpin):
        with pytest.raises(Conflict):
            await deed("bob", "complaints", "another", "v3")
    assert await mia.serves() == "v2"


async def test_a_rollback_that_was_ordered_and_not_done_is_done_unless_it_would_be_another(site: Site) -> None:
    """The process died between the trail and `models`: sent again it is done; not where a third model serves by then."""
    mia, trail = await site.process(), AuditTrail(site.log, site.project.project, CLOCK)
    for version in ("v1", "v2"):
        await mia.post(f"{mia.at}/models/{version}:promote", "", WORD)
    for key in ("monday", "tuesday"):
        await trail.append("mia", Action.MODEL_ROLLED_BACK, "v2", "complaints", key)
    assert await mia.post(f"{mia.at}/models:rollback", "monday", WORD) == (200, {"serves": "v1"})
    await mia.post(f"{mia.at}/models/v3:promote", "", WORD)
    assert await mia.post(f"{mia.at}/models:rollback", "tuesday", WORD) == (409, "conflict")
    assert await mia.serves() == "v3"
    assert len(await site.on_record(Action.MODEL_ROLLED_BACK)) == 2


async def test_a_rollback_that_was_about_no_model_takes_none_back(site: Site) -> None:
    """Refused as none served; sent again with its key once two have served, it is still about none of them. So with a pin."""
    mia = await site.process()
    rollback, pin = f"{mia.at}/models:rollback", f"{mia.at}/models:pin"
    assert await mia.post(rollback, "monday", WORD) == (409, "conflict")
    assert await mia.post(pin, "monday", WORD) == (404, "not_found")
    for version in ("v1", "v2"):
        await mia.post(f"{mia.at}/models/{version}:promote", "", WORD)
    assert await mia.post(rollback, "monday", WORD) == (409, "conflict")
    assert await mia.post(pin, "monday", WORD) == (409, "conflict")
    registry = await mia.deployer.registry()
    assert (registry.champion, registry.pinned) == ("v2", "")
    assert await mia.post(rollback, "tuesday", WORD) == (200, {"serves": "v1"})


async def test_a_promotion_that_is_sent_again_takes_nothing_back_that_was_decided_since(site: Site) -> None:
    """Its answer was lost, and somebody promoted another model meanwhile; pins and their ends alike."""
    mia = await site.process()
    promote = f"{mia.at}/models/v1:promote"
    assert await at_once(site, promote, "monday", WORD) == (200, {"serves": "v1"})
    assert (await mia.post(f"{mia.at}/models/v2:promote", "", WORD))[0] == 200
    assert await mia.post(promote, "monday", WORD) == (200, {"serves": "v1"})
    assert await mia.serves() == "v2"
    assert await mia.post(f"{mia.at}/models/v3:promote", "monday", WORD) == (409, "key_reused")
    assert [r.target for r in await site.on_record(Action.MODEL_PROMOTED)] == ["v1", "v2"]
    assert await at_once(site, f"{mia.at}/models:pin", "monday", WORD) == (200, {"serves": "v2"})
    assert await at_once(site, f"{mia.at}/models:unpin", "monday", WORD) == (200, {"serves": "v2"})
    assert await mia.post(f"{mia.at}/models:pin", "monday", WORD) == (200, {"serves": "v2"})
    assert (await mia.deployer.registry()).pinned == ""
    assert [len(await site.on_record(a)) for a in (Action.MODEL_PINNED, Action.MODEL_UNPINNED)] == [1, 1]


async def test_what_is_revealed_again_with_its_key_is_on_record_once(site: Site) -> None:
    """The same text and the same number each time; another task, or another reason, is another deed."""
    mia = await site.process()
    one, two = (f"/v1/tasks/{task.task_id}:reveal" for task in site.tasks)
    status, shown = await at_once(site, one, "monday", WORD)
    assert (status, shown["payload"]["text"], shown["audit_sequence"]) == (200, "hi 0", 1)
    assert await mia.post(one, "monday", {"reason": "other"}) == (409, "key_reused")
    assert await mia.post(two, "monday", WORD) == (409, "key_reused")
    status, shown = await mia.post(two, "tuesday", WORD)
    assert (status, shown["payload"]["text"], shown["audit_sequence"]) == (200, "hi 1", 2)


async def test_gold_is_made_once_and_its_key_is_good_for_no_other(site: Site) -> None:
    """One piece, one record, for all; another answer, reason or task under its key is refused."""
    mia, (one, two) = await site.process(), (task.task_id for task in site.tasks)
    gold, body = f"{mia.at}/gold", {"task_id": one, "answer": "cat"}
    status, made = await at_once(site, gold, "monday", body)
    assert (status, set(made)) == (201, {"gold_id"})
    for other in ({"answer": "dog"}, {"reason": "sure"}, {"task_id": two}):
        assert await mia.post(gold, "monday", {**body, **other}) == (409, "key_reused")
    assert [(r.actor, r.target) for r in await site.on_record(Action.PROJECT_CHANGED)] == [("mia", one)]
    status, further = await mia.post(gold, "tuesday", {**body, "task_id": two})
    assert (status, further != made) == (201, True)


@pytest.mark.parametrize("key", ["", "monday"])
async def test_a_class_is_added_and_on_record_once(site: Site, key: str) -> None:
    """However many processes are asked at once, and after the queue forgot it; under its key there is no other."""
    mia = await site.process()
    assert await at_once(site, f"{mia.at}/classes", key, {"name": "Ferret"}) == (201, {"name": "Ferret"})
    assert [(r.target, words_of(r)) for r in await site.on_record(Action.CLASS_ADDED)] == [("Ferret", "")]
    assert await mia.post(f"{mia.at}/classes", key, {"name": " ferret"}) == (201, {"name": "Ferret"})
    expected = (409, "key_reused") if key else (201, {"name": "Otter"})
    assert await mia.post(f"{mia.at}/classes", key, {"name": "Otter"}) == expected
    expected = (409, "key_reused") if key else (201, {"name": "cat"})
    assert await mia.post(f"{mia.at}/classes", key, {"name": "cat"}) == expected  # that is there already


async def test_a_proposal_is_declined_once(site: Site) -> None:
    """By the key that declined it no other is declined."""
    one, two = (task.task_id for task in site.tasks)
    processes = [await site.process() for _ in range(2)]
    for process in processes:
        for task in (one, two):
            process.people.proposals.settled(task, 1, "cat", 1.0, "consensus")
            for person in ("ann", "bob"):
                process.people.figures.hear(said(task, person, "cat"))
    path = f"{processes[0].at}/gold/proposals/{one}:decline"
    answers = await asyncio.gather(*(process.post(path, "monday", WORD) for process in processes * 2))
    assert answers == [(204, None)] * 4
    other = path.replace(one, two)
    assert await processes[0].post(other, "monday", WORD) == (409, "key_reused")
    assert await processes[0].post(path, "monday", {"reason": "other"}) == (409, "key_reused")
    assert [(r.target, words_of(r)) for r in await site.on_record(Action.GOLD_DECLINED)] == [(one, "complaints")]


async def test_a_person_goes_on_once(site: Site) -> None:
    """Sent again after they answered further gold, it does not forgive that too; nor does an older word take a newer one back."""
    mia = await site.process()
    for person in ("ann", "bob"):
        mia.people.figures.hear(said("t1", person, "cat"), "dog")
    path = f"{mia.at}/people/ann:resume"
    assert [await mia.post(path, "monday") for _ in range(2)] == [(204, None)] * 2
    assert await site.queue.forgiven() == {"ann": 1}
    mia.people.figures.hear(said("t2", "ann", "cat"), "dog")
    assert await mia.post(path, "monday") == (204, None)
    assert await site.queue.forgiven() == {"ann": 1}
    assert await mia.post(path, "tuesday") == (204, None)
    assert await mia.post(path, "monday") == (204, None)
    assert await site.queue.forgiven() == {"ann": 2}
    assert await mia.post(path.replace("ann", "bob"), "monday") == (409, "key_reused")
    assert [r.target for r in await site.on_record(Action.ANNOTATOR_RESUMED)] == ["ann", "ann"]


async def test_processes_that_know_different_figures_agree_on_one_deed(site: Site) -> None:
    """One follows the answers a little behind the other, and both are sent the same word at once: it is no other request for that."""
    processes = [await site.process() for _ in range(4)]
    for n, process in enumerate(processes):
        for task in range(n + 1):
            process.people.figures.hear(said(f"t{task}", "ann", "cat"), "dog")
    path = f"{processes[0].at}/people/ann:resume"
    assert await asyncio.gather(*(mia.post(path, "monday") for mia in processes)) == [(204, None)] * 4
    assert [r.target for r in await site.on_record(Action.ANNOTATOR_RESUMED)] == ["ann"]

"""Somebody else's Kafka transactions on our topics: nobody waits for their marks, and one that is left open is named.

A mark takes an offset and is no record. While a transaction is open, nothing that came after its beginning is given to readers.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from structlog.testing import capture_logs

from tests.contracts.conftest import OPTIONS
from tests.support import labels
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.log_clients import Collector, publish
from tests.support.models import project_of
from tests.support.training import PassAll, Running, publish_labels
from tiebreak.apps.scanning import scan
from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import encode
from tiebreak.contracts.errors import Unreachable
from tiebreak.contracts.log import Message, Outputs, Partition
from tiebreak.contracts.messages import ModelEvent, ModelRecord
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.events.kafka import KafkaLog
from tiebreak.events.kafka_reader import KafkaReader
from tiebreak.events.stage import ConsumeLoop, LoopSettings
from tiebreak.events.stage_history import History
from tiebreak.labeling.stage_reading import records_of
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import ManualClock, SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.scoring.stage import Scorer
from tiebreak.scoring.stage_follower import ModelFollower

pytestmark = pytest.mark.kafka


@dataclass(frozen=True)
class World:
    """A project's topics on a broker, one partition each, and somebody who writes to them in transactions."""

    log: KafkaLog
    address: str
    name: str

    def topic(self, topic: Topic) -> str:
        return topic.of(self.name)

    @asynccontextmanager
    async def transaction(self, *topics: Topic, value: bytes = b"garbage") -> AsyncIterator[AIOKafkaProducer]:
        """One record of it on each of ``topics``; still open at the end, unless the test ended it."""
        producer = AIOKafkaProducer(bootstrap_servers=self.address, transactional_id=uuid.uuid4().hex)
        await producer.start()
        await producer.begin_transaction()
        for topic in topics:
            await producer.send_and_wait(self.topic(topic), value, key=b"k", partition=0)
        try:
            yield producer
        finally:
            await producer.stop()

    async def ended(self, *topics: Topic, aborted: bool = False, value: bytes = b"garbage") -> None:
        """A whole transaction, its marks included: the broker writes those after it has answered."""
        places = [Partition(self.topic(topic), 0) for topic in topics]
        before = await self.log.end_positions(places)
        async with self.transaction(*topics, value=value) as producer:
            await (producer.abort_transaction() if aborted else producer.commit_transaction())

        async def marked() -> bool:
            return dict(await self.log.end_positions(places)) == {place: end + 2 for place, end in before.items()}

        await eventually(marked)

    async def decide(self, *versions: str) -> None:
        records = [ModelRecord(self.name, v, ModelEvent.PROMOTED, "", "", 1, (), "", "gate", 1) for v in versions]
        topic = self.topic(Topic.MODELS)
        await publish(self.log, Outputs([Message(topic, b"k", encode(record), (), 0) for record in records]))

    def follower(self, clock: ManualClock) -> ModelFollower:
        scorer = Scorer(project_of([2]), Metrics(self.name))
        reader = self.log.reader([self.topic(Topic.MODELS)], None)
        return ModelFollower(self.name, reader, MemoryModelStore(), scorer, Metrics(self.name), clock)

    async def read_all(self, topic: Topic) -> list[bytes | None]:
        return [record.value async for record in records_of(self.log, self.topic(topic))]

    async def scanned(self, *topics: Topic) -> int:
        return len([record async for record in scan(self.log, self.name, topics)])


@pytest.fixture
async def world(kafka_address: str) -> AsyncIterator[World]:
    log, name = KafkaLog(kafka_address, options=OPTIONS), f"p-{uuid.uuid4().hex[:12]}"
    await log.ensure_topics(specs_for(name, 1))
    yield World(log, kafka_address, name)
    await log.close()


@pytest.fixture
async def deployer(world: World) -> AsyncIterator[Deployer]:
    project = project_of([2]).model_copy(update={"project": world.name})
    deployer = Deployer(project, Tools(MemoryModelStore(), world.log, PassAll(), Metrics(world.name), SystemClock()))
    await deployer.start()
    yield deployer
    await deployer.close(1.0)


@asynccontextmanager
async def following(follower: ModelFollower) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(follower.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)


@pytest.mark.parametrize("aborted", [False, True])
async def test_a_mark_at_the_end_keeps_nobody_waiting(world: World, deployer: Deployer, aborted: bool) -> None:
    """Who reads to the end finds it: the audit trail, the deployer, a rebuild, an export, the scorer's memory of the past."""
    trail, there = AuditTrail(world.log, world.name, SystemClock()), int(not aborted)
    await trail.append("ann", Action.TOKEN_CREATED, "bob")
    await world.ended(Topic.AUDIT, Topic.MODELS, Topic.EVENTS, aborted=aborted)
    links, chain = await trail.read()
    assert (len(links), [fault.offset for fault in chain.faults]) == (1, [] if aborted else [1])
    assert (await trail.append("ann", Action.TOKEN_REVOKED, "bob")).sequence == 2
    assert [len(await world.read_all(topic)) for topic in (Topic.AUDIT, Topic.MODELS)] == [2 + there, there]
    assert await world.scanned(Topic.AUDIT, Topic.MODELS) == 2 + 2 * there
    assert (await deployer.registry()).champion == ""
    events = world.topic(Topic.EVENTS)
    past = [batch async for batch in History(world.log, events).before({Partition(events, 0): (0, 2)})]
    assert sum(len(records) for batch in past for records in batch.values()) == there


async def test_the_trainer_fits_though_a_mark_ends_the_labels(world: World, tmp_path: Path) -> None:
    """It waits for the end of what is there before it fits, and by a clock that stands still it would wait for ever."""
    project = labels.project_of([2], ["a", "b", "c"]).model_copy(update={"project": world.name})
    blobs = [labels.make_label(x.event_id, x.value, x.features, project=world.name) for x in labels.blob_labels(20)]
    await publish_labels(world.log, project, blobs)
    await world.ended(Topic.LABELS, aborted=True)
    async with Running(project, world.log, tmp_path / "l", clock=ManualClock()) as run:
        await run.trains(20)


async def test_the_scorer_knows_what_serves_though_a_mark_ends_the_decisions(world: World) -> None:
    """By a clock that stands still: not because it lost its patience."""
    await world.decide("v1")
    await world.ended(Topic.MODELS)
    follower = world.follower(ManualClock())
    with capture_logs() as logs:
        async with following(follower):
            await asyncio.wait_for(follower.caught_up.wait(), PATIENCE_S)
    assert "models_held_back" not in {line["event"] for line in logs}
    assert {line["version"] for line in logs if line["event"] == "model_missing"} == {"v1"}


async def test_marks_are_no_lag(world: World) -> None:
    """A producer of events that writes in transactions leaves one in every partition: nothing is left to do, so the lag is 0."""
    metrics, handler, stop = Metrics(world.name), Collector(world.topic(Topic.PREDICTIONS)), asyncio.Event()
    reader = world.log.reader([world.topic(Topic.EVENTS)], "g")
    settings = LoopSettings("scoring", world.name, poll_s=0.1, lag_every_s=0.05)
    loop = ConsumeLoop(reader, world.log.writer(), handler, settings, metrics, SystemClock())
    await world.ended(Topic.EVENTS, value=b"a")
    running = asyncio.create_task(loop.run(stop))

    def lag() -> float | None:
        told = {"project": world.name, "stage": "scoring"}
        return metrics.registry.get_sample_value("tiebreak_events_lag_records", told)

    await eventually(lambda: handler.kept == ["a"] and lag() == 0)
    async with world.transaction(Topic.EVENTS):  # what it holds back is to be done, though nobody can read it yet
        await eventually(lambda: lag() == 1)
    stop.set()
    await asyncio.wait_for(running, PATIENCE_S)


async def test_an_open_transaction_is_named_and_nothing_is_written_over_and_over(
    world: World, deployer: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who must know all that is there says what holds it back, and takes no half for the whole; once it has ended all goes on.

    A deed would else be put on the trail fifty times, since its own record cannot be read back.
    """
    monkeypatch.setattr("tiebreak.runtime.reading._PATIENCE_S", 2.0)
    trail, topics = AuditTrail(world.log, world.name, SystemClock()), (Topic.AUDIT, Topic.MODELS)
    await trail.append("ann", Action.TOKEN_CREATED, "bob")
    await world.decide("v1")
    assert (await deployer.registry()).champion == "v1"
    places = [Partition(world.topic(topic), 0) for topic in topics]
    async with world.transaction(*topics) as producer:
        before = await world.log.end_positions(places)
        tries = [
            trail.append("ann", Action.TOKEN_REVOKED, "bob"),
            trail.read(),
            deployer.registry(),
            world.read_all(Topic.MODELS),
            world.scanned(Topic.AUDIT),
        ]
        told = await asyncio.gather(*tries, return_exceptions=True)
        assert [type(error) for error in told] == [Unreachable] * len(tries)
        held = [world.topic(t) for t in (Topic.AUDIT, Topic.AUDIT, Topic.MODELS, Topic.MODELS, Topic.AUDIT)]
        for topic, error in zip(held, told, strict=True):
            assert f"{topic}/0 ends at 2 and can be read to 1 only. Somebody's open transaction" in str(error)
        assert await world.log.end_positions(places) == before
        await producer.abort_transaction()

    async def goes_on() -> bool:
        return (await trail.append("ann", Action.TOKEN_REVOKED, "bob")).sequence == 2

    await eventually(goes_on, retry_on=(Unreachable,))
    assert ((await trail.read())[1].faults, (await deployer.registry()).champion) == ([], "v1")


async def test_the_scorer_serves_what_can_be_read_while_a_transaction_holds_decisions_back(world: World) -> None:
    """It waits a while, says so, and follows the newest decision that it can read: no event waits for what may never come."""
    clock = ManualClock()
    follower = world.follower(clock)

    def gave_up_waiting() -> bool:
        clock.advance(1.0)
        return follower.caught_up.is_set()

    await world.decide("v1")
    async with world.transaction(Topic.MODELS):
        with capture_logs() as logs:
            async with following(follower):
                await eventually(gave_up_waiting)
    assert next(line["error"] for line in logs if line["event"] == "models_held_back").startswith(
        f"{world.topic(Topic.MODELS)}/0 ends at 2 and can be read to 1 only."
    )
    assert {line["version"] for line in logs if line["event"] == "model_missing"} == {"v1"}


async def test_a_client_that_was_lost_is_no_end(world: World, deployer: Deployer) -> None:
    """It connects anew and reads on: a deployer that took its silence for the end would judge by an old champion for ever."""
    await world.decide("v1", "v2")
    assert (await deployer.registry()).line == ("v1", "v2")
    assert isinstance(deployer._reader, KafkaReader)
    await deployer._reader._drop(1.0)
    await world.decide("v3")
    assert (await deployer.registry()).line == ("v1", "v2", "v3")
    assert len((await deployer.registry()).history) == 3

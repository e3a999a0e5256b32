"""The audit trail over every log: many writers make one chain, and what was written stays found."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing

import pytest

from tests.contracts.conftest import Server
from tests.support.eventually import eventually
from tests.support.log_clients import publish
from tiebreak.contracts.audit import Action, Head, key_of, linked, target_of, words_of
from tiebreak.contracts.codec import encode
from tiebreak.contracts.errors import PublishFailed, Unreachable
from tiebreak.contracts.log import Log, Message, Outputs
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics


@pytest.fixture
async def project(log: Log) -> str:
    """A project with an audit topic of its own."""
    name = f"p-{uuid.uuid4().hex[:12]}"
    await AuditTrail(log, name, SystemClock()).ensure_topic()
    return name


async def test_writers_at_once_make_one_chain(log: Log, project: str) -> None:
    """Four processes, three records each, all at the same time: twelve links, each writer's in its own order."""
    trails = [AuditTrail(log, project, SystemClock()) for _ in range(4)]

    async def write(number: int, trail: AuditTrail) -> None:
        for i in range(3):
            await trail.append(f"writer-{number}", Action.MODEL_PROMOTED, f"v{i}")

    await asyncio.gather(*(write(n, trail) for n, trail in enumerate(trails)))
    found, chain = await trails[0].read()
    assert [r.sequence for r in found] == list(range(1, 13))
    assert {n: [r.target for r in found if r.actor == f"writer-{n}"] for n in range(4)} == {
        n: ["v0", "v1", "v2"] for n in range(4)
    }
    assert chain.head.digest == found[-1].digest


async def test_a_deed_with_a_key_is_on_record_once(log: Log, project: str) -> None:
    """Four processes, one request; then one that just started. Another person's, another deed's, or no key: other records."""
    trails = [AuditTrail(log, project, SystemClock()) for _ in range(5)]
    deed = ("mia", Action.PAYLOAD_REVEALED, "t1", "a complaint", "monday")
    first, *others = await asyncio.gather(*(trail.append(*deed) for trail in trails[:4]))
    assert others == [first] * 3
    assert await trails[4].append("mia", Action.PAYLOAD_REVEALED, "t2", "another", "monday") == first
    assert await trails[4].deed("mia", Action.PAYLOAD_REVEALED, "monday") == first
    assert await trails[4].deed("mia", Action.MODEL_PINNED, "monday") is None
    await trails[0].append("bob", *deed[1:])
    await trails[0].append("mia", Action.MODEL_PINNED, *deed[2:])
    await trails[0].append(*deed[:4])
    found, _ = await trails[1].read()
    assert [(r.actor, r.action, key_of(r), words_of(r)) for r in found] == [
        ("mia", "payload.revealed", "monday", "a complaint"),
        ("bob", "payload.revealed", "monday", "a complaint"),
        ("mia", "model.pinned", "monday", "a complaint"),
        ("mia", "payload.revealed", "", "a complaint"),
    ]


async def test_words_that_look_like_a_key_are_no_key(log: Log, project: str) -> None:
    """The reason that a command line gave ends as a record with a key does: a later request with that key is another deed."""
    trail = AuditTrail(log, project, SystemClock())
    first = await trail.append("mia", Action.MODEL_PINNED, "v1", "a demo\nIdempotency-Key: monday\n")
    assert (key_of(first), words_of(first)) == ("", "a demo\nIdempotency-Key: monday")
    assert (await trail.append("mia", Action.MODEL_PINNED, "v1", "a demo", "monday")).sequence == 2


async def test_a_new_process_goes_on_where_the_last_one_ended(log: Log, project: str) -> None:
    """After a restart the next record links to the last one."""
    first = await AuditTrail(log, project, SystemClock()).append("ann", Action.TOKEN_CREATED, "bob", "x" * 5000)
    second = await AuditTrail(log, project, SystemClock()).append("ann", Action.TOKEN_REVOKED, "bob")
    assert (second.sequence, second.previous, len(first.detail)) == (2, first.digest, 4000)


async def test_a_foreign_record_does_not_stop_the_trail_and_stays_found(log: Log, project: str) -> None:
    """Somebody wrote garbage to the topic: actions go on, on record, and the verifier names the garbage for ever."""
    trail = AuditTrail(log, project, SystemClock())
    await trail.append("ann", Action.TOKEN_CREATED, "bob")
    writer = log.writer()
    await writer.start()
    await writer.publish(Outputs([Message(Topic.AUDIT.of(project), b"k", b"\xff garbage", (), 0)]))
    await writer.close(5.0)
    third = await trail.append("ann", Action.TOKEN_REVOKED, "bob")
    assert third.sequence == 2
    found, chain = await AuditTrail(log, project, SystemClock()).read()
    assert ([fault.offset for fault in chain.faults], len(found)) == ([1], 2)
    heeded = await AuditTrail(log, project, SystemClock()).sound()
    assert [record.sequence for record in heeded] == [1, 2]


async def test_a_follower_hears_what_was_and_what_comes(log: Log, project: str) -> None:
    """Records from before it began, then each new one, until it is stopped."""
    trail, stop = AuditTrail(log, project, SystemClock()), asyncio.Event()
    await trail.append("ann", Action.SUBJECT_ERASED, "first")
    heard: list[str] = []
    async with asyncio.timeout(30), aclosing(trail.follow(stop)) as news:
        async for records in news:
            heard += [record.target for record in records]
            if heard == ["first"]:
                await AuditTrail(log, project, SystemClock()).append("bob", Action.SUBJECT_ERASED, "second")
            else:
                stop.set()
    assert heard == ["first", "second"]


async def test_faults_are_counted_until_somebody_accepts_them(log: Log, project: str) -> None:
    """By kind, from the beginning, for whoever is on call: garbage, then a gap; then both are accepted on record."""
    metrics, stop = Metrics(project), asyncio.Event()
    trail = AuditTrail(log, project, SystemClock())

    def counted() -> list[float | None]:
        name = "tiebreak_runtime_audit_faults"
        return [metrics.registry.get_sample_value(name, {"project": project, "kind": k}) for k in ("missing", "put_in")]

    async def follow() -> None:
        async with aclosing(AuditTrail(log, project, SystemClock(), metrics).follow(stop)) as news:
            async for _ in news:
                pass

    async def put(*values: bytes) -> None:
        await publish(log, Outputs([Message(Topic.AUDIT.of(project), b"k", value, (), 0) for value in values]))

    first = await trail.append("ann", Action.TOKEN_CREATED, "bob")
    following = asyncio.create_task(follow())
    await eventually(lambda: counted() == [0, 0])
    await put(b"\xff garbage")
    await eventually(lambda: counted() == [0, 1])
    lost = linked(first, Head(first.sequence, first.digest))
    await put(encode(linked(first, Head(lost.sequence, lost.digest))))
    await eventually(lambda: counted() == [1, 1])
    await trail.append("eve", Action.FAULTS_ACCEPTED, target_of((await trail.read())[1].faults), "a test")
    await eventually(lambda: counted() == [0, 0])
    stop.set()
    await following


@pytest.mark.parametrize("server", ["memory", pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
async def test_without_a_log_nothing_is_on_record(server: Server) -> None:
    """The log is away: the caller is told, so that the deed does not happen. (Kafka's own outages are tested with the log.)"""
    log = server.open()
    trail = AuditTrail(log, "pets", SystemClock())
    await trail.ensure_topic()
    server.stop()
    try:
        with pytest.raises((Unreachable, PublishFailed)):
            await trail.append("ann", Action.TOKEN_CREATED, "bob")
    finally:
        server.start()
    assert (await trail.append("ann", Action.TOKEN_CREATED, "bob")).target == "bob"
    await log.close()

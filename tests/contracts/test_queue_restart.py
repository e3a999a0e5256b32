"""Redis was started again: an index that may lack its newest changes is built again, one that cannot lack any goes on."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.labeling import CALM, a_project, a_task, annotation, request
from tiebreak.contracts.audit import Action
from tiebreak.contracts.errors import SlowDown
from tiebreak.events.memory import MemoryLog
from tiebreak.labeling.access import Role
from tiebreak.labeling.port import Empty, Stats
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.redis_tokens import RedisTokens
from tiebreak.labeling.redis_wire import prefix_of
from tiebreak.labeling.stage_tokens import TokenRebuilder
from tiebreak.labeling.tokens import RANDOM_BYTES, detail_of, mint
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.redis_server import Persistence, RedisServer

pytestmark = pytest.mark.redis

PROJECT = a_project("restarted")
P = prefix_of(PROJECT.project)


@asynccontextmanager
async def life(folder: Path, persistence: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A server over ``folder``, from its start to its end, and a client."""
    server = RedisServer(folder, persistence=Persistence(persistence))
    server.start()
    client = redis.asyncio.Redis.from_url(server.url)
    try:
        yield client
    finally:
        await client.aclose()
        server.stop()


async def begun(queue: RedisQueue) -> None:
    """An empty index."""
    builder = await queue.begin_build()
    assert builder is not None
    await builder.end_build([])


@pytest.mark.parametrize("persistence", ["everysec", "snapshots"])
async def test_an_index_that_may_lack_its_newest_changes_is_closed_and_built_from_nothing(
    tmp_path: Path, persistence: str
) -> None:
    """Or whose snapshot is a minute old: nobody is given or promised anything of the former life, and nothing of it is built upon."""
    async with life(tmp_path, persistence) as client:
        queue = RedisQueue(client, PROJECT, CALM)
        await begun(queue)
        await queue.add([a_task(number, PROJECT.project) for number in range(3)])
        (lease, _) = (await queue.claim("ann", 2)).leases
        made = annotation(lease.task, "ann", await queue.prepare(request(lease, "ann")))
        await queue.confirm(made, counted=True)
        await queue.forgive("bob", 3)
        await client.set(f"{P}log:annotations:0", "what is no part of the index")
    async with life(tmp_path, persistence) as client:
        queue = RedisQueue(client, PROJECT, CALM)
        assert not await queue.is_built()
        for refused in (
            queue.claim("ann", 1),
            queue.add([a_task(9, PROJECT.project)]),
            queue.stats(),
            queue.apply([made]),
        ):
            with pytest.raises(SlowDown):
                await refused
        builder = await queue.begin_build()
        assert builder is not None
        assert await queue.begin_build() is None
        assert await builder.stats() == Stats(0, 0, 0, 0)
        left = {key.decode().removeprefix(P) async for key in client.scan_iter(match=f"{P}*")}
        assert left == {"builder", "fence", "forgiven", "log:annotations:0"}
        await builder.add([a_task(number, PROJECT.project) for number in range(3)])
        await builder.end_build([])
        assert await queue.is_built()
        again = (await queue.claim("ann", 3)).leases
        assert len(again) == 3
        assert min(held.token for held in again) > lease.token


async def test_an_index_whose_every_change_was_on_disk_goes_on_where_it_was(tmp_path: Path) -> None:
    """With an fsync before every answer: after the first look of a rebuilder people hold what they held, and nothing is built."""
    async with life(tmp_path, "always") as client:
        queue = RedisQueue(client, PROJECT, CALM)
        await begun(queue)
        await queue.add([a_task(1, PROJECT.project)])
        (lease,) = (await queue.claim("ann", 1)).leases
    for _ in range(2):
        async with life(tmp_path, "always") as client:
            queue = RedisQueue(client, PROJECT, CALM)
            with pytest.raises(SlowDown):
                await queue.claim("ann", 1)
            assert await queue.begin_build() is None
            assert [held.token for held in (await queue.claim("ann", 1)).leases] == [lease.token]
            assert not await client.exists(f"{P}builder")


@pytest.mark.parametrize(("before", "after"), [("everysec", "always"), ("always", "everysec")])
async def test_both_lives_must_have_kept_everything_for_an_index_to_go_on(
    tmp_path: Path, before: str, after: str
) -> None:
    """What the first one lost the second cannot bring back; and what the second loses would be taken for whole by a third."""
    async with life(tmp_path, before) as client:
        await begun(RedisQueue(client, PROJECT, CALM))
    async with life(tmp_path, after) as client:
        assert await RedisQueue(client, PROJECT, CALM).begin_build() is not None


async def test_clearing_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    """The builder died among the old keys: the next one does not take the rest of them for its own."""
    async with life(tmp_path, "everysec") as client:
        queue = RedisQueue(client, PROJECT, CALM)
        await begun(queue)
        await queue.add([a_task(1, PROJECT.project)])
    async with life(tmp_path, "everysec") as client:
        queue = RedisQueue(client, PROJECT, CALM)
        await client.delete(f"{P}open:normal")  # so far it came
        builder = await queue.begin_build()
        assert builder is not None
        assert await builder.add([a_task(1, PROJECT.project)]) == 1
        await builder.end_build([])
        claimed = await queue.claim("ann", 1)
        assert (len(claimed.leases), (await queue.claim("bob", 1)).reason) == (1, Empty.ALL_LEASED)


async def test_a_token_that_was_ended_in_the_moment_that_was_lost_does_not_come_back(tmp_path: Path) -> None:
    """The server has it again after its start: it is good for nothing until the trail was read, and gone then."""
    tokens_of = [mint(secrets.token_bytes(RANDOM_BYTES), name, Role.ANNOTATOR, 1, 0)[1] for name in ("ann", "eve")]
    log, clock = MemoryLog(), SystemClock()
    trail = AuditTrail(log, PROJECT.project, clock)
    await trail.ensure_topic()
    async with life(tmp_path, "everysec") as client:
        tokens = RedisTokens(client, PROJECT.project)
        for record in tokens_of:
            await trail.append("root", Action.TOKEN_CREATED, record.name, detail_of(record))
            await tokens.put(record)
            with pytest.raises(SlowDown):  # an old snapshot can lack every sign that a trail was read
                await tokens.get(record.digest)
        await TokenRebuilder(tokens, trail, clock).ensure()
        assert await tokens.get(tokens_of[1].digest) == tokens_of[1]
    await trail.append("root", Action.TOKEN_REVOKED, "eve")
    async with life(tmp_path, "everysec") as client:
        tokens = RedisTokens(client, PROJECT.project)
        for record in tokens_of:
            with pytest.raises(SlowDown):
                await tokens.get(record.digest)
        await TokenRebuilder(tokens, trail, clock).ensure()
        assert [await tokens.get(record.digest) for record in tokens_of] == [tokens_of[0], None]
        assert await TokenRebuilder(tokens, trail, clock).ensure() == 0


async def test_a_builder_that_was_overtaken_clears_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood still for longer than it may: another one has built and opened the index, which is not a former life's any more."""
    async with life(tmp_path, "everysec") as client:
        queue = RedisQueue(client, PROJECT, CALM)
        await begun(queue)
    async with life(tmp_path, "everysec") as client:
        slow = RedisQueue(client, PROJECT, CALM)
        scan = client.scan

        async def overtaken(cursor: int, match: str, count: int) -> object:
            monkeypatch.setattr(client, "scan", scan)
            await client.delete(f"{P}builder")
            other = RedisQueue(client, PROJECT, CALM)
            builder = await other.begin_build()
            assert builder is not None
            await builder.add([a_task(1, PROJECT.project)])
            await builder.end_build([])
            return await scan(cursor, match=match, count=count)

        monkeypatch.setattr(client, "scan", overtaken)
        with pytest.raises(SlowDown):
            await slow.begin_build()
        queue = RedisQueue(client, PROJECT, CALM)
        assert await queue.is_built()
        assert len((await queue.claim("ann", 1)).leases) == 1

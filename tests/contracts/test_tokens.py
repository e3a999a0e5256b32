"""Tokens over both stores and the audit trail: what was given comes back after a loss, what was ended does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import redis.asyncio

from tiebreak.contracts.audit import Action, Broken, Chain, Head, linked, target_of
from tiebreak.contracts.codec import encode
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import AuditRecord
from tiebreak.contracts.topics import Topic
from tiebreak.events.memory import MemoryLog
from tiebreak.labeling.access import Role
from tiebreak.labeling.memory_tokens import MemoryTokens
from tiebreak.labeling.redis_tokens import RedisTokens
from tiebreak.labeling.stage_tokens import Doorkeeper, TokenRebuilder
from tiebreak.labeling.tokens import TokenRecord, digest_of
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import ManualClock

NOW_S = 4_000_000_000.0  # the store's own clock drops what has expired by today's


class Gate:
    """One project's tokens, their trail, and a way to lose the store."""

    def __init__(self, client: redis.asyncio.Redis | None) -> None:
        self.client = client
        self.clock = ManualClock(wall=NOW_S)
        self.tokens = RedisTokens(client, "pets") if client else MemoryTokens()
        self.log = MemoryLog()
        self.trail = AuditTrail(self.log, "pets", self.clock)
        self.door = Doorkeeper(self.tokens, self.trail)
        self.rebuilder = TokenRebuilder(self.tokens, self.trail, self.clock)

    async def lose(self) -> None:
        if self.client is not None:
            await self.client.flushall()
        else:
            assert isinstance(self.tokens, MemoryTokens)
            self.tokens.lose()

    async def admit(self, name: str, role: Role = Role.ANNOTATOR, ttl_s: float = 3600.0) -> TokenRecord:
        now_ms = round(NOW_S * 1000)
        record = TokenRecord(digest_of(f"token of {name}"), name, role, now_ms, now_ms + round(ttl_s * 1000))
        await self.door.admit(record, "root")
        return record


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def gate(request: pytest.FixtureRequest) -> AsyncIterator[Gate]:
    client = None if request.param == "memory" else redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url"))
    gate = Gate(client)
    await gate.trail.ensure_topic()
    assert await gate.rebuilder.ensure() == 0
    yield gate
    if client is not None:
        await client.aclose()


async def test_after_a_total_loss_the_same_tokens_are_good(gate: Gate) -> None:
    """FLUSHALL: the next look puts back those that stand, and neither the expired nor the ended ones."""
    ann, bob = await gate.admit("ann"), await gate.admit("bob", Role.REVIEWER)
    await gate.admit("short", ttl_s=10.0)
    await gate.admit("eve")
    assert await gate.door.revoke("eve", "root") == 1
    gate.clock.advance(11.0)
    await gate.lose()
    assert await gate.rebuilder.ensure() == 2
    assert sorted(await gate.tokens.records(), key=lambda r: r.name) == [ann, bob]
    assert await gate.rebuilder.ensure() == 0


async def test_a_token_that_is_made_while_the_store_is_empty_is_kept(gate: Gate) -> None:
    """The command came before the rebuild: both the old and the new token are good afterwards."""
    await gate.admit("ann")
    await gate.lose()
    await gate.admit("bob")
    assert await gate.rebuilder.ensure() == 2
    assert {r.name for r in await gate.tokens.records()} == {"ann", "bob"}


async def test_a_revocation_during_a_rebuild_wins(gate: Gate) -> None:
    """Somebody ends a token between the reading of the trail and the putting back: it does not stay."""
    await gate.admit("ann")
    await gate.lose()
    rebuilder = TokenRebuilder(gate.tokens, _RevokesBetween(gate), gate.clock)
    await rebuilder.ensure()
    assert await gate.tokens.records() == ()


class _RevokesBetween(AuditTrail):
    """A trail that is read, and then added to by somebody who deletes before our `put`."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate.log, "pets", gate.clock)
        self._gate: Gate | None = gate

    async def read(self) -> tuple[Sequence[AuditRecord], Chain]:
        found = await super().read()
        if self._gate is not None:
            gate, self._gate = self._gate, None
            await gate.door.revoke("ann", "root")
        return found


async def test_what_was_put_in_a_life_of_the_store_is_not_taken_for_whole_in_the_next(gate: Gate) -> None:
    """It was lost while the trail was read: whatever the rebuilder looked at meanwhile, it builds again."""
    await gate.admit("ann")
    await gate.lose()
    rebuilder = TokenRebuilder(gate.tokens, _LosesBetween(gate), gate.clock)
    if gate.client is None:
        await rebuilder.ensure()
        assert await gate.tokens.unbuilt() is not None
    else:
        before = await gate.tokens.unbuilt()
        assert before is not None
        await gate.tokens.built("another life of the server")
        assert await gate.tokens.unbuilt() == before


class _LosesBetween(AuditTrail):
    """A trail that is read while the store loses everything."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate.log, "pets", gate.clock)
        self._gate = gate

    async def read(self) -> tuple[Sequence[AuditRecord], Chain]:
        found = await super().read()
        await self._gate.lose()
        return found


async def put_in(gate: Gate, value: bytes) -> None:
    await gate.log.writer().publish(Outputs([Message(Topic.AUDIT.of("pets"), b"k", value, (), 0)]))


async def test_a_trail_with_records_missing_lets_nobody_in_until_somebody_accepts_that(gate: Gate) -> None:
    """It may have lost the record that ended a token, so none is put back; the marker stays away and it is tried again."""
    record = await gate.admit("ann")
    head = (await gate.trail.read())[1].head
    said = AuditRecord("pets", 0, "eve", Action.TOKEN_REVOKED, "nobody", "", 1, "", "")
    await put_in(gate, encode(linked(said, Head(head.sequence + 3, "0" * 64))))
    await gate.lose()
    with pytest.raises(Broken, match=r"offset 1 has sequence 5 where 2 was due.*tiebreak audit accept"):
        await gate.rebuilder.ensure()
    assert (await gate.tokens.records(), await gate.tokens.unbuilt() is None) == ((), False)
    _, chain = await gate.trail.read()
    await gate.trail.append("boss", Action.FAULTS_ACCEPTED, target_of(chain.faults), "looked at")
    assert await gate.rebuilder.ensure() == 1
    assert [token.digest for token in await gate.tokens.records()] == [record.digest]


async def test_whoever_writes_garbage_on_the_trail_locks_nobody_out(gate: Gate) -> None:
    """Bytes, another project's record, and a link of the chain that says it made a token and describes none."""
    await gate.admit("ann")
    await put_in(gate, b"\xff")
    await put_in(gate, encode(linked(AuditRecord("cars", 0, "eve", "x", "y", "", 1, "", ""), Head())))
    for detail in (
        "",
        "[]",
        '{"digest": "x"}',
        '{"digest": "%s", "role": "admin", "created_ms": 1e300, "expires_ms": 0}',
    ):
        await gate.trail.append("eve", Action.TOKEN_CREATED, "eve", detail)
    await gate.admit("bob")
    await gate.lose()
    assert await gate.rebuilder.ensure() == 2
    assert sorted(token.name for token in await gate.tokens.records()) == ["ann", "bob"]


async def test_who_let_whom_in_is_on_record_without_the_token(gate: Gate) -> None:
    """Actor, action and name; the hash, never the token."""
    record = await gate.admit("ann")
    await gate.door.revoke("ann", "boss")
    (made, ended), _ = await gate.trail.read()
    assert (made.actor, made.action, made.target) == ("root", Action.TOKEN_CREATED, "ann")
    assert (ended.actor, ended.action, ended.target) == ("boss", Action.TOKEN_REVOKED, "ann")
    assert record.digest in made.detail
    assert "token of" not in made.detail

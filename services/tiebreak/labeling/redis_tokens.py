"""Token records in Redis: ``tb:{<project>}:token:<digest>``, one hash each, gone by itself when it expires."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import redis.asyncio

from tiebreak.labeling.access import Role
from tiebreak.labeling.redis_errors import reachable
from tiebreak.labeling.redis_life import life_of
from tiebreak.labeling.redis_scripts import Scripts
from tiebreak.labeling.redis_wire import prefix_of, token_epoch_key
from tiebreak.labeling.refusals import building
from tiebreak.labeling.tokens import TokenRecord


class RedisTokens:
    """Implements ``stage_tokens.TokenIndex``."""

    def __init__(self, client: redis.asyncio.Redis, project: str) -> None:
        self._client = client
        self._prefix = f"{prefix_of(project)}token:"
        self._epoch = token_epoch_key(project)
        self._marker = f"{prefix_of(project)}tokens_built"
        self._scripts = Scripts(client, prefix_of(project), ("token",))

    async def put(self, record: TokenRecord) -> None:
        fields: dict[Any, Any] = {
            "name": record.name,
            "role": record.role.value,
            "created_ms": record.created_ms,
            "expires_ms": record.expires_ms,
        }
        key = self._prefix + record.digest
        async with reachable(), self._client.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping=fields)
            if record.expires_ms:
                pipe.pexpireat(key, record.expires_ms)
            pipe.set(self._epoch, _new_epoch())
            await pipe.execute()

    async def get(self, digest: str) -> TokenRecord | None:
        answer, *row = await self._scripts.run("token", (digest,))
        if answer != b"OK":
            raise building()
        return _record_of(digest, row)

    async def revoke(self, name: str) -> int:
        digests = [record.digest for record in await self.records() if record.name == name]
        return await self._end(digests) if digests else 0

    async def records(self) -> Sequence[TokenRecord]:
        async with reachable():
            # The prefix holds `{` and `}`, which mean nothing to Redis' patterns.
            keys: list[bytes] = [key async for key in self._client.scan_iter(match=f"{self._prefix}*", count=500)]
            rows = [await _fields_of(self._client, key) for key in keys]
        found = [_record_of(key.decode().rpartition(":")[2], row) for key, row in zip(keys, rows, strict=True)]
        return tuple(record for record in found if record is not None)

    async def unbuilt(self) -> str | None:
        async with reachable():
            built: Any = await self._client.get(self._marker)
        life = await life_of(self._client)
        return None if built == life.encode() else life

    async def built(self, life: str) -> None:
        async with reachable():
            await self._client.set(self._marker, life)

    async def drop(self, digest: str) -> None:
        await self._end([digest])

    async def _end(self, digests: Sequence[str]) -> int:
        async with reachable(), self._client.pipeline(transaction=True) as pipe:
            pipe.delete(*(self._prefix + digest for digest in digests))
            # With the tokens, in one step: whoever remembers one asks again from their next request on.
            pipe.set(self._epoch, _new_epoch())
            ended, _ = await pipe.execute()
        return int(ended)


async def _fields_of(client: redis.asyncio.Redis, key: bytes) -> Sequence[Any]:
    row: Sequence[Any] = await client.hmget(key.decode(), "name", "role", "created_ms", "expires_ms")
    return row


def _record_of(digest: str, row: Sequence[Any]) -> TokenRecord | None:
    name, role, created, expires = row
    if name is None:
        return None
    return TokenRecord(digest, name.decode(), Role(role.decode()), int(created), int(expires))


def _new_epoch() -> str:
    # Random, not a counter: one that was lost with everything else could come to an old value again.
    return secrets.token_hex(8)

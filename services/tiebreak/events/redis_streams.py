"""The log on Redis Streams (Redis 6.2 or newer): one box without Kafka.

Each partition is one stream whose entry ids are the offsets; groups are ours (``leases``), not Redis' consumer groups, since
those acknowledge entry by entry and fence nobody. The keys and scripts are in ``redis_store``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import redis.asyncio

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import PublishFailed, TiebreakError
from tiebreak.contracts.log import Outputs, RebalanceListener
from tiebreak.contracts.topics import TopicSpec
from tiebreak.events.leases import Lease
from tiebreak.events.redis_store import RedisStore
from tiebreak.events.runs import chunks, runs_of
from tiebreak.events.stage_reader import LeasedReader
from tiebreak.runtime.clock import SystemClock

# A script runs alone: it must not hold up every other client for long.
_MAX_CHUNK_RECORDS = 5000
_MAX_CHUNK_BYTES = 8 * 2**20


class RedisLog:
    """A :class:`tiebreak.contracts.log.Log` on ``client``, which stays the caller's to close. It must answer bytes."""

    def __init__(self, client: redis.asyncio.Redis, clock: Clock | None = None, lease: Lease | None = None) -> None:
        self._lease = lease or Lease()
        self._store = RedisStore(client, clock or SystemClock(), self._lease.session_s)

    def reader(
        self, topics: Sequence[str], group: str | None, listener: RebalanceListener | None = None
    ) -> LeasedReader:
        reader = LeasedReader(self._store, topics, group, self._lease)
        if listener is not None:
            reader.listen(listener)
        return reader

    def writer(self) -> RedisWriter:
        return RedisWriter(self._store)

    async def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        for spec in specs:
            await self._store.create(spec)

    async def retain(self, specs: Sequence[TopicSpec]) -> None:
        for spec in specs:
            await self._store.retain(spec)

    async def partitions(self, topic: str) -> int:
        return await self._store.partitions(topic)

    async def ping(self) -> None:
        await self._store.ping()

    async def close(self) -> None:
        """The client is the caller's."""


class RedisWriter:
    """A :class:`tiebreak.contracts.log.Writer`. With ``appendfsync always`` an acknowledged record is on disk."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        # Two calls at once must not interleave within a partition; the lock is fair, so the first call is first.
        self._turn = asyncio.Lock()
        self._counts: dict[str, int] = {}

    async def start(self) -> None:
        await self._store.ping()

    async def publish(self, outputs: Outputs) -> None:
        async with self._turn:
            try:
                for topic in {m.topic for m in outputs.messages if m.partition is None} - self._counts.keys():
                    self._counts[topic] = await self._store.count(topic)
                runs = runs_of(outputs, self._counts.__getitem__)
                await self._store.append([c for run in runs for c in chunks(run, _MAX_CHUNK_RECORDS, _MAX_CHUNK_BYTES)])
            except TiebreakError as error:
                raise PublishFailed(f"Not every record was acknowledged: {error}") from error

    async def close(self, timeout_s: float) -> None:
        """The client is the caller's."""

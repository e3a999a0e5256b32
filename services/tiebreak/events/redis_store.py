"""Keys, scripts and calls of the log on Redis.

All keys of a project carry its hash tag, so a project lives in one slot of a cluster::

    tb:{tag}:topic:<topic>              hash    partitions, retention_ms
    tb:{tag}:log:<topic>:<partition>    stream  entry id (offset + 1)-0, fields t (Unix ms), h (headers), k, v
    tb:{tag}:group:<group>:members      zset    member -> end of its lease
    tb:{tag}:group:<group>:owners       hash    <topic>/<partition> -> member
    tb:{tag}:group:<group>:positions    hash    <topic>/<partition> -> next offset
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError, RedisError, ResponseError

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import ConfigError, NotAssigned, Unreachable
from tiebreak.contracts.log import Headers, Partition, Positions, StoredRecord
from tiebreak.contracts.topics import TopicSpec
from tiebreak.events.leases import Beat, missing_topic
from tiebreak.events.runs import Run

# A blocked read holds a connection and must end before any sensible socket timeout; the caller asks again.
_BLOCK_S = 1.0
_SCRIPTS = ("append", "beat", "commit", "release")


def hash_tag(name: str) -> str:
    """The part of a topic's or group's name that all keys of its project share.

    >>> hash_tag("tiebreak.digits.events"), hash_tag("tiebreak.digits.scoring"), hash_tag("other")
    ('digits', 'digits', 'other')
    """
    parts = name.split(".")
    return parts[1] if len(parts) == 3 and parts[0] == "tiebreak" else name


def pack_headers(headers: Headers) -> bytes:
    """Length-prefixed names and values; the empty string when there are none."""
    out = bytearray()
    for name, value in headers:
        raw = name.encode()
        out += struct.pack("<II", len(raw), len(value)) + raw + value
    return bytes(out)


def unpack_headers(packed: bytes) -> Headers:
    """The inverse of :func:`pack_headers`."""
    headers: list[tuple[str, bytes]] = []
    at = 0
    while at < len(packed):
        name_length, value_length = struct.unpack_from("<II", packed, at)
        name_end = at + 8 + name_length
        at = name_end + value_length
        headers.append((packed[name_end - name_length : name_end].decode(), packed[name_end:at]))
    return tuple(headers)


class RedisStore:
    """What the readers and writers of one Redis share. Raises Unreachable when it does not answer."""

    def __init__(self, client: redis.asyncio.Redis, clock: Clock, session_s: float) -> None:
        if client.connection_pool.connection_kwargs.get("decode_responses"):
            raise ConfigError("The Redis client decodes its answers.", fix="Make it without decode_responses.")
        self._client = client
        self._clock = clock
        self._session_ms = int(session_s * 1000)
        self._scripts = {name: _script(name) for name in _SCRIPTS}
        self._shas: dict[str, str] = {}
        self._address = _address(client)

    async def ping(self) -> None:
        with self._reached():
            await self._client.ping()

    async def create(self, spec: TopicSpec) -> None:
        """An existing topic is left as it is."""
        key = _topic_key(spec.name)
        with self._reached():
            # Retention first: a topic exists once it has partitions.
            await self._client.hsetnx(key, "retention_ms", _kept(spec))
            await self._client.hsetnx(key, "partitions", str(spec.partitions))

    async def retain(self, spec: TopicSpec) -> None:
        """From the next record on, what is older goes."""
        await self.count(spec.name)
        with self._reached():
            await self._client.hset(_topic_key(spec.name), "retention_ms", _kept(spec))

    async def partitions(self, topic: str) -> int:
        with self._reached():
            return int(await self._client.hget(_topic_key(topic), "partitions") or 0)

    async def count(self, topic: str) -> int:
        """How many partitions; raises ConfigError when there is no such topic."""
        count = await self.partitions(topic)
        if count == 0:
            raise missing_topic(topic)
        return count

    async def append(self, runs: Sequence[Run]) -> None:
        """Append each run atomically, in this order, in one round trip."""
        left = list(runs)
        with self._reached():
            sha = await self._sha("append")
            # Redis may forget a script at any time (failover, SCRIPT FLUSH): once per call that is no failure.
            for _ in range(2):
                answers = await self._append_once(sha, left)
                for answer in answers:
                    if isinstance(answer, Exception) and not isinstance(answer, NoScriptError):
                        raise _refused(answer)
                left = [run for run, answer in zip(left, answers, strict=True) if isinstance(answer, NoScriptError)]
                if not left:
                    return
                sha = await self._sha("append", fresh=True)
        raise Unreachable(f"Redis at {self._address} forgets its scripts.")

    async def _append_once(self, sha: str, runs: Sequence[Run]) -> list[Any]:
        now = str(int(self._clock.wall() * 1000))
        pipe = self._client.pipeline(transaction=False)
        for run in runs:
            keys = (_stream_key(run.partition), _topic_key(run.partition.topic))
            pipe.evalsha(sha, 2, *keys, run.partition.index, now, *_columns(run))
        return list(await pipe.execute(raise_on_error=False))

    async def bounds(self, partitions: Collection[Partition]) -> Mapping[Partition, tuple[int, int]]:
        with self._reached():
            pipe = self._client.pipeline(transaction=False)
            for partition in partitions:
                pipe.xinfo_stream(_stream_key(partition))
            answers = await pipe.execute(raise_on_error=False)
        return {p: _bounds(answer) for p, answer in zip(partitions, answers, strict=True)}

    async def read(
        self, positions: Positions, max_records: int, timeout_s: float
    ) -> Mapping[Partition, list[StoredRecord]]:
        some = dict(list(positions.items())[:max_records])
        by_key = {_stream_key(p).encode(): p for p in some}
        # An id is the offset plus one, and XREAD wants the last one seen: the position itself.
        streams: dict[Any, Any] = {key: f"{some[p]}-0" for key, p in by_key.items()}
        block = max(1, int(min(timeout_s, _BLOCK_S) * 1000))
        with self._reached():
            answer = await self._client.xread(streams, count=max_records // len(some), block=block)
        return {by_key[key]: _records(by_key[key], entries) for key, entries in _pairs(answer) if entries}

    async def beat(self, group: str, member: str, partitions: Sequence[Partition], joining: bool) -> Beat | None:
        keys = (_group_key(group, "members"), _group_key(group, "owners"))
        names = {_name(p).encode(): p for p in partitions}
        answer = await self._run("beat", keys, member, self._session_ms, "1" if joining else "0", *names)
        if answer[0] == 0:
            return None
        return Beat(frozenset(names[n] for n in answer[1]), frozenset(names[n] for n in answer[2]))

    async def release(self, group: str, member: str, partitions: Collection[Partition]) -> None:
        keys = (_group_key(group, "members"), _group_key(group, "owners"))
        await self._run("release", keys, member, "0", *map(_name, partitions))

    async def leave(self, group: str, member: str) -> None:
        await self._run("release", (_group_key(group, "members"), _group_key(group, "owners")), member, "1")

    async def changed(self, group: str, timeout_s: float) -> None:  # noqa: ARG002 (Redis has no signal for this)
        await asyncio.sleep(timeout_s)

    async def commit(self, group: str, member: str, positions: Positions) -> None:
        keys = (_group_key(group, "owners"), _group_key(group, "positions"))
        pairs = [part for p, position in positions.items() for part in (_name(p), position)]
        try:
            await self._run("commit", keys, member, *pairs)
        except ResponseError as error:
            if str(error).startswith("NOTOWNER"):
                raise NotAssigned(f"{str(error).partition(' ')[2]} belongs to another reader.") from error
            raise

    async def committed(self, group: str, partitions: Collection[Partition]) -> Positions:
        if not partitions:
            return {}
        with self._reached():
            stored = await self._client.hmget(_group_key(group, "positions"), [_name(p) for p in partitions])
        return {p: int(raw) for p, raw in zip(partitions, stored, strict=True) if raw is not None}

    async def _run(self, name: str, keys: tuple[str, ...], *args: bytes | str | int) -> Any:
        with self._reached():
            try:
                return await self._client.evalsha(await self._sha(name), len(keys), *keys, *args)
            except NoScriptError:
                return await self._client.evalsha(await self._sha(name, fresh=True), len(keys), *keys, *args)

    async def _sha(self, name: str, *, fresh: bool = False) -> str:
        if fresh or name not in self._shas:
            self._shas[name] = str(await self._client.script_load(self._scripts[name]))
        return self._shas[name]

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Redis' own errors as ours; what a script refuses passes through as ResponseError."""
        try:
            yield
        except ResponseError:
            raise
        except (RedisError, OSError, TimeoutError) as error:
            raise Unreachable(
                f"Redis at {self._address} does not answer ({type(error).__name__}: {error}).",
                fix="Start it, or name another with --redis.",
            ) from error


def _script(name: str) -> str:
    return (resources.files("tiebreak.events") / "lua" / f"{name}.lua").read_text()


def _address(client: redis.asyncio.Redis) -> str:
    kwargs = client.connection_pool.connection_kwargs
    return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")


def _kept(spec: TopicSpec) -> str:
    return "" if spec.retention_ms is None else str(spec.retention_ms)


def _topic_key(topic: str) -> str:
    return f"tb:{{{hash_tag(topic)}}}:topic:{topic}"


def _stream_key(partition: Partition) -> str:
    return f"tb:{{{hash_tag(partition.topic)}}}:log:{partition.topic}:{partition.index}"


def _group_key(group: str, part: str) -> str:
    return f"tb:{{{hash_tag(group)}}}:group:{group}:{part}"


def _name(partition: Partition) -> str:
    return f"{partition.topic}/{partition.index}"


def _columns(run: Run) -> Iterator[bytes]:
    for key, value, headers in zip(run.keys, run.values, run.headers, strict=True):
        yield key
        yield value
        yield pack_headers(headers) if headers else b""


def _refused(error: Exception) -> Exception:
    """A missing topic is the caller's mistake; anything else is Redis refusing (out of memory, read-only, no disk)."""
    if str(error).startswith("NOTOPIC"):
        return ConfigError("There is no such topic or partition.", fix="Create it with `tiebreak topics create`.")
    return Unreachable(f"Redis refused a write: {error}")


def _bounds(answer: Any) -> tuple[int, int]:
    if isinstance(answer, ResponseError) and "no such key" in str(answer):
        return 0, 0
    if isinstance(answer, Exception):
        raise answer
    end = _milliseconds(answer["last-generated-id"])
    first = answer["first-entry"]
    return (_milliseconds(first[0]) - 1 if first else end), end


def _milliseconds(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _pairs(answer: Any) -> Iterator[tuple[bytes, Any]]:
    """XREAD's answer, in either of the shapes that redis-py gives it (RESP2: list; RESP3: dict of lists of lists)."""
    if isinstance(answer, dict):
        for key, groups in answer.items():
            yield key, [entry for group in groups for entry in group]
    else:
        yield from answer or ()


def _records(partition: Partition, entries: Any) -> list[StoredRecord]:
    topic, index = partition.topic, partition.index
    return [
        StoredRecord(
            topic,
            index,
            int(entry_id[:-2]) - 1,
            int(fields[b"t"]),
            fields[b"k"],
            fields[b"v"],
            unpack_headers(fields[b"h"]) if fields[b"h"] else (),
        )
        for entry_id, fields in entries
    ]

"""The queue in Redis (6.2 and up). Each method is one Lua script: atomic, and safe to repeat after an unknown outcome.

What people wait for (claim, prepare, confirm, renew, release) at one moment shares one run of a script.

All keys of a project share the hash tag ``{<project>}``, so a cluster keeps them together. A cancelled command drops its
connection (redis-py >= 6 does so), or the next caller would read its answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar

import redis.asyncio

from tiebreak.contracts.erasure import subject_digest
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, Task
from tiebreak.contracts.project import Project
from tiebreak.labeling import redis_wire as wire
from tiebreak.labeling.grants import Grant, Grants
from tiebreak.labeling.lifecycle import BUILDER_MS
from tiebreak.labeling.port import (
    KEPT_FOR_ONE,
    Answer,
    Applied,
    Claimed,
    Done,
    Empty,
    Lease,
    Page,
    QueueSettings,
    Receipt,
    Refusal,
    Reopen,
    Settlement,
    Stats,
    Swept,
    settings_for,
)
from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.port_review import Dispute, Renewed
from tiebreak.labeling.redis_errors import reachable
from tiebreak.labeling.redis_forgetting import forget_before
from tiebreak.labeling.redis_life import is_of_this_life, keeps_all, of_index
from tiebreak.labeling.redis_regrant import put_back
from tiebreak.labeling.redis_scripts import QUEUE_SCRIPTS, Call, Scripts
from tiebreak.labeling.refusals import building, not_found, refused
from tiebreak.labeling.routing import Usher, everybody, expires_from, place_of, route_of
from tiebreak.labeling.settling import Remembered
from tiebreak.runtime.metrics import Metrics

_Item = TypeVar("_Item")
_SCAN_LIMIT = 256
# Tasks that expire within the same thousandth of their time to live share a list.
_EXPIRY_STEPS = 1000
# One script call blocks Redis for everybody, for some 2 ms with this many: a larger batch goes in several calls.
_CHUNK = 128


class RedisQueue:
    """Implements ``port.Queue`` and ``port.Rebuildable`` for one project. The client belongs to the caller."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        project: Project,
        settings: QueueSettings | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._settings = settings or settings_for(project)
        self._prefix = wire.prefix_of(project.project)
        self._grants = Grants()
        self._scripts = Scripts(client, self._prefix, QUEUE_SCRIPTS)
        self._scripts.rebuilt = self._put_back
        self._usher: Usher = everybody

    def serve(self, usher: Usher) -> None:
        """From now on ``usher`` says which lines a person is served from."""
        self._usher = usher

    async def add(self, tasks: Sequence[Task]) -> int:
        new = 0
        for chunk in _chunks(tasks):
            ttl_ms = self._settings.task_ttl_ms
            arguments: list[wire.Argument] = [ttl_ms, max(1, ttl_ms // _EXPIRY_STEPS)]
            for task in chunk:
                route, place = route_of(task), place_of(task, self._settings.head_start_ms)
                about = subject_digest(task.project, task.subject)
                arguments += (task.task_id, route, repr(place), expires_from(task), about, wire.encode(task))
            new += (await self._run("add", arguments))[0]
        return new

    async def claim(
        self,
        annotator: str,
        want: int,
        *,
        review: bool = False,
        skills: Sequence[str] = (),
        routes: Sequence[str] | None = None,
    ) -> Claimed:
        routes = self._usher(annotator, want, review, skills) if routes is None else routes
        return self._claimed(annotator, await self._ask(self._claim_call(annotator, want, routes)))

    def _claim_call(self, annotator: str, want: int, routes: Sequence[str]) -> Call:
        s = self._settings
        return "claim", (annotator, want, s.lease_ms, _SCAN_LIMIT, s.head_start_ms, s.pending_ms, *routes)

    def _claimed(self, annotator: str, reply: Sequence[Any]) -> Claimed:
        now, *found = reply
        if isinstance(found[0], list):
            return Claimed(tuple(self._given(annotator, item, now) for item in found), now)
        open_tasks, leased, soonest = found
        reason = Empty.NO_TASKS if not open_tasks else Empty.ALL_LEASED if leased else Empty.NONE_FOR_YOU
        wait_ms = (soonest - now) if leased else self._settings.lease_ms
        return Claimed((), now, reason, max(1.0, wait_ms / 1000))

    def _given(self, annotator: str, item: Sequence[Any], now_ms: int) -> Lease:
        lease = wire.lease_of(item)
        self._grants.give(Grant(annotator, item[0].decode(), lease.token, lease.claimed_ms, lease.deadline_ms), now_ms)
        return lease

    async def _put_back(self) -> None:
        await put_back(self._run, self._grants, list(_chunks(self._grants.standing())), self._metrics)

    async def regrant(self) -> None:
        if self._grants:
            await self._scripts.ask()

    async def renew(self, annotator: str, task_id: str, token: int) -> Renewed:
        ask: Call = "hold", (annotator, task_id, token, self._settings.lease_ms, "renew")
        deadline, now, claimed, review = map(int, await self._ask(ask))
        self._grants.give(Grant(annotator, task_id, token, claimed, deadline), now)
        return Renewed(deadline, bool(review))

    async def release(self, annotator: str, task_id: str, token: int) -> None:
        await self._ask(("hold", (annotator, task_id, token, self._settings.lease_ms, "release")))
        self._grants.end(annotator, task_id)

    async def prepare(self, answer: Answer) -> Receipt:
        (text,) = await self._ask(self._prepare_call(answer))
        return wire.receipt_of(text)

    async def prepare_next(self, answer: Answer, want: int, *, review: bool = False) -> tuple[Receipt, Claimed | None]:
        _, arguments = self._claim_call(answer.annotator, want, self._usher(answer.annotator, want, review, ()))
        promised, onward = await self._scripts.ask(self._prepare_call(answer), ("onward", arguments))
        (text,), following = _accepted(promised), _accepted(onward)
        return wire.receipt_of(text), self._claimed(answer.annotator, following) if following else None

    def _prepare_call(self, answer: Answer) -> Call:
        s = self._settings
        head = (answer.annotator, answer.task_id, answer.token, answer.key, answer.digest, answer.act)
        return "prepare", (*head, s.undo_ms, s.idempotency_ms, s.pending_ms)

    async def confirm(self, annotation: Annotation, *, counted: bool) -> Lease | None:
        found = await self._ask(self._confirm_call(annotation, counted=counted))
        self._ended(annotation)
        return self._given(annotation.annotator, found[0], found[0][2]) if found else None

    def note(self, annotation: Annotation, *, counted: bool) -> None:
        self._ended(annotation)
        self._scripts.tell(self._confirm_call(annotation, counted=counted))

    def _ended(self, annotation: Annotation) -> None:
        if annotation.state is not AnnotationState.WITHDRAWN:
            self._grants.end(annotation.annotator, annotation.task_id)

    def _confirm_call(self, a: Annotation, *, counted: bool) -> Call:
        head = (a.annotator, a.task_id, a.revision, a.state, a.lease_token, a.claimed_ms, int(counted))
        return "confirm", (*head, self._settings.lease_ms, self._settings.history, wire.line_of(a))

    async def apply(self, annotations: Sequence[Annotation]) -> Sequence[Applied]:
        applied: list[Applied] = []
        for chunk in _chunks(annotations):
            arguments: list[wire.Argument] = [self._settings.history, self._settings.lease_ms]
            for a in chunk:
                arguments += (a.task_id, a.annotator, a.revision, a.state, a.lease_token, a.claimed_ms)
                arguments += (wire.ballot_text(a), wire.line_of(a), *wire.note_text(a))
            applied += [wire.applied_of(item) for item in await self._run("apply", arguments)]
        return applied

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Label | None]:
        labels: list[Label | None] = []
        for chunk in _chunks(settlements):
            arguments: list[wire.Argument] = [self._settings.undo_ms, self._settings.keep_ms]
            for item in chunk:
                label = item.label
                arguments += (label.task_id, item.sequence, label.revision, int(label.withdrawn), item.body)
            stored = zip(chunk, await self._run("settle", arguments), strict=True)
            labels += [item.label if raw == item.body else wire.label_of(raw) for item, raw in stored]
        return labels

    async def reopen(self, tasks: Sequence[Reopen]) -> None:
        for chunk in _chunks(tasks):
            offers = [value for item in chunk for value in wire.offer_of(item)]
            await self._run("reopen", (self._settings.ask_best_ms, KEPT_FOR_ONE, *offers))

    async def published(self, labels: Sequence[tuple[str, int]]) -> None:
        for chunk in _chunks(labels):
            await self._run("published", [value for label in chunk for value in label])

    async def sweep(self, limit: int) -> Swept:
        return Swept(*await self._run("sweep", (limit, self._settings.keep_ms)))

    async def page(self, cursor: int, limit: int) -> Page:
        async with reachable():
            reply: Any = await self._client.hscan(self._key("bodies"), cursor, count=limit)
        following, found = reply
        return Page([wire.task_of(raw) for raw in found.values()], following)

    async def withdraw(self, task_ids: Sequence[str]) -> int:
        return sum([(await self._run("withdraw", chunk))[0] for chunk in _chunks(task_ids)])

    async def rerank(self, tasks: Sequence[Task]) -> int:
        moved = 0
        for chunk in _chunks(tasks):
            places = ((t.task_id, route_of(t), repr(place_of(t, self._settings.head_start_ms))) for t in chunk)
            moved += (await self._run("rerank", [value for place in places for value in place]))[0]
        return moved

    async def restore(self, known: Remembered) -> bool:
        task, stays_ms = known.task, max(self._settings.restored_ms, self._settings.undo_ms)
        arguments: list[wire.Argument] = [task.task_id, stays_ms, route_of(task)]
        arguments += (repr(place_of(task, self._settings.head_start_ms)), wire.encode(task), known.sequence)
        for name, (a, ballot) in known.given.items():
            arguments += (name, a.revision, a.state, a.lease_token, a.claimed_ms)
            arguments += (ballot.sequence, ballot.replaces, wire.ballot_text(a), *wire.note_text(a))
        return bool((await self._run("restore", arguments))[0])

    async def dispute(self, annotator: str, task_id: str) -> Dispute:
        return wire.dispute_of(await self._ask(("dispute", (annotator, task_id))))

    async def keep_gold(self, pieces: Sequence[Task]) -> None:
        for chunk in _chunks(pieces):
            found = ((p.task_id, subject_digest(p.project, p.subject), wire.encode(p)) for p in chunk)
            await self._run("gold", [value for piece in found for value in piece])

    async def gold(self, have: int = 0) -> Sequence[Task] | None:
        async with reachable():
            if await self._client.hlen(self._key("gold")) == have:
                return None
            found: Sequence[Any] = await self._client.hvals(self._key("gold"))
        return [wire.task_of(raw) for raw in found]

    async def begin_erasure(self, subjects: Sequence[str]) -> None:
        async with reachable(), self._client.pipeline(transaction=False) as pipe:
            for subject in subjects:
                pipe.hsetnx(self._key("erased"), subject, "0")
            await pipe.execute()

    async def erase(self, task_ids: Sequence[str]) -> Erased:
        found = Erased()
        for chunk in _chunks(task_ids):
            found += Erased(*await self._run("erase", chunk))
        wire.forget_bodies()
        async with reachable():
            people: Sequence[Any] = await self._client.hkeys(self._key("answered"))
        for some in _chunks(people) if task_ids else ():
            found += Erased(lines=(await self._run("forget", (len(some), *some, *task_ids)))[0])
        return found

    async def end_erasure(self, subjects: Sequence[str]) -> None:
        if subjects:
            async with reachable():
                await self._client.hset(self._key("erased"), mapping=dict.fromkeys(subjects, "1"))

    async def forget_before(self, before_ms: int) -> Erased:
        return await forget_before(self._client, self._prefix, self._run, before_ms, self._settings.keep_ms)

    async def erased(self) -> frozenset[str]:
        async with reachable():
            known: Mapping[Any, Any] = await self._client.hgetall(self._key("erased"))
        return frozenset(subject.decode() for subject, ended in known.items() if ended == b"1")

    async def forgive(self, name: str, asked: int) -> None:
        async with reachable():
            await self._client.hset(self._key("forgiven"), name, str(asked))

    async def forgiven(self) -> Mapping[str, int]:
        async with reachable():
            found: Mapping[Any, Any] = await self._client.hgetall(self._key("forgiven"))
        return {name.decode(): int(asked) for name, asked in found.items()}

    async def stats(self) -> Stats:
        return Stats(*await self._run("stats", ()))

    async def look(self, task_id: str) -> Task | None:
        async with reachable():
            body: Any = await self._client.hget(self._key("bodies"), task_id)
        return None if body is None else wire.task_of(body)

    async def history(self, annotator: str, limit: int) -> Sequence[Done]:
        await self._scripts.told()
        async with reachable():
            mine, last = self._key(f"mine:{annotator}"), self._settings.history - 1
            lines: Sequence[Any] = await self._client.lrange(mine, 0, last)
        newest: dict[str, Done] = {}
        for line in lines:
            done = wire.done_of(line)
            newest.setdefault(done.annotation_id, done)
        return list(newest.values())[:limit]

    async def answered(self, annotator: str) -> int:
        await self._scripts.told()
        async with reachable():
            return int(await self._client.hget(self._key("answered"), annotator) or 0)

    async def add_class(self, name: str) -> None:
        await self._run("classes", (name,))

    async def classes(self) -> Sequence[str]:
        return tuple(raw.decode() for raw in await self._run("classes", ("",)))

    async def is_built(self) -> bool:
        return await is_of_this_life(self._client, self._key("epoch"))

    async def begin_build(self) -> RedisQueue | None:
        if await self.is_built():
            return None
        nonce = secrets.token_hex(16)
        async with reachable():
            if not await self._client.set(self._key("builder"), nonce, nx=True, px=BUILDER_MS):
                return None
        builder = copy(self)
        builder._scripts = Scripts(self._client, self._prefix, QUEUE_SCRIPTS, nonce)  # noqa: SLF001 - our own copy
        return await builder._begun()  # noqa: SLF001 - as above

    async def _begun(self) -> RedisQueue | None:
        if await keeps_all(self._client) and (await self._run("adopt", ()))[0]:
            return None
        async with reachable():
            stale = await self._client.exists(self._key("epoch"))
        if stale:
            async for names in of_index(self._client, self._prefix):
                await self._run("clear", names)
        return self

    async def keep(self) -> None:
        await self._run("keep", ())

    async def end_build(self, done: Sequence[tuple[str, int]]) -> None:
        for chunk in _chunks(done):
            await self._run("finish", ("", *(value for item in chunk for value in item)))
        await self._run("finish", ("always" if await keeps_all(self._client) else "1",))

    def token_epoch(self) -> bytes | None:
        """What the project's token epoch was when the newest answer of ``claim`` or ``prepare`` was made."""
        return self._scripts.seen

    def _key(self, name: str) -> str:
        return self._prefix + name

    async def _run(self, script: str, arguments: Sequence[wire.Argument]) -> list[Any]:
        return _accepted(await self._scripts.run(script, arguments))

    async def _ask(self, call: Call) -> list[Any]:
        """The reply to ``call``, made together with whatever else people ask for at this moment."""
        (reply,) = await self._scripts.ask(call)
        return _accepted(reply)


def _accepted(reply: list[Any]) -> list[Any]:
    match reply[0]:
        case b"OK":
            return reply[1:]
        case b"BUILDING":
            raise building()
        case b"NOT_FOUND":
            raise not_found()
        case code:
            raise refused(Refusal(code.decode().lower()))


def _chunks(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))

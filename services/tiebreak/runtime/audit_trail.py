"""Writing and reading topic ``audit``. Any number of processes may write: the order of the log decides, see ``contracts/audit.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import structlog

from tiebreak.contracts.audit import Action, Chain, Head, key_of, keyed, linked, links, words_of
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import PROTOBUF, encode, headers_for
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.log import Log, Message, Outputs, Partition, Reader, Record
from tiebreak.contracts.messages import AuditRecord
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.reading import up_to

_log = structlog.get_logger("tiebreak.audit")
_BATCH = 1000
_POLL_S = 0.5
_CLOSE_S = 5.0
# Somebody wins each round, so only as many others at once could keep us from it.
_ROUNDS = 50
MAX_DETAIL = 4000
# Somebody who writes garbage does not fill the logs with it.
_TOLD = 20
# What several notice or mean, each for itself, and write once.
_NOTICED = frozenset({Action.ANNOTATOR_PAUSED, Action.RETENTION_ENDED, Action.CLASS_ADDED})


class AuditTrail:
    """The chain of one project. ``log`` belongs to the caller. ``metrics``: where :meth:`follow` tells of faults."""

    def __init__(self, log: Log, project: str, clock: Clock, metrics: Metrics | None = None) -> None:
        self._log = log
        self._metrics = metrics
        self._project = project
        self._clock = clock
        self._partition = Partition(Topic.AUDIT.of(project), 0)
        self._turn = asyncio.Lock()
        self._chain = Chain(project)
        self._next = 0
        self._noticed: set[tuple[str, str, str]] = set()
        # By actor, action and Idempotency-Key.
        self._deeds: dict[tuple[str, str, str], AuditRecord] = {}

    async def append(self, actor: str, action: Action, target: str, detail: str = "", key: str = "") -> AuditRecord:
        """Who did what to what, durable and in the chain when it returns.

        Call it before the deed shows: what is not on record must not happen. ``detail`` is cut at :data:`MAX_DETAIL` characters.
        ``key``: the request's Idempotency-Key. Where this actor used it for this action before, that is the same deed: its record comes
        back, whatever ``target`` and ``detail`` say now, and nothing is written.
        Raises Unreachable or PublishFailed (it may or may not be on record), SlowDown when others write without a pause.
        """
        return cast("AuditRecord", await self._append(self._said(actor, action, target, detail, key), once=False))

    async def append_once(
        self, actor: str, action: Action, target: str, detail: str, key: str = ""
    ) -> AuditRecord | None:
        """:meth:`append`, for what several processes notice: None where a record says the same (action, target, detail) already."""
        return await self._append(self._said(actor, action, target, detail, key), once=True)

    async def deed(self, actor: str, action: Action, key: str) -> AuditRecord | None:
        """The record that :meth:`append` would give back for this key. Raises Unreachable."""
        async with self._turn, self._reader() as reader:
            await self._catch_up(reader)
        return self._deeds.get((actor, action, key))

    def _said(self, actor: str, action: Action, target: str, detail: str, key: str) -> AuditRecord:
        now_ms = round(self._clock.wall() * 1000)
        detail = keyed(detail[:MAX_DETAIL], key)
        return AuditRecord(self._project, 0, actor, action, target, detail, now_ms, "", "")

    async def _append(self, said: AuditRecord, *, once: bool) -> AuditRecord | None:
        async with self._turn, self._reader() as reader:
            await self._catch_up(reader)
            for _ in range(_ROUNDS):
                if key_of(said) and (before := self._deeds.get((said.actor, said.action, key_of(said)))) is not None:
                    return before
                if once and (said.action, said.target, words_of(said)) in self._noticed:
                    return None
                record = linked(said, self._chain.head)
                await self._publish(record)
                await self._catch_up(reader)
                if self._chain.holds(Head(record.sequence, record.digest)):
                    return record
        raise SlowDown("Too many others write to the audit topic.", fix="Try again.")

    async def read(self) -> tuple[Sequence[AuditRecord], Chain]:
        """The chain from its beginning to its end now, and what is wrong with it. Raises Unreachable."""
        async with self._reader() as reader:
            end = (await reader.end_positions()).get(self._partition, 0)
            found = [(r.offset, r.value) async for r in self._before(reader, end)]
        return links(self._project, found)

    async def sound(self) -> Sequence[AuditRecord]:
        """The links alone; the log says what is wrong, where nobody has accepted that. Raises Unreachable.

        For deeds that must be heeded: one bad record would otherwise undo them all.
        """
        await self.ensure_topic()
        found, chain = await self.read()
        _tell(chain, 0)
        return found

    async def follow(self, stop: asyncio.Event) -> AsyncGenerator[Sequence[AuditRecord], None]:
        """:meth:`sound` and then what comes, as it comes, until ``stop``. Raises Unreachable: begin again then."""
        await self.ensure_topic()
        chain = Chain(self._project)
        async with self._reader() as reader:
            while not stop.is_set():
                batch, told = await reader.poll(_BATCH, _POLL_S), len(chain.faults)
                found = [chain.read(record.offset, record.value) for record in batch.get(self._partition, ())]
                _tell(chain, told)
                self._measure(chain)
                if news := [link for link in found if link is not None]:
                    yield news

    def _measure(self, chain: Chain) -> None:
        if self._metrics is not None:
            missing = [fault.missing for fault in chain.open_faults]
            for kind, count in (("missing", sum(missing)), ("put_in", len(missing) - sum(missing))):
                self._metrics.set("tiebreak_runtime_audit_faults", count, kind=kind)

    async def ensure_topic(self) -> None:
        """Create the topic where it is missing."""
        await self._log.ensure_topics([s for s in specs_for(self._project, 1) if s.name == self._partition.topic])

    async def _catch_up(self, reader: Reader) -> None:
        end = (await reader.end_positions()).get(self._partition, 0)
        if end < self._next:  # the log is another one now
            self._chain, self._next = Chain(self._project), 0
            self._noticed.clear()
            self._deeds.clear()
        told = len(self._chain.faults)
        reader.seek({self._partition: self._next} if self._next else {})
        async for record in self._before(reader, end):
            self._next = record.offset + 1
            link = self._chain.read(record.offset, record.value)
            if link is None:
                continue
            if link.action in _NOTICED:
                self._noticed.add((link.action, link.target, words_of(link)))
            if key := key_of(link):
                self._deeds.setdefault((link.actor, link.action, key), link)
        self._next = end  # what is last there may be no record
        _tell(self._chain, told)

    async def _before(self, reader: Reader, end: int) -> AsyncIterator[Record]:
        async for batch in up_to(reader, {self._partition: end}):
            for record in batch.get(self._partition, ()):
                if record.offset < end:
                    yield record

    async def _publish(self, record: AuditRecord) -> None:
        message = Message(
            self._partition.topic, self._project.encode(), encode(record), headers_for(PROTOBUF), self._partition.index
        )
        writer = self._log.writer()
        await writer.start()
        try:
            await writer.publish(Outputs(messages=[message]))
        finally:
            await writer.close(_CLOSE_S)

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[Reader]:
        reader = self._log.reader([self._partition.topic], None)
        await reader.start()
        try:
            yield reader
        finally:
            await reader.close(_CLOSE_S)


def _tell(chain: Chain, told: int) -> None:
    """Say what is wrong, but for the first ``told`` faults and for what somebody has accepted."""
    # Not a reason to stop work: else one bad record would. `tiebreak audit verify` names it for ever.
    found = [fault for fault in chain.faults[told:] if fault.accepted is None]
    for fault in found[:_TOLD]:
        _log.error("audit_broken", offset=fault.offset, why=fault.why)
    if len(found) > _TOLD:
        _log.error("audit_broken", further=len(found) - _TOLD, last_offset=found[-1].offset)

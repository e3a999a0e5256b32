"""Seeing a payload as it was before masking: for managers, with a reason, on record before it is shown."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from tiebreak.contracts import codec
from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec_payload import payload_of
from tiebreak.contracts.errors import BadRecord, Conflict, NotFound
from tiebreak.contracts.log import Partition
from tiebreak.contracts.messages import Event, Task
from tiebreak.contracts.ports import History
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.access import Principal, Right
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_deeds import KeyIfAny, on_record
from tiebreak.labeling.http_fields import payload_out
from tiebreak.labeling.http_models import RevealIn, RevealOut
from tiebreak.labeling.http_security import guarded_router, needs
from tiebreak.labeling.http_tasks import task_id
from tiebreak.labeling.refusals import no_task

Manager = Annotated[Principal, Depends(needs(Right.MANAGE))]


def reveal_routes(ctx: LabelingContext) -> APIRouter:
    """One route. Nothing is kept: the original is read from `events` each time, and is gone when its retention ends."""
    router = guarded_router(ctx.door, prefix="/v1")

    @router.post("/tasks/{task}:reveal")
    async def reveal(task: str, body: RevealIn, who: Manager, key: KeyIfAny) -> RevealOut:
        """See the payload as the producer sent it, unmasked. Who, when and why is on the audit trail before you see it."""
        wanted = await ctx.queue.look(task_id(task))
        if wanted is None:
            raise no_task()
        if ctx.audit is None or ctx.originals is None:
            raise Conflict("This installation cannot reveal payloads.", fix="It needs the topics `audit` and `events`.")
        event = await original(ctx.project, ctx.originals, wanted)
        record = await on_record(ctx.audit, who, Action.PAYLOAD_REVEALED, wanted.task_id, body.reason, key)
        return RevealOut(task_id=wanted.task_id, payload=payload_out(payload_of(event)), audit_sequence=record.sequence)

    return router


async def original(project: Project, events: History, task: Task) -> Event:
    """The event that ``task`` was made of. Raises NotFound where the log has let go of it, Unreachable."""
    place = Partition(Topic.EVENTS.of(task.project), task.source_partition)
    async for batch in events.before({place: (task.source_offset, task.source_offset + 1)}):
        for record in batch.get(place, ()):
            if record.offset != task.source_offset:
                continue
            try:
                event = codec.decode_event(record, project.input)
            except BadRecord:
                break
            if event.event_id == task.event_id:
                return event
    raise NotFound("The original is no longer on `events`.", fix="Its retention has ended: nobody can see it any more.")

"""Reading the topics of labeling: one record as a message of this project, and a whole topic up to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from tiebreak.contracts.codec import decode_annotation, decode_task
from tiebreak.contracts.errors import BadRecord, DeadReason, Invalid
from tiebreak.contracts.ids import annotation_id
from tiebreak.contracts.log import Batch, Log, Record
from tiebreak.contracts.messages import Annotation, Task
from tiebreak.contracts.project import Project
from tiebreak.labeling.answers import canonical
from tiebreak.labeling.routing import routed
from tiebreak.runtime.reading import short_of, up_to

_CLOSE_S = 5.0


def task_of(record: Record, project: Project) -> Task:
    """A task of this project, on the route that the project's rules give it. Raises BadRecord."""
    task = decode_task(record.value)
    if task.project != project.project:
        raise BadRecord(DeadReason.UNKNOWN_PROJECT, "the task belongs to another project")
    return routed(task, project.labeling)


def annotation_of(record: Record, project: Project) -> Annotation:
    """An annotation of this project with an id that is its own and a class people may choose. Raises BadRecord."""
    a = decode_annotation(record.value)
    if a.project != project.project:
        raise BadRecord(DeadReason.UNKNOWN_PROJECT, "the annotation belongs to another project")
    if a.annotation_id != annotation_id(a.task_id, a.annotator):
        raise BadRecord(DeadReason.UNDECODABLE, "the annotation's id is not the one of its task and annotator")
    if a.value and not project.classes.open and not _is_known(a.value, project):
        raise BadRecord(DeadReason.UNKNOWN_CLASS, "the answer is none of the project's schema")
    return a


def _is_known(value: str, project: Project) -> bool:
    answer, names = project.labeling.answer, project.classes.names
    if not answer.kind.is_structured:
        return value in names
    try:
        return canonical(answer, names, value) == value
    except Invalid:
        return False


async def batches_of(log: Log, topic: str, left: Callable[[int], None] = lambda _: None) -> AsyncIterator[Batch]:
    """Every record of ``topic`` up to its end now, as they come; ``left`` is told with each batch how many offsets are to come.

    Raises Unreachable when it stops coming.
    """
    reader = log.reader([topic], None)
    await reader.start()
    try:
        ends = await reader.end_positions()
        async for batch in up_to(reader, ends):
            left(sum(end - reader.positions().get(partition, 0) for partition, end in short_of(reader, ends).items()))
            yield {
                partition: [record for record in records if record.offset < ends[partition]]
                for partition, records in batch.items()
            }
    finally:
        await reader.close(_CLOSE_S)


async def records_of(log: Log, topic: str) -> AsyncIterator[Record]:
    """:func:`batches_of`, one record at a time, in order within a partition."""
    async for batch in batches_of(log, topic):
        for records in batch.values():
            for record in records:
                yield record

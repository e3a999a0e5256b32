"""From a selection to a task: what people will see, what the trainer will learn from. Pure."""

from __future__ import annotations

from collections.abc import Callable

from tiebreak.contracts import ids
from tiebreak.contracts.answer_text import predicted_text
from tiebreak.contracts.codec_payload import payload_of
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Event, Payload, Selection, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import EventColumns, Scores
from tiebreak.sampling.features import feature_row

# Annotators draw from one lane: a lane of its own would tell an audit task from the others.
LANE = "normal"
# An audit task must not wait behind the uncertain ones: those that expire unanswered would be the certain ones, a biased loss.
AUDIT_PRIORITY = 1.0


def build_task(  # noqa: PLR0913, PLR0917 - a task gathers all there is to know of one event
    project: Project,
    columns: EventColumns,
    row: int,
    scores: Scores,
    selection: Selection,
    event: Event,
    now_ms: int,
    mask: Callable[[Payload], Payload] | None = None,
) -> Task:
    """The task of row ``row`` of a scored batch. ``event`` is that row's record decoded in full, ``mask`` hides personal data.

    An event without a payload whose input came as named fields is shown as a table of them, masked like any payload. Where masking
    is on the subject is a pseudonym (``ids.pseudonym``), since people name subjects by e-mail addresses.
    Raises ConfigError where the project wants masking and no ``mask`` is given: nothing leaves unmasked by oversight.
    """
    if project.privacy.mask and mask is None:
        raise ConfigError("privacy.mask: is on, and no masker is there.", fix="Install the `privacy` extra.")
    record = columns.records[row]
    probabilities = tuple(float(p) for p in scores.probabilities[row].tolist())
    payload = payload_of(event)
    return Task(
        task_id=ids.task_id(project.project, event.event_id),
        project=project.project,
        event_id=event.event_id,
        payload=payload if payload is None or mask is None else mask(payload),
        features=feature_row(columns, scores, row),
        predicted=predicted_text(scores, row, project.labeling.answer),
        probabilities=probabilities,
        classes=scores.classes or project.classes.names,
        selection=selection,
        priority=AUDIT_PRIORITY if selection.audit else selection.uncertainty,
        lane=LANE,
        votes_wanted=project.labeling.votes,
        created_ms=now_ms,
        event_time_ms=event.time_ms or record.timestamp,
        schema_version=project.labeling.schema_version,
        subject=ids.pseudonym(project.project, event.subject) if project.privacy.mask else event.subject,
        source_partition=record.partition,
        source_offset=record.offset,
    )

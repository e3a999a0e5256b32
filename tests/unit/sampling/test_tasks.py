"""From a selection to a task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.sampling import columns_of, project, scores_of
from tiebreak.contracts import ids
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Event, Payload, PayloadKind, Reason, Selection, Task
from tiebreak.contracts.project import Privacy
from tiebreak.contracts.tensors import EventColumns
from tiebreak.sampling.tasks import build_task

CHOSEN = Selection("margin", 0.8, 0.5, 0.1, Reason.UNCERTAIN, audit=False, model_version="v1", state_digest="d")
TEXT = Payload(PayloadKind.TEXT, "text/plain", b"call 555-1234")


def test_a_task_holds_all_that_people_and_the_trainer_need() -> None:
    """Ids are derived, features are the input, the prediction is the likeliest class, the source is the record."""
    columns = columns_of(3)
    scores = scores_of(columns)
    event = Event("e0-1", payload=TEXT, subject="s", time_ms=42)
    row = scores.probabilities[1]
    assert build_task(project(), columns, 1, scores, CHOSEN, event, 99) == Task(
        task_id=ids.task_id("p", "e0-1"),
        project="p",
        event_id="e0-1",
        payload=TEXT,
        features=tuple(columns.inputs["x"][1].tolist()),
        predicted=("a", "b", "c")[int(row.argmax())],
        probabilities=tuple(row.tolist()),
        classes=("a", "b", "c"),
        selection=CHOSEN,
        priority=0.8,
        lane="normal",
        votes_wanted=1,
        created_ms=99,
        event_time_ms=42,
        schema_version=1,
        subject="s",
        source_partition=0,
        source_offset=1,
    )


def test_an_audit_task_goes_first_in_the_common_lane() -> None:
    """An audit task shares the lane, so that nobody can tell, and does not wait until it expires."""
    columns = columns_of(1)
    audit = replace(CHOSEN, audit=True, reason=Reason.AUDIT, uncertainty=0.01)
    task = build_task(project(), columns, 0, scores_of(columns), audit, Event("e0-0"), 0)
    assert (task.lane, task.priority) == ("normal", 1.0)


def test_without_a_model_a_task_predicts_nothing() -> None:
    """A cold start's task has no prediction, and the project's own classes to choose from."""
    columns = columns_of(1)
    task = build_task(project(), columns, 0, scores_of(columns, classes=0), CHOSEN, Event("e0-0"), 0)
    assert (task.predicted, task.probabilities, task.classes) == ("", (), ("a", "b", "c"))
    assert task.event_time_ms == 1000


def test_the_embedding_is_the_feature_where_there_is_one() -> None:
    """The trainer learns from what the encoder gave."""
    columns = columns_of(2)
    scores = replace(scores_of(columns), embedding=np.array([[1, 2], [3, 4]], dtype=np.float32))
    assert build_task(project(), columns, 1, scores, CHOSEN, Event("e0-1"), 0).features == (3.0, 4.0)


def test_text_alone_has_no_features() -> None:
    """String tensors give the head nothing to learn from without an embedding."""
    columns = columns_of(1)
    words = EventColumns(columns.ids, {"t": np.array([["hi"]], dtype=object)}, columns.records, columns.spans)
    assert build_task(project(), words, 0, scores_of(columns), CHOSEN, Event("e0-0"), 0).features == ()


def test_named_fields_are_shown_as_a_table() -> None:
    """An event of named fields and no payload becomes a table of them."""
    columns = columns_of(1)
    event = Event("e0-0", fields={"amount": 3.5, "country": "Österreich"})
    task = build_task(project(), columns, 0, scores_of(columns), CHOSEN, event, 0)
    expected = '{"amount":3.5,"country":"Österreich"}'.encode()
    assert task.payload == Payload(PayloadKind.TABLE, "application/json", expected)


def test_what_people_see_is_masked_first() -> None:
    """The mask is applied to payloads and tables alike; where masking is on and no masker is there, no task is made."""
    columns = columns_of(1)
    scores = scores_of(columns)
    private = project(privacy=Privacy(mask=True))

    def mask(payload: Payload) -> Payload:
        return replace(payload, data=payload.data.replace(b"555-1234", b"<PHONE>"))

    for event in (Event("e0-0", payload=TEXT), Event("e0-0", fields={"note": "555-1234"})):
        task = build_task(private, columns, 0, scores, CHOSEN, event, 0, mask)
        assert task.payload is not None
        assert b"555-1234" not in task.payload.data
        with pytest.raises(ConfigError, match=r"privacy\.mask"):
            build_task(private, columns, 0, scores, CHOSEN, event, 0)

"""The stream process with masking on: what reaches the `tasks` topic, the only way from a payload to people, Redis and labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.support.models import project_of
from tests.support.streaming import StreamBench
from tiebreak.apps.stream import masking_of
from tiebreak.contracts.codec import JSON, decode_task
from tiebreak.contracts.ids import pseudonym
from tiebreak.contracts.messages import PayloadKind, Task
from tiebreak.contracts.project import Privacy, Project
from tiebreak.contracts.project_privacy import Ner
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.metrics import Metrics
from tiebreak.scoring.stage import Scorer

PROJECT = project_of(
    sampling={"target_share": 1.0, "audit_share": 1.0}, budget={"labels_per_hour": 1e6, "carry_over": 1000}
)
PRIVATE = PROJECT.model_copy(update={"privacy": Privacy(mask=True)})


@pytest.fixture
def scorer() -> Iterator[Scorer]:
    scorer = Scorer(PRIVATE, Metrics("test"))
    yield scorer
    scorer.close()


async def streamed(
    scorer: Scorer, project: Project, words: str, subject: str, metrics: Metrics | None = None
) -> tuple[list[Task], bytes]:
    """What 40 events with this payload and subject come to: their tasks, and every byte of `tasks`."""
    bench = StreamBench(project)
    await bench.start()
    name = project.input.tensors[0].name
    events = [
        (
            f"e{i}".encode(),
            orjson.dumps(
                {
                    "id": f"e{i}",
                    "inputs": [{"name": name, "datatype": "FP32", "shape": [1, 4], "data": [0.1 * i, 0.2, 0.3, 0.4]}],
                    "payload": {"kind": "text", "data": words},
                    "subject": subject,
                }
            ),
        )
        for i in range(40)
    ]
    await bench.send(events, JSON)
    await bench.run(scorer, mask=masking_of(project, metrics or Metrics("test")))
    records = await bench.records(Topic.TASKS)
    return [decode_task(r.value) for r in records], b"".join((r.key or b"") + (r.value or b"") for r in records)


async def test_no_personal_data_is_on_the_tasks_topic(scorer: Scorer) -> None:
    """Payload and subject of an event name a person by an e-mail address: no task holds it, in no byte, and the mask is there."""
    tasks, written = await streamed(scorer, PRIVATE, "Ann <ann@example.org> asks", "ann@example.org")
    assert tasks
    assert b"ann@" not in written
    payloads = {(t.payload.kind, t.payload.data) for t in tasks if t.payload is not None}
    assert payloads == {(PayloadKind.TEXT, b"Ann <<EMAIL_1>> asks")}
    assert {t.subject for t in tasks} == {pseudonym(PRIVATE.project, "ann@example.org")}


async def test_no_name_that_the_model_finds_is_on_the_tasks_topic(scorer: Scorer, pipeline: Path) -> None:
    """A person and a place have no pattern: found before a task exists, by the pipeline that the project names."""
    privacy = Privacy(mask=True, entities=("PERSON", "LOCATION"), ner=Ner(folder=str(pipeline)))
    project = PROJECT.model_copy(update={"privacy": privacy})
    tasks, written = await streamed(scorer, project, "My name is Maria Rossi and I work in Oslo.", "customer-17")
    assert {t.payload.data for t in tasks if t.payload} == {b"My name is <PERSON_1> and I work in <LOCATION_1>."}
    assert b"Rossi" not in written
    assert b"Oslo" not in written


async def test_payloads_of_which_nothing_is_shown_are_counted_by_reason(scorer: Scorer) -> None:
    """An operator sees that people are asked about nothing, and why; what can be shown is not counted."""
    metrics = Metrics(PRIVATE.project)
    await streamed(scorer, PRIVATE, "all is well", "customer-17", metrics)
    assert b"tiebreak_scoring_withheld_total{" not in metrics.exposition()
    tasks, _ = await streamed(scorer, PRIVATE, "a@b.example " * 3000, "customer-17", metrics)
    assert all(t.payload and t.payload.data.startswith(b"<WITHHELD>") for t in tasks)
    counted = f'tiebreak_scoring_withheld_total{{project="{PRIVATE.project}",reason="crowded"}} {len(tasks):.1f}'
    assert counted in metrics.exposition().decode()

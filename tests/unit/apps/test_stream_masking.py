"""The stream process with masking on: what reaches the `tasks` topic, the only way from a payload to people, Redis and labels."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from tests.support.models import project_of
from tests.support.streaming import StreamBench
from tiebreak.contracts.codec import JSON, decode_task
from tiebreak.contracts.ids import pseudonym
from tiebreak.contracts.messages import PayloadKind
from tiebreak.contracts.project import Privacy
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.masking import load_mask
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


async def test_no_personal_data_is_on_the_tasks_topic(scorer: Scorer) -> None:
    """Payload and subject of an event name a person by an e-mail address: no task holds it, in no byte, and the mask is there."""
    bench = StreamBench(PRIVATE)
    await bench.start()
    name = PRIVATE.input.tensors[0].name
    events = [
        (
            f"e{i}".encode(),
            orjson.dumps(
                {
                    "id": f"e{i}",
                    "inputs": [{"name": name, "datatype": "FP32", "shape": [1, 4], "data": [0.1 * i, 0.2, 0.3, 0.4]}],
                    "payload": {"kind": "text", "data": "Ann <ann@example.org> asks"},
                    "subject": "ann@example.org",
                }
            ),
        )
        for i in range(40)
    ]
    await bench.send(events, JSON)
    await bench.run(scorer, mask=load_mask(PRIVATE.privacy))
    records = await bench.records(Topic.TASKS)
    tasks = [decode_task(r.value) for r in records]
    assert tasks
    assert {r.offset for r in records if b"ann@" in (r.value or b"") or b"ann@" in (r.key or b"")} == set()
    payloads = {(t.payload.kind, t.payload.data) for t in tasks if t.payload is not None}
    assert payloads == {(PayloadKind.TEXT, b"Ann <<EMAIL_1>> asks")}
    assert {t.subject for t in tasks} == {pseudonym(PRIVATE.project, "ann@example.org")}

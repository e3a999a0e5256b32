"""Events that nobody is asked about go along with the questions of others, as bare features."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from tests.support.models import points, project_of
from tests.support.streaming import StreamBench
from tiebreak.apps.simulate.replay import Pace, People, Replay
from tiebreak.apps.simulate.selecting import Pick
from tiebreak.apps.simulate.stream import stream_of_arrays
from tiebreak.contracts.codec import PROTOBUF, decode_task, encode, headers_for
from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.contracts.messages import Event, Task
from tiebreak.contracts.project import Project, Training
from tiebreak.contracts.tensors import FloatArray, Tensor
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling.appraisal import Scored
from tiebreak.sampling.passing import Passing
from tiebreak.scoring.decode import decode_batch
from tiebreak.scoring.stage import Scorer
from tiebreak.training.contest import Contest
from tiebreak.training.discriminant import Discriminant, Taught
from tiebreak.training.plans import Plan

WIDTH, ALONG = 256, 4
SAMPLING, BUDGET = {"target_share": 0.1}, {"labels_per_hour": 1e6, "carry_over": 1000}
X = points(300, WIDTH)
ROWS = {row.astype("<f4").tobytes(): i for i, row in enumerate(X)}


def project(along: int = ALONG, **scoring: object) -> Project:
    return project_of((WIDTH,), sampling=SAMPLING, budget=BUDGET, training={"unlabelled": along}, scoring=scoring)


def event(i: int, features: FloatArray | None = None, subject: str = "") -> bytes:
    row = X[i] if features is None else features
    tensor = Tensor("x", "FP32", (WIDTH,), row.astype("<f4").tobytes())
    return encode(Event(f"e{i}", inputs=(tensor,), subject=subject))


async def tasks_of(made: Project, values: Sequence[bytes]) -> list[Task]:
    """What people are asked after the stream process has seen these events."""
    bench, scorer = StreamBench(made), Scorer(made, Metrics("test"))
    await bench.start()
    await bench.send([(f"e{i}".encode(), value) for i, value in enumerate(values)], PROTOBUF)
    await bench.run(scorer)
    scorer.close()
    return [decode_task(record.value) for record in await bench.records(Topic.TASKS)]


def along(task: Task) -> list[int]:
    """The events whose features came along. KeyError for a vector that is no event's."""
    size = 4 * WIDTH
    return [ROWS[task.unlabelled[i : i + size]] for i in range(0, len(task.unlabelled), size)]


async def test_a_question_takes_others_along_each_once_and_never_itself() -> None:
    """Up to `training.unlabelled` events of the stream, to the bit as they came."""
    tasks = await tasks_of(project(), [event(i) for i in range(300)])
    assert len(tasks) > 10
    for task in tasks:
        found = along(task)
        assert len(set(found)) == len(found) <= ALONG
        assert int(task.event_id[1:]) not in found
    assert np.mean([len(along(task)) for task in tasks]) > ALONG - 1
    assert len({i for task in tasks for i in along(task)}) > 2 * len(tasks)


async def test_where_events_come_one_by_one_those_before_go_along() -> None:
    """Batches of one event have no others: one event of each batch is remembered for the questions that follow, and goes along once."""
    tasks = await tasks_of(project(max_batch=1), [event(i) for i in range(300)])
    late = [task for task in tasks if int(task.event_id[1:]) > 50]
    assert late
    assert sum(bool(along(task)) for task in late) > 0.9 * len(late)
    told = [i for task in tasks for i in along(task)]
    assert len(told) == len(set(told)) > 2 * len(tasks)
    assert all(int(task.event_id[1:]) not in along(task) for task in late)


class AskAgain:
    """Asks about the events that somebody else asked about."""

    def __init__(self, about: Collection[int]) -> None:
        self._about = about

    def select(self, batch: Scored, at: int) -> list[Pick]:
        return [Pick(row) for row in range(len(batch)) if at + row in self._about]


async def test_a_replay_takes_along_what_the_stream_process_does() -> None:
    """The same events beside the same questions, to the bit, though many look alike: else a benchmark would be of something else."""
    alike, made, asked, size = X[np.arange(300) % 8].astype(np.float32), project(), range(0, 300, 7), 32
    told: dict[int, bytes] = {}
    passing, scorer = Passing(made), Scorer(made, Metrics("test"))
    for start in range(0, 300, size):
        tensors = [(i, Tensor("x", "FP32", (WIDTH,), alike[i].tobytes())) for i in range(start, min(300, start + size))]
        values = [(i, encode(Event(str(i), inputs=(tensor,)))) for i, tensor in tensors]
        records = [StoredRecord("t", 0, i, 0, b"k", value, headers_for(PROTOBUF)) for i, value in values]
        columns, _ = decode_batch({Partition("t", 0): records}, made)
        scores = await scorer.score(columns)
        for row in range(len(columns)):
            if start + row in asked:
                told[start + row] = passing.beside(str(start + row), columns, scores, row)
        passing.see(columns, scores)
    scorer.close()
    stream = stream_of_arrays("alike", {"X": alike, "y": np.arange(300) % 2})
    training = Training(unlabelled=ALONG, committee=1)
    contest = Contest([Plan("taught", Taught(Discriminant(1, 7)), 1000, 1000, 7)], 7)
    replay = Replay(stream, AskAgain(asked), contest, training, People(), Pace(batch=size), 1)
    replay.run()
    assert sum(map(len, told.values())) > len(asked) * WIDTH * 4
    assert {row.settled_ms: row.unlabelled for row in replay._s.rows} == told


async def test_an_event_about_somebody_or_with_a_number_that_is_none_stays_out() -> None:
    """Whoever has a subject is in nobody else's label, so an erasure finds all there is; a NaN would cost a label its place."""
    odd = np.full(WIDTH, np.nan, np.float32)
    values = [
        event(i, subject="somebody") if i % 3 == 0 else event(i, features=odd if i % 3 == 1 else None)
        for i in range(300)
    ]
    tasks = await tasks_of(project(), values)
    assert {i % 3 for task in tasks for i in along(task)} == {2}


async def test_nothing_goes_along_unless_the_project_asks_for_it() -> None:
    """By default a task is what it was."""
    tasks = await tasks_of(project(0), [event(i) for i in range(100)])
    assert {task.unlabelled for task in tasks} == {b""}

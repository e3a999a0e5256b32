"""The stream process on twins: every event is predicted or set aside, a few become tasks, a replay changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.models import exported, points, project_of
from tests.support.streaming import StreamBench
from tiebreak.apps.stream import serve_file
from tiebreak.contracts.codec import JSON, decode_dead, decode_prediction, decode_task
from tiebreak.contracts.errors import ConfigError, DeadReason, ModelRefused
from tiebreak.contracts.ids import task_id
from tiebreak.contracts.messages import Reason
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.scoring.stage import Scorer

PROJECT = project_of(sampling={"target_share": 0.1}, budget={"labels_per_hour": 1e6, "carry_over": 1000})


@pytest.fixture
def scorer() -> Iterator[Scorer]:
    scorer = Scorer(PROJECT, Metrics("test"))
    yield scorer
    scorer.close()


@pytest.fixture
async def bench() -> StreamBench:
    bench = StreamBench(PROJECT)
    await bench.start()
    return bench


def _events(count: int, seed: int = 0) -> list[tuple[bytes, bytes]]:
    return [(f"e{i}".encode(), row.tobytes()) for i, row in enumerate(points(count, seed=seed))]


def _with_model(tmp_path: Path) -> Project:
    x = points()
    y = np.array(["a", "b", "c"])[x[:, :3].argmax(axis=1)]
    path = tmp_path / "mine.onnx"
    path.write_bytes(exported(LogisticRegression().fit(x, y), x))
    return PROJECT.model_copy(update={"model": PROJECT.model.model_copy(update={"source": "file", "file": str(path)})})


async def test_without_a_model_events_are_predicted_empty_and_chosen_by_chance(
    bench: StreamBench, scorer: Scorer
) -> None:
    """A cold start: one prediction per event, without a class, and a share of them asked for with their propensity."""
    await bench.send(_events(400))
    await bench.run(scorer)
    predictions = [decode_prediction(r.value) for r in await bench.records(Topic.PREDICTIONS)]
    tasks = [decode_task(r.value) for r in await bench.records(Topic.TASKS)]
    assert {p.event_id for p in predictions} == {f"e{i}" for i in range(400)}
    assert {(p.label, p.probabilities, p.model_version) for p in predictions} == {("", (), "")}
    assert {p.event_id for p in predictions if p.selected} == {t.event_id for t in tasks}
    assert {t.selection.reason for t in tasks} <= {Reason.COLD_START, Reason.AUDIT}
    assert all(0.0 < t.selection.propensity <= 1.0 for t in tasks)
    assert 10 < len(tasks) < 120


async def test_each_offset_is_exactly_one_prediction_or_one_dead_letter(bench: StreamBench, scorer: Scorer) -> None:
    """Poison between good events: wrong length, NaN, empty and broken JSON are set aside, their neighbours are predicted."""
    good = _events(50)
    nan = np.array([1, np.nan, 0, 0], "<f4").tobytes()
    await bench.send([*good[:20], (b"short", b"\x00" * 3), (b"nan", nan), *good[20:], (b"empty", b"")])
    await bench.send([(b"broken", b"{not json")], JSON)
    await bench.run(scorer)
    events = {(r.partition, r.offset) for r in await bench.records(Topic.EVENTS)}
    predictions = [decode_prediction(r.value) for r in await bench.records(Topic.PREDICTIONS)]
    letters = [decode_dead(r.value) for r in await bench.records(Topic.DEAD)]
    accounted = [(p.source_partition, p.source_offset) for p in predictions] + [
        (d.partition, d.offset) for d in letters
    ]
    assert Counter(accounted) == Counter(events)
    assert Counter(d.reason for d in letters) == {
        DeadReason.WRONG_TENSOR: 1,
        DeadReason.NOT_FINITE: 1,
        DeadReason.EMPTY: 1,
        DeadReason.UNDECODABLE: 1,
    }


async def test_a_whole_replay_asks_the_same_questions(bench: StreamBench, scorer: Scorer) -> None:
    """Read again from the start by a process that remembers nothing, the log leads to the same tasks with the same ids."""
    await bench.send(_events(300))
    await bench.run(scorer)
    first = {decode_task(r.value).task_id: decode_task(r.value) for r in await bench.records(Topic.TASKS)}
    await bench.run(scorer, group="again")
    both = [decode_task(r.value) for r in await bench.records(Topic.TASKS)]
    assert first
    assert {t.task_id for t in both} == set(first)
    assert {(t.task_id, t.selection.propensity, t.selection.reason) for t in both} == {
        (t.task_id, t.selection.propensity, t.selection.reason) for t in first.values()
    }


async def test_an_id_used_before_a_restart_is_known_after_it(bench: StreamBench, scorer: Scorer) -> None:
    """After a restart another event under a used id is dead still, and the same event again is a replay: nobody is asked twice."""
    events = _events(300)
    await bench.send(events)
    await bench.run(scorer)
    asked = len(await bench.records(Topic.TASKS))
    await bench.send([*events, (b"e7", points(1, seed=9)[0].tobytes())])
    await bench.run(scorer)
    letters = [decode_dead(r.value) for r in await bench.records(Topic.DEAD)]
    assert [d.reason for d in letters] == [DeadReason.DUPLICATE_ID]
    assert len(await bench.records(Topic.PREDICTIONS)) == 600
    assert 0 < len(await bench.records(Topic.TASKS)) == asked


async def test_a_users_own_classifier_is_scored_and_sampled_without_the_trainer(
    bench: StreamBench, scorer: Scorer, tmp_path: Path
) -> None:
    """An ONNX file from skl2onnx: predictions carry its classes and version, tasks its prediction and the input as features."""
    project = _with_model(tmp_path)
    await serve_file(scorer, project, SystemClock())
    await bench.send(_events(400, seed=3))
    await bench.run(scorer)
    predictions = [decode_prediction(r.value) for r in await bench.records(Topic.PREDICTIONS)]
    tasks = [decode_task(r.value) for r in await bench.records(Topic.TASKS)]
    assert {p.model_version for p in predictions} == {scorer.version}
    assert {p.label for p in predictions} == {"a", "b", "c"}
    assert any(t.selection.reason is Reason.UNCERTAIN for t in tasks)
    rows = dict(_events(400, seed=3))
    task = tasks[0]
    assert task.task_id == task_id("test", task.event_id)
    assert task.features == pytest.approx(np.frombuffer(rows[task.event_id.encode()], "<f4").tolist())
    assert task.predicted in {"a", "b", "c"}


async def test_a_missing_or_foreign_model_file_is_refused_before_any_event(scorer: Scorer, tmp_path: Path) -> None:
    """The process ends with one line; no event is scored by nothing in silence."""
    missing = PROJECT.model.model_copy(update={"source": "file", "file": str(tmp_path / "gone.onnx")})
    with pytest.raises(ConfigError, match=r"model.file: cannot read .*gone.onnx: No such file"):
        await serve_file(scorer, PROJECT.model_copy(update={"model": missing}), SystemClock())
    (tmp_path / "noise.onnx").write_bytes(b"not a model")
    noise = PROJECT.model.model_copy(update={"source": "file", "file": str(tmp_path / "noise.onnx")})
    with pytest.raises(ModelRefused):
        await serve_file(scorer, PROJECT.model_copy(update={"model": noise}), SystemClock())
    assert scorer.version == ""

"""The scorer: cold start, swaps, rollbacks and refusals, with real models checked in a real child."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from tests.support.models import Array, deep, dense, manifest_of, of_few_rows, points, project_of, softmax
from tiebreak.contracts import codec
from tiebreak.contracts.errors import DeadReason, ModelRefused, NotFound, SlowDown
from tiebreak.contracts.log import Batch, Partition, StoredRecord
from tiebreak.contracts.tensors import EventColumns, Form
from tiebreak.runtime.metrics import Metrics
from tiebreak.scoring.stage import Scorer, Scoring
from tiebreak.scoring.trial import Trial
from tiebreak.scoring.user_model import user_manifest

PROJECT = project_of()
RAW = codec.headers_for(codec.OCTETS)
P0 = Partition("tiebreak.test.events", 0)
X = points(6)
WA, WB = points(4, 3, seed=1), points(4, 3, seed=2)
MODEL_A, MODEL_B = dense(WA), dense(WB, squash="Softmax")
A, B = manifest_of(PROJECT, MODEL_A, "v1"), manifest_of(PROJECT, MODEL_B, "v2", temperature=2.0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("test")


@pytest.fixture
async def scorer(metrics: Metrics) -> AsyncIterator[Scorer]:
    scorer = Scorer(PROJECT, metrics)
    yield scorer
    scorer.close()


def batch_of(*rows: bytes) -> Batch:
    return {P0: [StoredRecord(P0.topic, 0, i, 0, f"e{i}".encode(), row, RAW) for i, row in enumerate(rows)]}


def columns_of(rows: np.ndarray) -> EventColumns:
    records = batch_of(*(row.tobytes() for row in rows))[P0]
    return EventColumns([r.key or b"" for r in records], {"x": rows}, records, [(P0, slice(0, len(rows)))])


def swaps(metrics: Metrics, outcome: str) -> float | None:
    return metrics.registry.get_sample_value("tiebreak_scoring_swaps_total", {"project": "test", "outcome": outcome})


async def test_without_a_model_there_are_no_probabilities(scorer: Scorer) -> None:
    """Cold start: rows come back with k = 0 and no version."""
    scores = await scorer.score(columns_of(X))
    assert (scores.version, scores.classes, scores.probabilities.shape) == ("", (), (6, 0))
    with pytest.raises(NotFound):
        await scorer.rollback()


async def test_swap_and_rollback(scorer: Scorer, metrics: Metrics) -> None:
    """Each answer names the model that made it; the one before stays in memory for the way back, and back again."""
    await scorer.swap(A, MODEL_A)
    first = await scorer.score(columns_of(X))
    await scorer.swap(B, MODEL_B)
    second = await scorer.score(columns_of(X))
    assert await scorer.rollback() == "v1"
    third = await scorer.score(columns_of(X))
    await scorer.swap(B, MODEL_B)
    assert (scorer.version, scorer.resident) == ("v2", "v1")
    assert [s.version for s in (first, second, third)] == ["v1", "v2", "v1"]
    assert first.classes == ("a", "b", "c")
    np.testing.assert_allclose(first.probabilities, softmax(X @ WA), atol=1e-6)
    np.testing.assert_allclose(second.probabilities, softmax(X @ WB / 2), atol=1e-6)
    np.testing.assert_array_equal(third.probabilities, first.probabilities)
    assert (swaps(metrics, "swapped"), swaps(metrics, "resident")) == (2, 2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sha256": "0" * 64}, "sha256 differs"),
        ({"project": "other"}, "belongs to project 'other'"),
        ({"temperature": 0.0}, "must be above 0"),
        ({"temperature": float("nan")}, "must be above 0"),
        ({"inputs": {"x": ("FP32", (5,))}}, "other input tensors"),
        ({"classes": ("a", "b", "z")}, r"does not: \['z'\]"),
        ({"classes": ("a", "b")}, "3 columns, there are 2 classes"),
    ],
)
async def test_a_refused_model_leaves_the_one_before_it_serving(
    scorer: Scorer, metrics: Metrics, change: dict[str, object], reason: str
) -> None:
    """Whatever is wrong with a model or its manifest, serving goes on as it was."""
    await scorer.swap(A, MODEL_A)
    with pytest.raises(ModelRefused, match=reason):
        await scorer.swap(replace(B, **change), MODEL_B)  # type: ignore[arg-type]
    assert (scorer.version, scorer.resident, swaps(metrics, "refused")) == ("v1", "", 1)


async def test_a_model_that_fails_at_the_batch_sizes_in_use_is_refused(scorer: Scorer) -> None:
    """It answers the few rows of the checks, and is warmed with as many as the batches have: what serves goes on serving."""
    await scorer.swap(A, MODEL_A)
    await scorer.score(columns_of(points(64)))
    with pytest.raises(ModelRefused, match="fails on a batch of 64"):
        await scorer.swap(manifest_of(PROJECT, few := of_few_rows(WB, 40), "few"), few)
    assert scorer.version == "v1"


async def test_a_provider_that_onnxruntime_lacks_is_refused_by_name(metrics: Metrics) -> None:
    """onnxruntime would fall back to the CPU in silence, and the operator wonder where the speed went."""
    project = project_of(model={"providers": ["CUDAExecutionProvider", "CPUExecutionProvider"]})
    scorer = Scorer(project, metrics)
    with pytest.raises(ModelRefused, match="has no CUDAExecutionProvider") as refused:
        await scorer.swap(A, MODEL_A)
    assert "model.providers" in refused.value.fix
    scorer.close()


async def test_a_quick_model_answers_at_once_and_a_slow_one_off_the_loop(scorer: Scorer) -> None:
    """Where a run takes less than handing it over does, the batch never leaves the loop; where it takes long, the loop goes on."""

    async def at_once(x: Array) -> bool:
        asked = asyncio.create_task(scorer.score(columns_of(x)))
        await asyncio.sleep(0)
        done = asked.done()
        await asked
        return done

    await scorer.swap(A, MODEL_A)
    assert not await at_once(X)  # nobody knows yet how long it takes
    assert any([await at_once(X) for _ in range(50)])  # a busy machine may make a run look slow, but hardly 50
    slow = deep(4, 3, width=1500)
    await scorer.swap(manifest_of(PROJECT, slow, "slow"), slow)
    assert not any([await at_once(points(300)) for _ in range(3)])


async def test_a_users_file_serves_without_a_trainer(scorer: Scorer) -> None:
    """The version is the file's content; the classes come from the project when the graph names none."""
    manifest = user_manifest(PROJECT, MODEL_A, 5)
    await scorer.swap(manifest, MODEL_A)
    scores = await scorer.score(columns_of(X))
    assert scores.version == manifest.version == f"file-{manifest.sha256[:12]}"
    assert scores.classes == ("a", "b", "c")


async def test_every_record_is_scored_or_dead(scorer: Scorer, metrics: Metrics) -> None:
    """Undecodable, clashing and replayed records beside good ones: all accounted for, and rows stay rows."""
    await scorer.swap(A, MODEL_A)
    good, other = (row.tobytes() for row in X[:2])
    records = [
        StoredRecord(P0.topic, 0, offset, 0, key, value, RAW)
        for offset, (key, value) in enumerate([(b"a", good), (b"b", b"?"), (b"a", good), (b"a", other), (b"c", other)])
    ]
    scored = await Scoring(PROJECT, scorer, metrics).handle({P0: records})
    assert [r.offset for r in scored.columns.records] == [0, 2, 4]
    assert scored.columns.replayed == [1]
    assert sorted((r.offset, bad.reason) for r, bad in scored.dead) == [
        (1, DeadReason.WRONG_TENSOR),
        (3, DeadReason.DUPLICATE_ID),
    ]
    np.testing.assert_allclose(scored.scores.probabilities, softmax(X[[0, 0, 1]] @ WA), atol=1e-6)


async def test_rows_that_the_model_cannot_answer_are_dead(scorer: Scorer, metrics: Metrics) -> None:
    """Finite numbers that overflow inside the model: the row is set aside, its neighbours are predicted."""
    await scorer.swap(A, MODEL_A)
    huge = np.full(4, 3e38, np.float32)
    scored = await Scoring(PROJECT, scorer, metrics).handle(batch_of(X[0].tobytes(), huge.tobytes(), X[1].tobytes()))
    assert [(r.offset, bad.reason) for r, bad in scored.dead] == [(1, DeadReason.MODEL_FAILED)]
    np.testing.assert_allclose(scored.scores.probabilities, softmax(X[:2] @ WA), atol=1e-6)
    assert scored.columns.ids == [b"e0", b"e2"]


async def test_an_empty_batch_and_a_batch_of_dead_records_are_answered(scorer: Scorer, metrics: Metrics) -> None:
    """No row reaches the model, and the classes are named all the same."""
    await scorer.swap(A, MODEL_A)
    scoring = Scoring(PROJECT, scorer, metrics)
    for batch, dead in (({}, 0), (batch_of(b"?"), 1)):
        scored = await scoring.handle(batch)
        assert (len(scored.columns), scored.scores.probabilities.shape, len(scored.dead)) == (0, (0, 3), dead)


async def test_nothing_is_scored_before_it_is_known_what_serves(scorer: Scorer, metrics: Metrics) -> None:
    """After a restart, a batch that comes before the champion is offered again instead of being scored as in a cold start."""
    ready = asyncio.Event()
    scoring = Scoring(PROJECT, scorer, metrics, ready)
    with pytest.raises(SlowDown):
        await scoring.handle(batch_of(X[0].tobytes()))
    ready.set()
    assert len((await scoring.handle(batch_of(X[0].tobytes()))).columns) == 1


async def test_a_batch_in_which_nothing_is_compared_is_told_of_the_rollout_all_the_same(metrics: Metrics) -> None:
    """Event by event, as a quiet stream comes: the sampler forgets what it counted of a rollout whose challenger is not named."""
    scorer = Scorer(PROJECT, metrics)
    await scorer.swap(A, MODEL_A)
    await scorer.share(Trial("v2", 0.0), B, MODEL_B)
    told = []
    for i in range(40):
        columns = columns_of(points(1, seed=i))
        told.append(await scorer.score(replace(columns, ids=[b"%d" % i])))
    scorer.close()
    assert {scores.challenger for scores in told} == {"v2"}
    assert {int(scores.differs[0]) for scores in told if scores.differs is not None} == {-1, 0, 1}


async def test_of_numbers_differences_are_told_too(metrics: Metrics) -> None:
    """Two regressors on trial: of each event that both answered it is known whether they differ by more than the gate's margin."""
    project = project_of(classes=(), labeling={"answer": {"kind": "numeric", "least": -9, "most": 9}})
    scorer = Scorer(project, metrics)
    models = {version: dense(points(4, 1, seed=i)) for i, version in enumerate(("v1", "v2"))}
    manifests = {
        version: manifest_of(project, model, version, form=Form.VALUES, classes=()) for version, model in models.items()
    }
    await scorer.swap(manifests["v1"], models["v1"])
    await scorer.share(Trial("v2", 0.5), manifests["v2"], models["v2"])
    batch = columns_of(points(400))
    scores = await scorer.score(batch)
    scorer.close()
    assert scores.by_challenger is not None
    assert scores.differs is not None
    assert set(scores.differs.tolist()) == {-1, 0, 1}
    v1, v2 = (batch.inputs["x"] @ points(4, 1, seed=i)[:, 0] for i in range(2))
    both = scores.differs >= 0
    np.testing.assert_array_equal(scores.differs[both] == 1, np.abs(v1 - v2)[both] > 0.02 * 18)

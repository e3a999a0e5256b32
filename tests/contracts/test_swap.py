"""I8: a prediction's model version gives exactly that output on that input, also while models change under load."""

from __future__ import annotations

import asyncio

import numpy as np

from tests.support.models import Array, dense, manifest_of, points, project_of, softmax
from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.contracts.tensors import EventColumns, Scores
from tiebreak.runtime.metrics import Metrics
from tiebreak.scoring.stage import Scorer

PROJECT = project_of()
SIZES = (1, 7, 64, 300)


def columns_of(rows: Array) -> EventColumns:
    partition = Partition("tiebreak.test.events", 0)
    records = [StoredRecord(partition.topic, 0, i, 0, b"e", b"") for i in range(len(rows))]
    return EventColumns([b"e"] * len(rows), {"x": rows}, records, [(partition, slice(0, len(rows)))])


async def test_a_swap_under_load_mixes_no_answers() -> None:
    """Batches are scored without a pause while models are swapped and rolled back: no batch fails, each is of one model alone."""
    heads = {f"v{i}": points(4, 3, seed=10 + i) for i in range(4)}
    models = {version: dense(head) for version, head in heads.items()}
    scorer = Scorer(PROJECT, Metrics("test"))
    answered: list[tuple[int, Scores]] = []
    stop = asyncio.Event()

    async def load() -> None:
        turn = 0
        while not stop.is_set():
            size = SIZES[turn % len(SIZES)]
            answered.append((size, await scorer.score(columns_of(points(size)))))
            turn += 1
            await asyncio.sleep(0)  # a quick model answers without giving way

    async def change() -> None:
        for version in ("v1", "v2", "v3"):
            await scorer.swap(manifest_of(PROJECT, models[version], version), models[version])
            await scorer.rollback()
            await scorer.rollback()
        stop.set()

    await scorer.swap(manifest_of(PROJECT, models["v0"], "v0"), models["v0"])
    await asyncio.gather(load(), change())
    scorer.close()
    assert {scores.version for _, scores in answered} >= {"v0", "v1", "v2"}
    for size, scores in answered:
        np.testing.assert_allclose(scores.probabilities, softmax(points(size) @ heads[scores.version]), atol=1e-6)

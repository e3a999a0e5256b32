"""Memory over many events and many model swaps, and a bare loop over the model alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import onnxruntime
import psutil

from loadtests.speed.clocked import Measured, Stopwatch
from loadtests.speed.models import SMALL_LAYERS, perceptron, vectors
from loadtests.speed.pipeline import Pipeline
from tiebreak.contracts.project import Project
from tiebreak.scoring.stage import Scorer
from tiebreak.scoring.user_model import user_manifest

LAP_S = 300.0


async def soak(kafka: str, redis: str, project_json: str, events: int, laps: int, swaps: int) -> Measured:
    """The same ``events`` events ``laps`` times over in one process, each lap in a new group, with ``swaps`` swaps on the way.

    Notes: ``base`` and ``most``, resident bytes after a tenth of the laps and the most after that; ``swapped``.
    """
    project = Project.model_validate_json(project_json)
    began, resident = time.perf_counter(), []
    swapped = dead = 0
    for lap in range(laps):
        pipeline = Pipeline(kafka, redis, project, events, f"lap-{lap}")
        swapping = asyncio.create_task(swap_on(pipeline.scorer, project, swaps // laps, lap))
        try:
            measured = await pipeline.run(LAP_S)
            swapped += await swapping
        finally:
            await pipeline.close()
        dead += int(measured.notes["dead"])
        resident.append(psutil.Process().memory_info().rss)
    first = max(1, laps // 10)
    base, most = float(resident[first - 1]), float(max(resident[first - 1 :]))
    notes = {"base": base, "most": most, "swapped": float(swapped), "dead": float(dead)}
    return Measured(events * laps, time.perf_counter() - began, time.process_time(), notes)


async def swap_on(scorer: Scorer, project: Project, count: int, seed: int) -> int:
    """Swap ``count`` models in, one after the other, once the first one serves."""
    while not scorer.version:  # noqa: ASYNC110 (the scorer tells nobody, and once is enough)
        await asyncio.sleep(0.05)
    for number in range(count):
        await _swap(scorer, project, 1 + seed * count + number)
    return count


async def swap_every(scorer: Scorer, project: Project, every_s: float) -> None:
    """Swap a new model in every ``every_s`` seconds, for ever."""
    with contextlib.suppress(asyncio.CancelledError):
        for seed in range(1, 10**6):
            await asyncio.sleep(every_s)
            await _swap(scorer, project, seed)


async def _swap(scorer: Scorer, project: Project, seed: int) -> None:
    model = perceptron(SMALL_LAYERS, seed)
    manifest = replace(user_manifest(project, model, 0), version=f"swap-{seed}-{sha256(model).hexdigest()[:8]}")
    await scorer.swap(manifest, model)


async def serve(kafka: str, redis: str, project_json: str, group: str, seconds: float, swap_s: float = 0.0) -> Measured:
    """The pipeline for ``seconds``, for a probe to talk to; a new model every ``swap_s`` seconds (0: none)."""
    project = Project.model_validate_json(project_json)
    pipeline = Pipeline(kafka, redis, project, 2**62, group)
    swapping = asyncio.create_task(swap_every(pipeline.scorer, project, swap_s)) if swap_s else None
    began = time.perf_counter()
    try:
        with contextlib.suppress(TimeoutError):
            await pipeline.run(seconds)
    finally:
        if swapping is not None:
            swapping.cancel()
        await pipeline.close()
    return Measured(1, time.perf_counter() - began, time.process_time(), {"dead": float(pipeline.watched.dead)})


async def session_loop(model_file: str, batches: list[int], seconds: float) -> Measured:
    """Bare ``session.run`` for ``seconds`` per batch size: the best rate; in the notes its size, and the ms of a row alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        await asyncio.to_thread(Path(model_file).read_bytes), options, providers=["CPUExecutionProvider"]
    )
    found = {size: _rate(session, size, seconds) for size in [1, *batches]}
    best = max(batches, key=lambda size: found[size].rate)
    return replace(found[best], notes={"batch": best, "row_ms": 1000.0 / found[1].rate})


def _rate(session: onnxruntime.InferenceSession, size: int, seconds: float) -> Measured:
    inputs = {"x": vectors(size)}
    session.run(None, inputs)
    watch, end = Stopwatch(0), time.perf_counter() + seconds
    watch.add(0)
    while time.perf_counter() < end:
        session.run(None, inputs)
        watch.add(size)
    return watch.measured()

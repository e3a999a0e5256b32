"""Runs the control arms, each in a process of its own: the same arms give the same results, however many cores there are."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from tiebreak.apps.demo.control import Arm, ArmResult, Ladder, run_arm
from tiebreak.apps.demo.world import World
from tiebreak.contracts.project import Project

# As many labels as the live arm, from several seeds: the comparison. More labels: how many random needed.
EQUAL_SEEDS = 4
MORE_SHARES, MORE_SEEDS = (1.5, 2.0, 3.0), 2


@dataclass(frozen=True, slots=True)
class Trial:
    """What every arm runs against; ``seed`` is that of the first arm, the others count on from it."""

    world: World
    ladder: Ladder
    project: Project
    error_rate: float
    seed: int


async def run_arms(trial: Trial, enough: Callable[[Sequence[ArmResult]], bool], workers: int = 0) -> list[ArmResult]:
    """All arms with equal labels, then arms with more and more until ``enough`` says that random has caught up.

    ``workers`` 0: one per core, at most four.
    """
    count = workers or min(4, os.cpu_count() or 1)
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_ignore_ctrl_c)
    try:
        results = await _batch(pool, trial, [Arm(1.0, trial.seed + i) for i in range(EQUAL_SEEDS)])
        for share in MORE_SHARES:
            more = await _batch(pool, trial, [Arm(share, trial.seed + i) for i in range(MORE_SEEDS)])
            results += more
            if enough(more):
                break
        return results
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # Whoever was cancelled does not wait for arms that nobody wants any more; idle workers lose nothing.
        for worker in multiprocessing.active_children():
            worker.terminate()


async def _batch(pool: ProcessPoolExecutor, trial: Trial, arms: Sequence[Arm]) -> list[ArmResult]:
    loop = asyncio.get_running_loop()
    return list(await asyncio.gather(*(loop.run_in_executor(pool, _run, trial, arm) for arm in arms)))


def _run(trial: Trial, arm: Arm) -> ArmResult:
    # One BLAS thread, as in the trainer: the last bits, and with them the results, are the same on every machine's load.
    with threadpool_limits(1):
        return run_arm(trial.world, trial.ladder, trial.project, trial.error_rate, arm)


def _ignore_ctrl_c() -> None:
    # It reaches the whole terminal group; the demo ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

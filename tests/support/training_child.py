"""A trainer in a process of its own that dies at its n-th SQL statement.

``python -m tests.support.training_child LEDGER N [LEARNER]``.

The log is in memory and filled anew by each run with the same 60 labels at the same offsets, 20 more after each candidate, as
a broker that outlives the trainer would have them. N = 0: live to the end and print the statements made and the digest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog

from tests.support.labels import blob_labels, project_of
from tests.support.training import Running, ServeAll, log_for, publish_labels
from tiebreak.contracts.candidate import Candidate
from tiebreak.contracts.errors import ConfigError, SlowDown
from tiebreak.contracts.log import Log
from tiebreak.contracts.project import Project, Training

T = TypeVar("T")
PROJECT = project_of([2], ("a", "b", "c"))
LABELS = blob_labels(60)


class MoreLabels(ServeAll):
    """Twenty labels more after each candidate, as people would answer the questions of the model that serves."""

    def __init__(self, log: Log, given: int) -> None:
        super().__init__()
        self.log, self.given = log, given

    async def consider(self, candidate: Candidate) -> None:
        await super().consider(candidate)
        await publish_labels(self.log, PROJECT, LABELS[self.given : self.given + 20])
        self.given += 20


class Inline(ThreadPoolExecutor):
    """Runs what it is given at once, in the thread that gives it: system calls are counted per thread, and ours are one sequence."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except (SlowDown, ConfigError) as error:
            done.set_exception(error)
        return done


async def live(path: Path, kill_at: int = 0, project: Project = PROJECT) -> tuple[int, str, str]:
    """Statements made, and the digest and version of the last candidate."""
    log = await log_for(PROJECT)
    made = 0

    def count(_statement: str) -> None:
        nonlocal made
        made += 1
        if made == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sink = MoreLabels(log, 20)
    run = Running(project, log, path, sink)
    run.collected = sink
    # What an earlier life has read is on the topic, at the same offsets.
    sink.given = max(20, run.ledger.dataset_version())
    await publish_labels(log, PROJECT, LABELS[: sink.given])
    run.written._db.set_trace_callback(count)
    async with run:
        await run.trains(len(LABELS))
    return made, sink.candidates[-1].digest, sink.candidates[-1].manifest.version


async def main(path: Path, kill_at: int, learner: str) -> None:
    # The answer alone goes to standard output.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.get_running_loop().set_default_executor(Inline(1))
    training = Training.model_validate({**PROJECT.training.model_dump(exclude_unset=True), "learner": learner})
    project = PROJECT.model_copy(update={"training": training})
    sys.stdout.write("{} {} {}\n".format(*await live(path, kill_at, project)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4] or ["auto"]))

"""A trainer in a process of its own that dies at its n-th SQL statement: ``python -m tests.support.training_child LEDGER N``.

The log is in memory and filled anew by each run with the same 60 labels at the same offsets, 20 more after each candidate, as
a broker that outlives the trainer would have them. N = 0: live to the end and print the statements made and the digest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog

from tests.support.labels import blob_labels, project_of
from tests.support.training import Running, ServeAll, log_for, publish_labels
from tiebreak.contracts.candidate import Candidate
from tiebreak.contracts.log import Log

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


async def main(path: Path, kill_at: int) -> None:
    # The answer alone goes to standard output.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    log = await log_for(PROJECT)
    made = 0

    def count(_statement: str) -> None:
        nonlocal made
        made += 1
        if made == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sink = MoreLabels(log, 20)
    run = Running(PROJECT, log, path, sink)
    run.collected = sink
    # What an earlier life has read is on the topic, at the same offsets.
    sink.given = max(20, run.ledger.dataset_version())
    await publish_labels(log, PROJECT, LABELS[: sink.given])
    run.ledger._db.set_trace_callback(count)
    async with run:
        await run.trains(len(LABELS))
    sys.stdout.write(f"{made} {sink.candidates[-1].digest} {sink.candidates[-1].manifest.version}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))

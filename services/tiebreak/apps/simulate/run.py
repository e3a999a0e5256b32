"""All arms of a simulation, each in a process of its own: the same arms give the same results, however many cores there are."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from queue import Queue
from threading import Thread

from threadpoolctl import threadpool_limits

from tiebreak.apps.simulate.answers import target_for
from tiebreak.apps.simulate.arms import Arm, selector_of
from tiebreak.apps.simulate.replay import Outcome, Pace, People, Replay
from tiebreak.apps.simulate.stream import Stream
from tiebreak.contracts.project import Project
from tiebreak.training.sklearn_learners import contest_of


@dataclass(frozen=True, slots=True)
class Trial:
    """What every arm runs against."""

    stream: Stream
    project: Project
    people: People
    pace: Pace


def run_arms(trial: Trial, arms: Sequence[Arm], workers: int, progress: Callable[[int], None]) -> list[Outcome]:
    """The outcomes of ``arms``, in their order; ``progress`` hears of events as they are replayed, in this process."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        heard: Queue[int | None] = manager.Queue()
        listener = Thread(target=_listen, args=(heard, progress), daemon=True)
        listener.start()
        count = min(workers or os.cpu_count() or 1, len(arms))
        with ProcessPoolExecutor(count, context, initializer=_ignore_ctrl_c) as pool:
            outcomes = list(pool.map(_run, [trial] * len(arms), arms, [heard] * len(arms)))
        heard.put(None)
        listener.join()
    return outcomes


def run_arm(trial: Trial, arm: Arm, progress: Callable[[int], None] | None = None) -> Outcome:
    """One arm, on one thread: the last bits, and with them the results, are the same on every machine's load."""
    training = trial.project.training.model_copy(update={"seed": arm.seed})
    selector = selector_of(trial.project, arm)
    target = target_for(trial.project, trial.stream.classes)
    replay = Replay(
        trial.stream,
        selector,
        contest_of(training, trial.stream.x.shape[1], target, trial.stream.vectors),
        training,
        trial.people,
        trial.pace,
        arm.seed,
    )
    with threadpool_limits(1):
        return replay.run(progress)


def _run(trial: Trial, arm: Arm, heard: Queue[int | None]) -> Outcome:
    counted = 0

    def progress(events: int) -> None:
        nonlocal counted
        counted += events
        # A message per batch would cost more than small models do.
        if counted >= 512:
            heard.put(counted)
            counted = 0

    outcome = run_arm(trial, arm, progress)
    heard.put(counted)
    return outcome


def _listen(heard: Queue[int | None], progress: Callable[[int], None]) -> None:
    while (events := heard.get()) is not None:
        progress(events)


def _ignore_ctrl_c() -> None:
    # It reaches the whole terminal group; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

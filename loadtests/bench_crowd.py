"""Measure consensus: votes against a fixed overlap of 3, the online posterior against Crowd-Kit's batch (CROWDKIT=python), its cost"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from loadtests.crowd import cheats
from loadtests.crowd.people import AT_WORK, Asked, Kind, World, ask, votes_at
from loadtests.figures import Figure, judged, save, show

BOUNDS = (0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
STANDARD = 0.95  # the default of `labeling.confidence`
_PEER = Path(".cache/peers/crowd-kit/bin/python")


@dataclass(frozen=True, slots=True)
class Ask:
    """From the environment: QUICK, SEEDS, TASKS, CROWDKIT (a Python that has crowd-kit)."""

    tasks: int
    seeds: int
    judge: bool
    peer: Path

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Ask:
        """With defaults."""
        quick = environment.get("QUICK", "") not in {"", "0"}
        return cls(
            tasks=int(environment.get("TASKS", "1000" if quick else "2000")),
            seeds=int(environment.get("SEEDS", "1" if quick else "4")),
            judge=not quick,
            peer=Path(environment.get("CROWDKIT", _PEER)),
        )


Runs = Mapping[tuple[Kind, int, float], tuple[World, Asked]]


def best_next(wanted: Ask, runs: Runs, anybody: Runs) -> list[Figure]:
    """The same where the next answer is that of the best of those at work, and what that does at the default bound."""
    saved, *kinds = savings(wanted, runs)
    found = [Figure("votes saved, best next person", saved.value, "", None, f"{AT_WORK} at work; {saved.how}")]
    for kind, figure in zip(Kind, kinds, strict=True):
        both = []
        for made in (runs, anybody):
            lines = [made[kind, seed, STANDARD] for seed in range(wanted.seeds)]
            right = mean(asked.accuracy(world) for world, asked in lines)
            both.append(f"{right:.1%} with {mean(asked.votes for _, asked in lines) / wanted.tasks:.2f} votes")
        how = f"at the default bound {both[0]}, whoever comes {both[1]}"
        found.append(Figure(f"best next, people {kind}", figure.value, "", None, how))
    return found


def savings(wanted: Ask, runs: Runs) -> list[Figure]:
    """Per kind of crowd: votes saved where the labels are as right as the majority of three."""
    found, all_saved = list[Figure](), list[float]()
    for kind in Kind:
        saved, plain, sure = list[float](), list[float](), list[float]()
        for seed in range(wanted.seeds):
            world = runs[kind, seed, STANDARD][0]
            line = [
                (asked.accuracy(world), asked.votes / wanted.tasks)
                for bound in BOUNDS
                for world, asked in [runs[kind, seed, bound]]
            ]
            plain.append(world.majority(3))
            saved.append(1.0 - votes_at(plain[-1], line) / 3.0)
            sure.append(line[BOUNDS.index(STANDARD)][0])
        votes = mean(runs[kind, seed, STANDARD][1].votes / wanted.tasks for seed in range(wanted.seeds))
        how = f"majority of three {mean(plain):.1%}; at the default bound {mean(sure):.1%} with {votes:.2f} votes"
        found.append(Figure(f"votes saved, people {kind}", mean(saved), "", None, how))
        all_saved.append(mean(saved))
    how = f"{len(Kind)} kinds of crowd, {wanted.seeds} seeds of {wanted.tasks} tasks; least {min(all_saved):.1%}"
    return [judged("crowd", "votes saved at the same accuracy", mean(all_saved), how, judge=wanted.judge), *found]


def against_batch(wanted: Ask, runs: Runs) -> list[Figure]:
    """How many labels are the same as those of the batch over the same answers."""
    if not wanted.peer.exists():
        sys.stderr.write(f"{wanted.peer} is missing: make a virtual environment with crowd-kit, or name its python.\n")
        return [judged("crowd", "labels equal to batch Dawid-Skene", None, "Crowd-Kit is not installed")]
    same = labels = every = tasks = settled = 0
    for (_, _, bound), (_, asked) in runs.items():
        if bound != STANDARD:
            continue
        batch = batch_labels(wanted.peer, asked)
        same += sum(batch[task] == asked.best[task] for task in asked.labels)
        settled += sum(batch[task] == value for task, value in asked.labels.items())
        every += sum(batch[task] == value for task, value in asked.best.items())
        labels, tasks = labels + len(asked.labels), tasks + len(asked.best)
    how = f"{labels:,} settled tasks, as known at the end of the run"
    return [
        judged("crowd", "labels equal to batch Dawid-Skene", same / labels, how, judge=wanted.judge),
        Figure("the same, labels as they were settled", settled / labels, "", None, "never looked at again"),
        Figure("the same, all tasks", every / tasks, "", None, f"{tasks - labels:,} of them would go to review"),
    ]


def suspicions(wanted: Ask) -> list[Figure]:
    """Cheats found, and honest people taken for cheats."""
    crowds, tasks = (200, 1000) if wanted.judge else (20, 1000)
    found = cheats.measure(crowds, tasks)
    how = f"{crowds} crowds of 12 people, {tasks} tasks with 5 answers"
    few = 10 if wanted.judge else 2
    free, capped = (cheats.harm(few, tasks, capped=capped) for capped in (False, True))
    said = f"{few} crowds, majority of 3 to 5, the second half of {tasks} tasks"
    return [
        judged("crowd", "honest crowds with somebody suspected", found.honest, how, judge=wanted.judge),
        Figure("the same, a fifth of the tasks misleads half of the people", found.hard, "", None, how),
        Figure("a person who says one class 95 % of the time: found", found.one_class, "", None, how),
        Figure("two people who share one random guess: both found", found.colluding, "", None, how),
        Figure(
            "four of them: three or four found", found.ring, "", None, f"{how}; somebody honest too {found.accused:.1%}"
        ),
        Figure("labels that they make wrong", free.wrong, "", None, f"{free.settled:.1%} settled; {said}"),
        Figure("the same with their influence capped", capped.wrong, "", None, f"{capped.settled:.1%} settled; {said}"),
    ]


def batch_labels(python: Path, asked: Asked) -> dict[int, str]:
    """What Crowd-Kit makes of the answers, in its own process."""
    lines = "".join(f"{task}\t{person}\t{value}\n" for task, person, value in asked.said)
    script = Path(__file__).parent / "crowd" / "crowdkit.py"
    done = subprocess.run(
        [str(python), "-I", str(script)], input=lines, capture_output=True, text=True, check=True, timeout=600
    )
    return {int(task): label for task, label in (line.split("\t") for line in done.stdout.splitlines())}


def main() -> None:
    """Print the table, write the results; an error where a full run misses its reach."""
    wanted = Ask.read(os.environ)
    runs: dict[tuple[Kind, int, float], tuple[World, Asked]] = {}
    best: dict[tuple[Kind, int, float], tuple[World, Asked]] = {}
    for kind in Kind:
        for seed in range(wanted.seeds):
            world = World.make(kind, seed, wanted.tasks)
            for bound in BOUNDS:
                runs[kind, seed, bound] = (world, ask(world, bound))
                best[kind, seed, bound] = (world, ask(world, bound, AT_WORK))
    took = np.concatenate([asked.update_s for _, asked in runs.values()]) * 1000.0
    how = f"of {len(took):,}; p99 {np.percentile(took, 99):.2f} ms; answer in, decision out"
    update = judged("crowd", "one posterior update, median (ms)", float(np.median(took)), how, judge=wanted.judge)
    saved = [*savings(wanted, runs), *best_next(wanted, best, runs)]
    found = [*saved, *against_batch(wanted, runs), update, *suspicions(wanted)]
    show("Consensus", found)
    save("crowd", found)
    if any(figure.ok is False for figure in found):
        sys.exit(1)


if __name__ == "__main__":
    main()

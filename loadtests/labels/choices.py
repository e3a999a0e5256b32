"""Does the contest take the plan that is best today? ``python -m loadtests.labels.choices FOLDER [STREAM ...]`` (SEEDS, BUDGET, ARMS).

At some numbers of labels of a replay every plan, fitted to what there is, is judged by the rows held out. Printed is how many points
the one that was picked is behind the best of them, which nobody could have known, and how many each plan is behind it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from loadtests.labels import panel
from loadtests.labels.cells import Cell, learning_of, replay_of, told_of
from tiebreak.apps.simulate.stream import Stream
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import Row
from tiebreak.training.plans import Plan
from tiebreak.training.sklearn_learners import contest_of

ARMS = ("tiebreak+auto+along", "tiebreak+auto+names+along", "tiebreak+auto+names+wrong+along")
AT = (60, 100, 150, 200, 250, 300, 370, 430, 520, 620, 740, 860)
PICKED = "picked"


class Watched(Contest):
    """A contest whose choices are judged; ``behind`` has points by plan, and of what was picked, for each number of labels."""

    def __init__(self, plans: Sequence[Plan], seed: int, stream: Stream) -> None:
        super().__init__(plans, seed)
        self._stream, self._next = stream, list(AT)
        self.behind: list[dict[str, float]] = []

    def pick(self, rows: Sequence[Row], classes: Sequence[str], audit: Sequence[Row] = ()) -> Plan:
        plan = super().pick(rows, classes, audit)
        if self._next and len(rows) >= self._next[0]:
            self._next = [at for at in self._next if at > len(rows)]
            right = {one.name: self._right(one, rows, classes) for one in self.plans}
            best = max(right.values())
            self.behind.append({name: best - share for name, share in (right | {PICKED: right[plan.name]}).items()})
        return plan

    def _right(self, plan: Plan, rows: Sequence[Row], classes: Sequence[str]) -> float:
        said = plan.predictor(rows, classes).probabilities(self._stream.held_x).argmax(axis=1)
        columns = np.array([self._stream.classes.index(name) for name in classes])
        return 100.0 * float((columns[said] == self._stream.held_y).mean())


def judged(cell: Cell, data: Path) -> list[dict[str, float]]:
    """How far plans were behind the best in the replay of one cell, for each number of labels."""
    entry = panel.entry(data, cell.stream)
    stream, training = told_of(cell, entry), learning_of(entry, cell.arm)
    plans = contest_of(training, stream.x.shape[1], names=stream.vectors).plans
    watched = Watched(plans, training.seed, stream)
    with threadpool_limits(1):
        replay_of(cell, stream, training, watched).run()
    return watched.behind


def main() -> None:
    """A line per stream and arm, means over seeds and numbers of labels."""
    data, streams = Path(sys.argv[1]), sys.argv[2:] or ["hwu64+tail", "clinc150_lt"]
    budget, seeds = float(os.environ.get("BUDGET", "0.1")), int(os.environ.get("SEEDS", "2"))
    for stream in streams:
        for arm in os.environ.get("ARMS", "").split() or ARMS:
            found = [one for seed in range(seeds) for one in judged(Cell(stream, arm, budget, seed), data)]
            means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
            others = ", ".join(f"{name} {mean:.1f}" for name, mean in means.items() if name != PICKED)
            print(
                f"{stream:12} {arm:32} picked {means[PICKED]:.2f} points behind the best; always {others}", flush=True
            )


if __name__ == "__main__":
    main()

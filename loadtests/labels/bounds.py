"""What part of a saving is the learner's and what the choice's: a simpler recipe, its learner, and an oracle, beside ours.

``[DATA=folder] STREAMS='swap segments' SEEDS=4 python -m loadtests.labels.bounds``; random's cells and ours with the trainer's
learner are kept in ``CACHE``, as those of the benchmark are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from loadtests.labels import panel
from loadtests.labels.cells import Cell, Result, Store, learning_of, project_of, result_of
from loadtests.labels.savings import Book
from tiebreak.apps.simulate.replay import Pace, People, Replay
from tiebreak.apps.simulate.selecting import Pick, PolicySelector, Selector, UniformSelector
from tiebreak.apps.simulate.stream import Stream
from tiebreak.contracts.project import Training
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling.acquisition import margin
from tiebreak.sampling.appraisal import Scored
from tiebreak.sampling.diversity import unit_rows
from tiebreak.training.contest import Contest
from tiebreak.training.features import FeatureMap
from tiebreak.training.learner import SoftmaxModel, TrainingSet, softmax
from tiebreak.training.plans import Plan
from tiebreak.training.sklearn_learners import contest_of

BUDGETS = (0.05, 0.1, 0.2)
CURVE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0)
ALL = 1.0
CHOICES = ("recipe", "tiebreak", "oracle")
MANY = 10**9
WAVES, SCALE, TEXT = 192, 8.0, 256


class Steps:
    """The recipe's learner: a linear softmax, three steps of 32 labels for each new one, half of them among the newest 128."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._names: list[str] = []
        self._known = 0
        self._head = self._speed = np.zeros((0, 0), np.float32)

    def fit(self, labels: TrainingSet) -> SoftmaxModel:
        """Go on from the labels known: rows that were there stay where they were."""
        self._names += [name for name in labels.classes if name not in self._names]
        place = [self._names.index(name) for name in labels.classes]
        x = np.hstack([labels.x, np.ones((len(labels), 1), np.float32)])
        grown = np.zeros((x.shape[1], len(self._names)), np.float32)
        head, speed = grown, grown.copy()
        if self._head.size:
            head[:, : self._head.shape[1]], speed[:, : self._head.shape[1]] = self._head, self._speed
        right = np.asarray(place)[labels.targets.argmax(axis=1)]
        n, new = len(x), len(x) - self._known
        for turn in range(max(2, 3 * new)):
            rows = self._rng.integers(0, n, 32)
            rows[:16] = n - 1 - self._rng.integers(0, min(n, 128), 16)
            rows[0] = n - 1 - turn % max(1, new)
            slope = softmax(x[rows] @ head)
            slope[np.arange(32), right[rows]] -= 1.0
            speed = 0.9 * speed - 0.05 * (x[rows].T @ slope / 32.0 + 1e-4 * head)
            head = head + speed
        self._head, self._speed, self._known = head, speed, n
        width = labels.x.shape[1]
        bare = FeatureMap(
            np.zeros(width, np.float32), np.ones(width, np.float32), np.zeros((0, width), np.float32), 1.0
        )
        return SoftmaxModel(labels.classes, bare, head[:-1, None, place], head[-1:, place], 0, whole=True)


class OnRaw(PolicySelector):
    """Our policy, which sees the stream's own features whatever the learner is given."""

    def __init__(self, stream: Stream, seed: int, budget: float, training: Training) -> None:
        project = project_of(stream, seed, training)
        sampling = project.sampling.model_copy(update={"target_share": budget})
        plenty = project.budget.model_copy(update={"labels_per_hour": 1e9})
        super().__init__(project.model_copy(update={"sampling": sampling, "budget": plenty}))
        self._x = stream.x

    def select(self, batch: Scored, at: int) -> Sequence[Pick]:
        x = self._x[at : at + len(batch)]
        return super().select(replace(batch, features=x, inputs=x), at)


class Recipe:
    """Margin, Gumbel noise of a quarter, what the last 32 questions resemble, a quantile of 256 scores, a token bucket of one label;
    the first events, up to 30, are all asked about."""

    def __init__(self, units: FloatArray, budget: float, seed: int) -> None:
        self._units, self._rng = units, np.random.default_rng((seed, 0x5EC))
        n = len(units)
        self._first = int(max(5.0, min(30.0, 0.25 * budget * n)))
        self._share = max(1e-4, (budget * n - self._first) / (n - self._first))
        self._scores: list[float] = []
        self._asked: list[int] = []
        self._owed = 0.0

    def select(self, batch: Scored, at: int) -> Sequence[Pick]:
        """One score after another: what is asked about counts for the rest of the batch."""
        u = margin(batch.probabilities) if batch.probabilities.shape[1] > 1 else np.ones(len(batch))
        scores = np.log(u + 1e-3) + self._rng.gumbel(size=len(batch)) / 4.0
        return [Pick(row) for row in range(len(batch)) if self._asks(at + row, float(scores[row]))]

    def _asks(self, event: int, score: float) -> bool:
        like = float((self._units[self._asked[-32:]] @ self._units[event]).max()) if self._asked else 0.0
        score += log(1.001 - max(0.0, min(1.0, like) - 0.75) / 0.25)
        self._scores = [*self._scores[-255:], score]
        first = event < self._first
        self._owed += 0.0 if first else self._share
        level = float(np.quantile(self._scores, 1.0 - self._share))
        level -= (max(self._scores) - min(self._scores)) * self._owed / 50.0
        asks = first or (score >= level and self._owed > -1.0)
        if asks:
            self._asked.append(event)
            self._owed -= 0.0 if first else 1.0
        return asks


class Oracle:
    """Chance among the events that the model gets wrong, and nothing else: no choice knows more of where the mistakes are."""

    def __init__(self, stream: Stream, budget: float, seed: int) -> None:
        self._stream, self._budget, self._rng = stream, budget, np.random.default_rng((seed, 0x0AC))
        self._wrong, self._owed = 0.5, 0.0

    def select(self, batch: Scored, at: int) -> Sequence[Pick]:
        """As many as the budget has, as evenly as mistakes come."""
        picks = []
        said = batch.probabilities.argmax(axis=1) if batch.probabilities.shape[1] > 1 else None
        for row in range(len(batch)):
            wrong = said is None or batch.classes[said[row]] != self._stream.text(at + row)
            self._owed += self._budget
            self._wrong += 0.01 * (wrong - self._wrong)
            part = self._budget / max(self._wrong, self._budget) * (1.0 + 0.1 * self._owed)
            if wrong and self._rng.random() < part:
                self._owed -= 1.0
                picks.append(Pick(row))
        return picks


def waves(stream: Stream, seed: int) -> Stream:
    """The stream in the features of the recipe's learner: random Fourier features beside the columns; embeddings as they are."""
    if stream.x.shape[1] >= TEXT:
        return replace(stream, x=stream.x * np.float32(SCALE), held_x=stream.held_x * np.float32(SCALE))
    rng, first = np.random.default_rng(1000 + seed), stream.x[:300].astype(np.float64)
    apart = np.sqrt(np.maximum(((first[:, None] - first[None]) ** 2).sum(axis=2), 0.0))
    width = stream.x.shape[1]
    turns = rng.normal(size=(width, WAVES)) * 1.5 / np.median(apart[np.triu_indices(len(first), 1)])
    begins = rng.uniform(0.0, 2.0 * np.pi, WAVES)

    def of(x: FloatArray) -> FloatArray:
        both = np.sqrt(2.0 / WAVES) * np.cos(x @ turns + begins), x * (0.35 / np.sqrt(width))
        return np.asarray(SCALE * np.hstack(both), np.float32)

    return replace(stream, x=of(stream.x), held_x=of(stream.held_x))


def computed(cell: Cell, data: Path | None, learner: str) -> Result:
    """One cell whose arm is ``random`` or of ``CHOICES``, with the learner ``steps`` or ``softmax``."""
    entry = panel.entry(data, cell.stream)
    stream = replace(entry.load(cell.seed), vectors={})
    seen, training = waves(stream, cell.seed), learning_of(entry, cell.arm)
    selectors: Mapping[str, Selector] = {
        "random": UniformSelector(cell.budget, cell.seed),
        "recipe": Recipe(unit_rows(seen.x), cell.budget, cell.seed),
        "tiebreak": OnRaw(stream, cell.seed, cell.budget, training),
        "oracle": Oracle(stream, cell.budget, cell.seed),
    }
    pace = Pace(growth=0.1 if cell.budget > 0.25 else 0.05, held_out_curve=False)
    contest = contest_of(training, stream.x.shape[1])
    if learner == "steps":
        # After each batch that brought a label, as the recipe does.
        training, pace = training.model_copy(update={"min_labels": 2, "step_labels": 1}), replace(pace, growth=0.0)
        contest, stream = Contest([Plan("steps", Steps(cell.seed), MANY, MANY, cell.seed)], cell.seed, MANY), seen
    with threadpool_limits(1):
        outcome = Replay(stream, selectors[cell.arm], contest, training, People(), pace, cell.seed).run()
    return result_of(cell, entry, stream, outcome)


def main() -> None:
    """Print what each choice saves with each learner, against random with the same one."""
    environment = os.environ
    data = Path(environment["DATA"]).resolve() if environment.get("DATA") else None
    seeds, store = (
        range(int(environment.get("SEEDS", "4"))),
        Store(Path(environment.get("CACHE", ".cache/bench_labels"))),
    )
    table = Table("stream", "learner", "choice", *(f"{b:.0%}" for b in BUDGETS), "right there", "random, all labels")
    for stream in environment.get("STREAMS", "swap segments").split():
        for learner in ("steps", "softmax"):
            book = Book({cell: _cell(cell, data, learner, store) for seed in seeds for cell in _cells(stream, seed)})
            full = np.mean([result.score for result in book.of(stream, "random", ALL)])
            for arm in CHOICES:
                saved = [book.saving(stream, arm, b) for b in BUDGETS]
                right = [np.mean([result.score for result in book.of(stream, arm, b)]) for b in BUDGETS]
                cells = [f"{100 * one.mean:+.0f} ±{100 * one.half:.0f}" for one in saved]
                table.add_row(
                    stream, learner, arm, *cells, " / ".join(f"{100 * x:.1f}" for x in right), f"{100 * full:.1f}"
                )
    Console(width=150).print(table)


def _cells(stream: str, seed: int) -> list[Cell]:
    return [Cell(stream, "random", b, seed) for b in CURVE] + [
        Cell(stream, a, b, seed) for a in CHOICES for b in BUDGETS
    ]


def _cell(cell: Cell, data: Path | None, learner: str, store: Store) -> Result:
    if learner == "steps" or cell.arm not in {"random", "tiebreak"}:
        return computed(cell, data, learner)
    return store.all([cell], data, 1, lambda _: None)[cell]


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()

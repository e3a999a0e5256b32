"""The replay: score, select, answer after a delay, learn; the same policy and learner as in the running system. Pure.

Left out are the queue, the wire and ONNX, which change no number: a graph answers as its model does, to float32.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import nan
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tiebreak.apps.simulate.selecting import Bursts, Pick, PolicySelector, Selector
from tiebreak.apps.simulate.stream import Ints, Stream
from tiebreak.contracts.project import Training
from tiebreak.sampling.appraisal import Scored
from tiebreak.sampling.bandit import Returned
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import Row, classes_of
from tiebreak.training.learner import Model

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class People:
    """Answers come ``delay`` events after the question, and a share ``error_rate`` of them names another class."""

    delay: int = 0
    error_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """``batch`` events are scored with one model; it is fitted anew once labels have grown by ``growth`` (and ``step_labels``).

    ``checkpoints`` points of the curve are taken; the held-out rows are judged at each one, or at the end alone.
    """

    batch: int = 32
    growth: float = 0.05
    checkpoints: int = 20
    held_out_curve: bool = True


@dataclass(frozen=True, slots=True)
class Point:
    """After ``events``: labels asked for so far, accuracy on the events since the last point, and on the held-out rows."""

    events: int
    labels: int
    recent: float
    held_out: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay found. ``asked`` are event numbers, ``predicted`` ``(n,)`` class indices with -1 before the first model.

    ``second_half`` is the accuracy of predictions made before their label was known, on the second half of the stream.
    """

    asked: Ints
    predicted: Ints
    curve: tuple[Point, ...]
    thresholds: tuple[tuple[int, float], ...]
    bursts: Bursts
    prequential: float
    second_half: float
    held_out: float
    rare_f1: float
    models: int
    decide_us: float


@dataclass(slots=True)
class _Scratch:
    """Mutable state of one replay."""

    rows: list[Row] = field(default_factory=list)
    fitted: int = 0
    models: int = 0
    model: Model | None = None
    columns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    asked: list[int] = field(default_factory=list)
    waiting: deque[tuple[int, int, Pick]] = field(default_factory=deque)
    thresholds: list[tuple[int, float]] = field(default_factory=list)
    curve: list[Point] = field(default_factory=list)
    decided_s: float = 0.0


class Replay:
    """One stream, one selector, one seed. ``run`` once."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a replay is made of
        self,
        stream: Stream,
        selector: Selector,
        contest: Contest,
        training: Training,
        people: People,
        pace: Pace,
        seed: int,
    ) -> None:
        self._stream, self._selector, self._contest = stream, selector, contest
        self._training, self._people, self._pace = training, people, pace
        self._rng = np.random.default_rng((seed, 0xA5))
        self._index = {name: i for i, name in enumerate(stream.classes)}
        # Whose name has a vector is known from the start; the others are as they are labelled.
        self._declared = tuple(name for name in stream.classes if name in stream.vectors)
        self._s = _Scratch()

    def run(self, progress: Callable[[int], None] | None = None) -> Outcome:
        """Replay the whole stream; ``progress`` hears how many events each batch had."""
        stream, s, batch = self._stream, self._s, self._pace.batch
        n = len(stream)
        predicted = np.full(n, -1, dtype=np.int64)
        marks = np.linspace(0, n, self._pace.checkpoints + 1)[1:].astype(int).tolist()
        last = 0
        for start in range(0, n, batch):
            stop = min(n, start + batch)
            scored = self._scored(start, stop)
            if s.model is not None:
                predicted[start:stop] = s.columns[scored.probabilities.argmax(axis=1)]
            began = perf_counter()
            picks = self._selector.select(scored, start)
            s.decided_s += perf_counter() - began
            self._ask(start, picks)
            self._answer(stop, predicted)
            if marks and stop >= marks[0]:
                while marks and stop >= marks[0]:
                    marks.pop(0)
                self._mark(predicted, last, stop)
                last = stop
            if progress is not None:
                progress(stop - start)
        return self._outcome(predicted)

    def _scored(self, start: int, stop: int) -> Scored:
        x = self._stream.x[start:stop]
        model = self._s.model
        members = None if model is None else model.members(x)
        return Scored(
            ids=[b"%d" % i for i in range(start, stop)],
            version=str(self._s.models),
            probabilities=np.zeros((len(x), 0), np.float32) if model is None else model.probabilities(x),
            members=members,
            features=x,
            inputs=x,
            classes=[self._stream.classes[column] for column in self._s.columns.tolist()],
            offset=stop - 1,
        )

    def _ask(self, start: int, picks: Sequence[Pick]) -> None:
        for pick in picks:
            at = start + pick.row
            self._s.asked.append(at)
            self._s.waiting.append((at + self._people.delay, at, pick))
            if pick.threshold == pick.threshold:
                self._s.thresholds.append((at, pick.threshold))

    def _answer(self, stop: int, predicted: Ints) -> None:
        s = self._s
        while s.waiting and s.waiting[0][0] < stop:
            _, at, pick = s.waiting.popleft()
            row = self._row(at, pick.propensity)
            self._hear(row, pick, int(predicted[at]))
            if not pick.audit:
                s.rows.append(row)
        due = max(self._training.step_labels, int(self._pace.growth * s.fitted))
        enough = self._training.min_labels if s.model is None else s.fitted + due
        if len(s.rows) >= enough:
            self._fit()

    def _hear(self, row: Row, pick: Pick, predicted: int) -> None:
        if predicted < 0 or not isinstance(self._selector, PolicySelector):
            return
        said = self._stream.classes[predicted]
        returned = Returned(pick.strategy, pick.audit, said, row.value, row.features)
        self._selector.hear(returned, wrong=said != row.value)

    def _row(self, at: int, propensity: float) -> Row:
        y = int(self._stream.y[at])
        if self._people.error_rate and self._rng.random() < self._people.error_rate:
            y = int((y + 1 + self._rng.integers(len(self._stream.classes) - 1)) % len(self._stream.classes))
        name = self._stream.classes[y]
        return Row(f"{at:012d}", 1, at, name, {name: 1.0}, 1.0, propensity, False, False, self._stream.x[at])

    def _fit(self) -> None:
        s, t = self._s, self._training
        rows = s.rows[-t.window :]
        classes = classes_of(self._declared, rows)
        s.fitted = len(s.rows)
        if len(classes) < 2:
            return
        s.model = self._contest.pick(rows, classes).fit(rows, classes)
        s.models += 1
        s.columns = np.asarray([self._index[name] for name in classes])

    def _mark(self, predicted: Ints, last: int, stop: int) -> None:
        right = float((predicted[last:stop] == self._stream.y[last:stop]).mean())
        held = nan
        if self._pace.held_out_curve:
            held = _accuracy(self._held_out(), self._stream.held_y)
        self._s.curve.append(Point(stop, len(self._s.asked), right, held))

    def _held_out(self) -> Ints:
        s = self._s
        if s.model is None or not len(self._stream.held_y):
            return np.full(len(self._stream.held_y), -1, dtype=np.int64)
        return np.asarray(s.columns[s.model.probabilities(self._stream.held_x).argmax(axis=1)])

    def _outcome(self, predicted: Ints) -> Outcome:
        s, stream = self._s, self._stream
        if len(s.rows) > s.fitted or s.model is None:
            self._fit()
        held = self._held_out()
        half = len(stream) // 2
        judged = (held, stream.held_y) if len(held) else (predicted[half:], stream.y[half:])
        return Outcome(
            asked=np.asarray(s.asked, dtype=np.int64),
            predicted=predicted,
            curve=tuple(s.curve),
            thresholds=tuple(s.thresholds),
            bursts=self._selector.bursts if isinstance(self._selector, PolicySelector) else Bursts(),
            prequential=_accuracy(predicted, stream.y),
            second_half=_accuracy(predicted[half:], stream.y[half:]),
            held_out=_accuracy(held, stream.held_y),
            rare_f1=f1(*judged, stream.rare),
            models=s.models,
            decide_us=1e6 * s.decided_s / len(stream),
        )


def f1(predicted: Ints, truth: Ints, classes: Sequence[int]) -> float:
    """Mean F1 of ``classes``; one that is neither there nor predicted counts 0.

    >>> f1(np.array([0, 1, 1]), np.array([0, 1, 0]), (0, 1)).__round__(3)
    0.667
    """
    scores = []
    for c in classes:
        hit = int(((predicted == c) & (truth == c)).sum())
        named, there = int((predicted == c).sum()), int((truth == c).sum())
        scores.append(2.0 * hit / (named + there) if named + there else 0.0)
    return float(np.mean(scores)) if scores else nan


def _accuracy(predicted: Ints, truth: Ints) -> float:
    return float((predicted == truth).mean()) if len(truth) else nan

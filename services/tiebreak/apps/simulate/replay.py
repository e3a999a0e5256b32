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

from tiebreak.apps.simulate.judging import Judge, scored_as
from tiebreak.apps.simulate.selecting import Bursts, Pick, PolicySelector, Selector
from tiebreak.apps.simulate.stream import Ints, Stream
from tiebreak.contracts.project import AnswerKind, Training
from tiebreak.contracts.tensors import Form
from tiebreak.sampling.appraisal import Scored
from tiebreak.sampling.heard import Answered
from tiebreak.sampling.passing import PassingBy
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import Row, classes_of
from tiebreak.training.learner import Model, asking

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class People:
    """Answers come ``delay`` events after the question, and a share ``error_rate`` of them names another class (of
    lists and numbers: is the answer to another event)."""

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

    Figures are mean credits, as training judges (``training/targets.py``): of single classes accuracy, of lists the Jaccard index, of
    numbers and levels one less the error over the range. ``second_half``: of predictions made before their label was known, on the
    second half of the stream.
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
    waiting: deque[tuple[int, int, Pick, bytes]] = field(default_factory=deque)
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
        self._target = contest.plans[0].target
        if stream.answer.kind is not AnswerKind.SINGLE:
            self._declared = stream.classes
        self._judge = Judge(stream, self._target)
        self._s = _Scratch()
        self._passing = PassingBy(training.unlabelled, training.seed)

    def run(self, progress: Callable[[int], None] | None = None) -> Outcome:
        """Replay the whole stream; ``progress`` hears how many events each batch had."""
        stream, s, batch = self._stream, self._s, self._pace.batch
        n = len(stream)
        marks = np.linspace(0, n, self._pace.checkpoints + 1)[1:].astype(int).tolist()
        last = 0
        for start in range(0, n, batch):
            stop = min(n, start + batch)
            scored = self._scored(start, stop)
            if s.model is not None:
                self._judge.see(start, s.model.probabilities(stream.x[start:stop]), s.columns)
                scored = scored_as(self._target.form, scored, stream.answer)
            began = perf_counter()
            picks = self._selector.select(scored, start)
            s.decided_s += perf_counter() - began
            self._ask(range(start, stop), picks)
            self._answer(stop)
            if marks and stop >= marks[0]:
                while marks and stop >= marks[0]:
                    marks.pop(0)
                self._mark(last, stop)
                last = stop
            if progress is not None:
                progress(stop - start)
        return self._outcome()

    def _scored(self, start: int, stop: int) -> Scored:
        x = self._stream.x[start:stop]
        model = self._s.model
        return Scored(
            ids=[b"%d" % i for i in range(start, stop)],
            version=str(self._s.models),
            probabilities=np.zeros((len(x), 0), np.float32) if model is None else asking(model, x),
            members=None if model is None else model.members(x),
            features=x,
            inputs=x,
            classes=[self._stream.classes[column] for column in self._s.columns.tolist()],
            offset=stop - 1,
        )

    def _ask(self, batch: range, picks: Sequence[Pick]) -> None:
        def features(row: int) -> bytes:
            return bytes(self._stream.x[batch[row]].astype("<f4"))

        for pick in picks:
            at = batch[pick.row]
            self._s.asked.append(at)
            beside = self._passing.beside(str(at), pick.row, len(batch), features)
            self._s.waiting.append((at + self._people.delay, at, pick, beside))
            if pick.threshold == pick.threshold:
                self._s.thresholds.append((at, pick.threshold))
        self._passing.see(str(batch[0]), len(batch), features)

    def _answer(self, stop: int) -> None:
        s = self._s
        while s.waiting and s.waiting[0][0] < stop:
            _, at, pick, beside = s.waiting.popleft()
            row = self._row(at, pick.propensity, beside)
            self._hear(row, pick, self._judge.said(at))
            if not pick.audit:
                s.rows.append(row)
        due = max(self._training.step_labels, int(self._pace.growth * s.fitted))
        enough = self._training.min_labels if s.model is None else s.fitted + due
        if len(s.rows) >= enough:
            self._fit()

    def _hear(self, row: Row, pick: Pick, said: str) -> None:
        if pick.selection is not None and isinstance(self._selector, PolicySelector):
            self._selector.hear(Answered(row.label_id, pick.selection, said, row.value, row.features))

    def _row(self, at: int, propensity: float, beside: bytes) -> Row:
        name = self._stream.text(at)
        if self._people.error_rate and self._rng.random() < self._people.error_rate:
            name = self._wrong(at, name)
        x = self._stream.x[at]
        return Row(f"{at:012d}", 1, at, name, {name: 1.0}, 1.0, propensity, False, False, x, beside)

    def _wrong(self, at: int, right: str) -> str:
        """Another class, or the answer to another event; the right one only where that is all there is."""
        stream, rng = self._stream, self._rng
        if not stream.texts:
            y = int(stream.y[at])
            return stream.classes[int((y + 1 + rng.integers(len(stream.classes) - 1)) % len(stream.classes))]
        tries = (stream.texts[int(place)] for place in rng.integers(len(stream), size=20))
        return next((text for text in tries if text != right), right)

    def _fit(self) -> None:
        s, t = self._s, self._training
        rows = s.rows[-t.window :]
        classes = classes_of(self._declared, rows, self._target)
        s.fitted = len(s.rows)
        if self._target.form is Form.CLASSES and len(classes) < 2:
            return
        s.model = self._contest.pick(rows, classes).fit(rows, classes)
        s.models += 1
        s.columns = np.asarray([self._index[name] for name in classes], dtype=np.int64)

    def _mark(self, last: int, stop: int) -> None:
        right = _mean(self._judge.credit[last:stop])
        held = self._judge.held(self._s.model, self._s.columns)[0] if self._pace.held_out_curve else nan
        self._s.curve.append(Point(stop, len(self._s.asked), right, held))

    def _outcome(self) -> Outcome:
        s, stream = self._s, self._stream
        if len(s.rows) > s.fitted or s.model is None:
            self._fit()
        half = len(stream) // 2
        held, rare = self._judge.held(s.model, s.columns)
        return Outcome(
            asked=np.asarray(s.asked, dtype=np.int64),
            predicted=self._judge.predicted,
            curve=tuple(s.curve),
            thresholds=tuple(s.thresholds),
            bursts=self._selector.bursts if isinstance(self._selector, PolicySelector) else Bursts(),
            prequential=_mean(self._judge.credit),
            second_half=_mean(self._judge.credit[half:]),
            held_out=held,
            rare_f1=rare if len(stream.held_y) else self._judge.rare(half),
            models=s.models,
            decide_us=1e6 * s.decided_s / len(stream),
        )


def _mean(credit: Floats) -> float:
    return float(credit.mean()) if len(credit) else nan

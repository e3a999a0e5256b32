"""Learners on one stream with every label: predict a portion, then learn it, the same portions for everybody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[Any]
_KEPT = Path(__file__).parents[2] / ".cache" / "bench_models"


@dataclass(frozen=True, slots=True)
class Stream:
    """``x`` ``(n, d)`` float32 and ``y`` ``(n,)`` column numbers in the order of arrival; ``tabular``: columns of a table."""

    name: str
    seed: int
    x: Matrix
    y: Matrix
    classes: int
    tabular: bool


def streams(folder: Path, events: int, wanted: tuple[str, ...] = (), seed: int = 0) -> Iterator[Stream]:
    """The streams of a data folder, each cut to ``events`` (0: whole); around the middle where the drift is there.

    ``seed`` orders those whose own order means nothing.
    """
    for path in sorted(folder.glob("*.npz")):
        if wanted and path.stem not in wanted:
            continue
        with np.load(path) as data:
            x, y, timed = data["X"].astype(np.float32), data["y"].astype(np.int64), bool(data["timed"])
            tabular = str(data["kind"]) == "tab"
            drifts = data["drifts"].tolist() if "drifts" in data.files else []
        if not timed:
            order = np.random.default_rng(seed).permutation(len(x))
            x, y = x[order], y[order]
        middle, most = int(drifts[0]) if drifts else 0, events or len(x)
        start = min(max(0, middle - most // 2), max(0, len(x) - most))
        x, y = x[start : start + most], y[start : start + most]
        yield Stream(path.stem, seed if not timed else 0, x, y, int(y.max()) + 1, tabular)


class Contestant(Protocol):
    """Learns in portions."""

    def predict(self, x: Matrix) -> Matrix:
        """``(n, d)`` to ``(n,)``."""

    def learn(self, x: Matrix, y: Matrix) -> None:
        """A portion of labels."""


@dataclass(frozen=True, slots=True)
class Track:
    """``hits`` ``(events,)`` of all predicted before their label, as far as the time allowed; ``seconds`` it took."""

    hits: NDArray[np.bool_]
    seconds: float

    def accuracy(self, events: int | None = None) -> float:
        """Of the first so many events, or of all that were reached."""
        return float(self.hits[:events].mean()) if len(self.hits) else 0.0

    def reached(self, other: Track) -> int:
        """How many events both got to."""
        return min(len(self.hits), len(other.hits))


def prequential(stream: Stream, contestant: Contestant, portion: int, limit_s: float = float("inf")) -> Track:
    """Predict a portion, then learn it; the first portion is only learned.

    Ends early once ``limit_s`` of the processor are over: how far a learner comes is then not what else the machine was doing.
    """
    began, hits = time.process_time(), []
    for start in range(0, len(stream.x), portion):
        x, y = stream.x[start : start + portion], stream.y[start : start + portion]
        if start:
            hits.append(contestant.predict(x) == y)
        contestant.learn(x, y)
        if time.process_time() - began > limit_s:
            break
    return Track(np.concatenate(hits) if hits else np.zeros(0, np.bool_), time.process_time() - began)


def kept(path: Path, run: Callable[[], Track]) -> Track:
    """What ``run`` gave once: read from ``path``, or run and written there."""
    if path.is_file():
        with np.load(path) as data:
            return Track(data["hits"], float(data["seconds"]))
    track = run()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, hits=track.hits, seconds=track.seconds)
    part.replace(path)
    return track


def place(stream: Stream, portion: int, contestant: str) -> Path:
    """Where the track of a contestant is kept."""
    name = f"{stream.name}-{stream.seed}-{len(stream.x)}-{portion}-{contestant.replace(' ', '_')}.npz"
    return _KEPT / name

"""The streams of the label benchmark: those of a folder of ``.npz`` files, else those that installed packages carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from river import datasets
from river.datasets import synth
from sklearn.datasets import load_digits

from tiebreak.apps.simulate.stream import Stream, held_back, shuffled, stream_of_arrays

# Defaults were picked on these alone; every other stream is judged by what they gave.
TUNED_ON = frozenset({"hwu64", "outdoor", "elec2", "digits", "swap"})
# Random needs one label in a hundred here: what is saved on so few says nothing.
SATURATED = frozenset({"shuttle_anom"})
_TAIL = "+tail"


@dataclass(frozen=True, slots=True)
class Entry:
    """``held_out``: the main figure is accuracy on held-out rows; else accuracy before the label is known, second half."""

    name: str
    path: Path | None
    held_out: bool
    ordered: bool
    tail: bool = False

    def load(self, seed: int) -> Stream:
        """The stream in the order of this seed; one whose order means something keeps it."""
        stream = _stream(self.name, self.path)
        stream = long_tailed(stream) if self.tail else stream
        return stream if self.ordered else shuffled(stream, seed)


@lru_cache(maxsize=2)
def entries(data: Path | None) -> Mapping[str, Entry]:
    """By name. Raises FileNotFoundError for a folder without streams."""
    if data is None:
        own = (
            Entry("digits", None, True, False),
            Entry("segments", None, True, False),
            Entry("swap", None, False, True),
        )
        return {entry.name: entry for entry in own}
    found = {path.stem: _entry(path) for path in sorted(data.glob("*.npz"))}
    if not found:
        raise FileNotFoundError(f"{data} holds no .npz file")
    return found


def entry(data: Path | None, name: str) -> Entry:
    """A stream by its name; with ``+tail`` the long-tailed half of it. Raises KeyError for one that is not there."""
    bare = name.removesuffix(_TAIL)
    found = entries(data)[bare]
    return found if bare == name else replace(found, tail=True)


def long_tailed(stream: Stream) -> Stream:
    """The first events of each class, half of all: as many of the one in place ``r`` by size as ``c / r``, or all that there are.

    Of the rows held out the same share of each class.
    """
    sizes = np.bincount(stream.y, minlength=len(stream.classes))
    places = np.empty(len(sizes))
    places[np.argsort(-sizes, kind="stable")] = np.arange(1, len(sizes) + 1)
    low, high = 0.0, float(len(stream) * len(sizes))
    while high - low > 1.0:
        middle = (low + high) / 2.0
        low, high = (low, middle) if 2 * np.minimum(sizes, middle / places).sum() > len(stream) else (middle, high)
    shares = np.minimum(1.0, low / places / np.maximum(sizes, 1))
    kept, held = _first(stream.y, shares), _first(stream.held_y, shares)
    return replace(stream, x=stream.x[kept], y=stream.y[kept], held_x=stream.held_x[held], held_y=stream.held_y[held])


def _first(y: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """The rows of such a share of each class that come first, at least one of each."""
    found = [
        np.flatnonzero(y == column)[: max(1, round(share * int((y == column).sum())))]
        for column, share in enumerate(shares)
    ]
    return np.sort(np.concatenate(found))


def _entry(path: Path) -> Entry:
    with np.load(path) as arrays:
        text = "kind" in arrays.files and str(arrays["kind"]) == "text"
        timed = "timed" in arrays.files and bool(arrays["timed"])
    return Entry(path.stem, path, text, timed)


@lru_cache(maxsize=2)
def _stream(name: str, path: Path | None) -> Stream:
    if path is not None:
        with np.load(path) as arrays:
            return stream_of_arrays(
                name,
                {key: arrays[key] for key in ("X", "y", "Xt", "yt", "classes", "class_emb") if key in arrays.files},
            )
    if name == "digits":
        digits = load_digits()
        return held_back(_of(name, digits.data / 16.0, digits.target), 0.3, 1)
    if name == "segments":
        rows = list(datasets.ImageSegments())  # type: ignore[no-untyped-call]
        x = np.array([list(row.values()) for row, _ in rows])
        return held_back(_of(name, (x - x.mean(0)) / (x.std(0) + 1e-9), np.array([str(y) for _, y in rows])), 0.3, 1)
    return _of(name, *_swapped())


def _swapped() -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """6,000 events; at half of them every class moves to other places."""
    halves = [synth.RandomRBF(seed_model=seed, seed_sample=seed, n_classes=8, n_features=12) for seed in (5, 23)]
    rows = [row for half in halves for row in half.take(3000)]
    return np.array([list(row.values()) for row, _ in rows]), np.array([str(y) for _, y in rows])


def _of(name: str, x: NDArray[np.generic], y: NDArray[np.generic]) -> Stream:
    return stream_of_arrays(name, {"X": x, "y": y})

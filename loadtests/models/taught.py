"""Do unlabelled events teach? ``python -m loadtests.models.taught FOLDER [STREAM ...]``: streams of embeddings alone.

First held-out accuracy of the discriminant by the number of random labels, with 0, 2, 4 and 8 unlabelled events along with each,
without and with the names of the classes; then the contest as the trainer runs it, predicting a hundred labels before it learns
them, with and without.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtests.models.contest import Matrix, Stream, prequential, streams
from loadtests.models.entrant import Ours
from tiebreak.contracts.project import Training
from tiebreak.training.discriminant import Discriminant, Taught
from tiebreak.training.learner import TrainingSet
from tiebreak.training.names import Named, Vectors

_SHARES, _ALONG, _SEEDS, _EVENTS = (0.01, 0.02, 0.05, 0.1, 0.2), (0, 2, 4, 8), range(3), 1500


@dataclass(frozen=True, slots=True)
class Held:
    """A stream with its held-out rows, and a vector per class name."""

    stream: Stream
    x: Matrix
    y: Matrix
    names: Vectors


def held(folder: Path, stream: Stream) -> Held:
    """Of a folder's file."""
    with np.load(folder / f"{stream.name}.npz") as data:
        vectors = data["class_emb"].astype(np.float32)
        names = {str(i): vector for i, vector in enumerate(vectors) if np.isfinite(vector).all()}
        return Held(stream, data["Xt"].astype(np.float32), data["yt"].astype(np.int64), names)


def accuracy(given: Held, share: float, along: int, *, named: bool) -> float:
    """The mean over the seeds."""
    stream, found = given.stream, []
    classes = tuple(map(str, range(stream.classes)))
    for seed in _SEEDS:
        order = np.random.default_rng(seed).permutation(len(stream.x))
        train, others = np.split(order, [int(share * len(order))])
        passed = tuple(stream.x[i].astype("<f4").tobytes() for i in others[: min(2000, along * len(train))])
        ids, truth = tuple(f"{seed}-{i}" for i in train), np.eye(stream.classes)[stream.y[train]]
        labels = TrainingSet(ids, classes, stream.x[train], truth, np.ones(len(train)), passed)
        taught = Taught(Discriminant(1, 7))
        model = (Named(taught, given.names) if named else taught).fit(labels)
        found.append(float((model.probabilities(given.x).argmax(axis=1) == given.y).mean()))
    return float(np.mean(found))


class WithPassing(Ours):
    """The trainer's contest, where each label has ``along`` events with it that came later in the stream than those predicted."""

    def __init__(self, stream: Stream, along: int, passing: Matrix) -> None:
        super().__init__(stream.classes, stream.x.shape[1], Training(unlabelled=along))
        self._along, self._passing = along, passing

    def _beside(self) -> bytes:
        first = self._along * self._count
        return np.take(self._passing, range(first, first + self._along), axis=0, mode="wrap").astype("<f4").tobytes()


def main() -> None:
    """A line per number of labels, then one per stream."""
    folder, wanted = Path(sys.argv[1]), tuple(sys.argv[2:]) or ("clinc150_lt", "hwu64")
    for stream in streams(folder, 0, wanted):
        given = held(folder, stream)
        for share in _SHARES:
            said = [
                " ".join(f"{100 * accuracy(given, share, along, named=named):.1f}" for along in _ALONG)
                for named in (False, True)
            ]
            print(
                f"{stream.name:12} {int(share * len(stream.x)):5} labels: {said[0]}; with names {said[1]}", flush=True
            )
    for stream in streams(folder, _EVENTS, wanted):
        passing = next(streams(folder, 0, (stream.name,))).x[_EVENTS:]
        tracks = [prequential(stream, WithPassing(stream, along, passing), 100) for along in (0, 4)]
        plain, taught = (track.accuracy() for track in tracks)
        print(
            f"{stream.name:12} {_EVENTS} labels, the contest: {100 * plain:.2f} without, {100 * taught:.2f} with 4",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Does label smoothing help? ``python -m loadtests.models.smoothing FOLDER [STREAM ...]``: what serves, on held-out rows.

The first 200 or 800 labels of a stream in random order; accuracy, and NLL after the temperature that suits the held-out rows' other
half, as the trainer's audit slice does it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from loadtests.models.contest import Matrix, Stream, streams
from tiebreak.contracts.project import Training
from tiebreak.training.learner import TrainingSet
from tiebreak.training.sklearn_learners import learner_of
from tiebreak.training.temperature import logs_of, nll, temperature_of

_SHARES, _LABELS, _SEEDS, _HELD = (0.0, 0.02, 0.05, 0.1, 0.2), (200, 800), range(3), 1300


def figures(stream: Stream, labels: int, share: float) -> Matrix:
    """``(2,)``: accuracy and NLL, the mean over the seeds."""
    found = []
    for seed in _SEEDS:
        order = np.random.default_rng(seed).permutation(len(stream.x))
        train, tune, test = np.split(order[: labels + 2 * _HELD], [labels, labels + _HELD])
        ids = tuple(f"{seed}-{i}" for i in train)
        targets = np.eye(stream.classes)[stream.y[train]]
        given = TrainingSet(ids, tuple(map(str, range(stream.classes))), stream.x[train], targets, np.ones(labels))
        model = learner_of(Training(learner="softmax", committee=1, label_smoothing=share)).fit(given)
        temperature = temperature_of(logs_of(model.voters(stream.x[tune])), stream.y[tune])
        said = model.probabilities(stream.x[test], temperature)
        right = model.probabilities(stream.x[test]).argmax(axis=1) == stream.y[test]
        found.append((right.mean(), nll(said, stream.y[test])))
    result: Matrix = np.array(found).mean(axis=0)
    return result


def main() -> None:
    """One line per stream and number of labels: without smoothing, and what each share adds."""
    for stream in streams(Path(sys.argv[1]), 0, tuple(sys.argv[2:])):
        for labels in _LABELS:
            plain, *others = (figures(stream, labels, share) for share in _SHARES)
            said = "  ".join(
                f"{share:g}: {100 * (f - plain)[0]:+.2f}, {(f - plain)[1]:+.3f}"
                for share, f in zip(_SHARES[1:], others, strict=True)
            )
            print(
                f"{stream.name:12} {labels:4} labels  0: {100 * plain[0]:.2f} %, {plain[1]:.3f} nats  {said}",
                flush=True,
            )


if __name__ == "__main__":
    main()

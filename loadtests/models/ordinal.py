"""Do heads of ordered classes heed the order? ``python -m loadtests.models.ordinal [FOLDER]``: held out, against plain softmax heads.

Numbers of real data cut at quantiles into levels: scikit-learn's diabetes, river's Trump approval, and, with a folder, the price in
elec2. Credit is 1 - levels away / (levels - 1), as contest and gate count it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import datasets
from sklearn.datasets import load_diabetes

from tiebreak.contracts.project import Training
from tiebreak.training.learner import TrainingSet
from tiebreak.training.sklearn_learners import learner_of
from tiebreak.training.targets import OneClass

_LEVELS, _LABELS, _SEEDS = (3, 5, 10), (50, 200, 800), range(5)
Array = NDArray[np.float64]


def sources(folder: Path | None) -> Iterator[tuple[str, Array, Array]]:
    """Name, standardised columns and the number to cut."""
    body = load_diabetes()
    yield "diabetes", body.data * 20.0, body.target
    approval: Any = datasets.TrumpApproval  # river's datasets have no types
    x, y = zip(*((list(row.values())[1:], value) for row, value in approval()), strict=True)
    columns = np.array(x, float)
    yield "trump approval", (columns - columns.mean(axis=0)) / columns.std(axis=0), np.array(y, float)
    if folder is not None:
        with np.load(folder / "elec2.npz") as data:
            columns = data["X"].astype(float)[::7]
        yield "elec2 price", np.delete(columns, [1, 2], axis=1), columns[:, 1]
    columns = np.random.default_rng(0).normal(size=(3000, 8))
    yield "a curve with noise", columns, np.sin(2 * columns[:, 0]) + columns[:, 1] * columns[:, 2]


def figures(x: Array, y: NDArray[np.int64], levels: int, labels: int) -> NDArray[np.float64]:
    """``(2, 2)``: credit and share right, of plain heads and of those that heed the order, the mean over the seeds."""
    names, truth, found = tuple(map(str, range(levels))), np.eye(levels)[y], []
    for seed in _SEEDS:
        order = np.random.default_rng(seed).permutation(len(x))
        train, test = order[:labels], order[labels : labels + 1500]
        ids, columns = tuple(f"{seed}-{i}" for i in train), x.astype(np.float32)
        given = TrainingSet(ids, names, columns[train], truth[train], np.ones(labels))
        for target in (OneClass(), OneClass(levels)):
            said = learner_of(Training(committee=1), target).fit(given).probabilities(columns[test])
            found += [OneClass(levels).credit(said, truth[test]).mean(), (said.argmax(axis=1) == y[test]).mean()]
    result: Array = np.array(found).reshape(len(_SEEDS), 2, 2).mean(axis=0)
    return result


def main() -> None:
    """One line per source, number of levels and number of labels."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for name, x, number in sources(folder):
        for levels in _LEVELS:
            cuts = np.quantile(number, np.linspace(0, 1, levels + 1)[1:-1])
            for labels in (n for n in _LABELS if n <= 0.7 * len(x)):
                plain, heeding = 100.0 * figures(x, np.searchsorted(cuts, number), levels, labels)
                said = " ".join(f"{b:.1f} ({b - a:+.1f})" for a, b in zip(plain, heeding, strict=True))
                print(f"{name:20} {levels:2} levels {labels:4} labels: credit, right {said}", flush=True)


if __name__ == "__main__":
    main()

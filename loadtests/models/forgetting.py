"""Does it help to forget at a confirmed drift? ``python -m loadtests.models.forgetting FOLDER [STREAM ...]``.

The learner as it is, whose contest lets short memories win, against the same that lets go of every label from before the drift as soon
as an alarm tells: 300 labels after the true drift, with no false alarm, which is kinder to the rule than any detector would be.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtests.models.entrant import Ours
from tiebreak.contracts.project import Training

_AROUND, _ALARM, _PORTION = 1200, 300, 100


def hits(path: Path, *, forgets: bool) -> NDArray[np.bool_]:
    """``(1200,)``: what was right after the first drift of a stream, each portion predicted before it was learned."""
    with np.load(path) as data:
        drift = int(data["drifts"][0])
        around = slice(drift - _AROUND, drift + _AROUND)
        x, y = data["X"][around].astype(np.float32), data["y"][around].astype(np.int64)
    ours, found = Ours(int(y.max()) + 1, x.shape[1], Training()), []
    for start in range(0, len(x), _PORTION):
        rows = slice(start, start + _PORTION)
        if start >= _AROUND:
            found.append(ours.predict(x[rows]) == y[rows])
        if forgets and start == _AROUND + _ALARM:
            ours.forget(_ALARM)
        ours.learn(x[rows], y[rows])
    return np.concatenate(found)


def main() -> None:
    """One line per stream and rule: the share right in each third after the drift."""
    folder, names = Path(sys.argv[1]), sys.argv[2:] or ["rbf_abrupt", "nslkdd"]
    for name in names:
        for forgets in (False, True):
            thirds = hits(folder / f"{name}.npz", forgets=forgets).reshape(3, -1).mean(axis=1)
            said = " ".join(f"{share:.3f}" for share in [*thirds, thirds.mean()])
            print(f"{name:12} {'cut at the alarm' if forgets else 'as it is':16} {said}", flush=True)


if __name__ == "__main__":
    main()

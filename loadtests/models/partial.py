"""Estimators of scikit-learn as ``training.learner: partial_fit``: ``python -m loadtests.models.partial FOLDER [STREAM ...]``.

Prequential accuracy over the first 2,500 events (around the drift, where one is known), 100 labels at a time, one seed, a committee of
one; beside it SGD and the perceptron stepped by hand, as ``SECTIONS=learners`` steps them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loadtests.models.contest import prequential, streams
from loadtests.models.entrant import Ours
from loadtests.models.peers import peers
from tiebreak.contracts.project import Training

_EVENTS, _PORTION = 2500, 100
_PASSIVE_AGGRESSIVE: dict[str, object] = {"loss": "hinge", "penalty": None, "learning_rate": "pa1", "eta0": 0.1}
_NAMED: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("SGD", "SGDClassifier", {}),
    ("perceptron", "MLPClassifier", {}),
    ("Gaussian naive Bayes", "GaussianNB", {}),
    ("passive-aggressive", "SGDClassifier", _PASSIVE_AGGRESSIVE),
)
_BY_HAND = ("sklearn SGD", "sklearn MLP")


def main() -> None:
    """One line per stream and estimator."""
    for stream in streams(Path(sys.argv[1]), _EVENTS, tuple(sys.argv[2:]) or ("elec2", "hwu64", "outdoor")):
        for name, estimator_name, options in _NAMED:
            estimator = {"name": estimator_name, "options": options}
            training = Training.model_validate({"learner": "partial_fit", "estimator": estimator, "committee": 1})
            track = prequential(stream, Ours(stream.classes, stream.x.shape[1], training), _PORTION)
            print(f"{stream.name:12} {name:28} {100 * track.accuracy():.2f}", flush=True)
        for name in _BY_HAND:
            track = prequential(stream, peers()[name](stream), _PORTION)
            print(f"{stream.name:12} {name + ', by hand':28} {100 * track.accuracy():.2f}", flush=True)


if __name__ == "__main__":
    main()

"""What the fast lane lets through on few audit labels, by what the left-out labels promise: ``python -m loadtests.models.fast_lane``.

Promotions of 200 per number of audit labels, with 500 left-out labels, on seeds that were not used to choose the rule.
"""

from __future__ import annotations

from loadtests.models import rollouts
from tiebreak.contracts.project import Gate

_AUDIT, _RUNS, _FIRST = (5, 10, 20, 30, 60, 100, 200, 299), 200, 90_000
# By how much the challenger is better on audit labels, and by how much on labels that its training left out.
_CHALLENGERS = (
    (-0.1, -0.1),
    (-0.05, -0.05),
    (-0.02, -0.02),
    (-0.1, 0.1),
    (-0.1, 0.05),
    (-0.05, 0.05),
    (-0.05, 0.1),
    (0.0, 0.0),
    (0.02, 0.02),
    (0.05, 0.05),
    (0.05, 0.1),
)


def main() -> None:
    """One line per challenger."""
    print(f"{'better by, promised (points)':30}", *(f"{audit:4}" for audit in _AUDIT))
    for better, promised in _CHALLENGERS:
        name = f"{100 * better:+g}, {100 * promised:+g}"
        found = (rollouts.fair(_RUNS, Gate(), audit, better, promised, _FIRST) for audit in _AUDIT)
        print(f"{name:30}", *(f"{promoted:4}" for promoted in found), flush=True)


if __name__ == "__main__":
    main()

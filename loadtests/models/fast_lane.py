"""What the fast lane lets through on few audit labels, by what the left-out labels promise: ``python -m loadtests.models.fast_lane``.

Promotions of 200 per number of audit labels, with 500 left-out labels (or 103, which is what 500 are worth of which 50 weigh twenty),
``heavy`` of which were so unlikely to be chosen that they weigh twenty, on seeds that were not used to choose the rule.
"""

from __future__ import annotations

from loadtests.models import rollouts
from loadtests.models.rollouts import Worth
from tiebreak.contracts.project import Gate

_AUDIT, _RUNS, _FIRST = (5, 10, 20, 30, 60, 100, 200, 299), 200, 90_000
_CHALLENGERS = (
    *(Worth(-0.1, heavy=heavy) for heavy in (0, 1, 10, 50)),
    *(Worth(-0.05, heavy=heavy) for heavy in (0, 1, 10, 50)),
    Worth(-0.05, left_out=103),
    Worth(0.019, -0.05, heavy=50, on_heavy=0.05),
    Worth(-0.019, 0.05, heavy=50, on_heavy=-0.05),
    Worth(-0.02),
    Worth(-0.1, 0.1),
    Worth(-0.1, 0.05),
    Worth(-0.05, 0.05),
    Worth(-0.05, 0.1),
    Worth(0.0),
    Worth(0.02),
    Worth(0.02, heavy=10),
    Worth(0.05),
    Worth(0.05, 0.1),
)


def main() -> None:
    """One line per challenger."""
    print(f"{'better by, promised (points), heavy of':38}", *(f"{audit:4}" for audit in _AUDIT))
    for worth in _CHALLENGERS:
        promised = worth.better if worth.promised is None else worth.promised
        apart = "" if worth.on_heavy is None else f" ({100 * worth.on_heavy:+g} on them)"
        name = f"{100 * worth.better:+g}, {100 * promised:+g}, {worth.heavy}{apart} of {worth.left_out}"
        found = (rollouts.fair(_RUNS, Gate(), audit, worth, _FIRST) for audit in _AUDIT)
        print(f"{name:38}", *(f"{promoted:4}" for promoted in found), flush=True)


if __name__ == "__main__":
    main()

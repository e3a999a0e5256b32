"""Crowd-Kit's batch Dawid-Skene over answers from standard input; run by the interpreter of a virtual environment that has it.

In: lines ``task<TAB>worker<TAB>label``. Out: lines ``task<TAB>label``.
"""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """All answers at once, at most 100 rounds of EM, as its documentation shows."""
    # By name: both are there only in that environment.
    pandas, aggregation = import_module("pandas"), import_module("crowdkit.aggregation")
    rows = [line.rstrip("\n").split("\t") for line in sys.stdin]
    answers = pandas.DataFrame(rows, columns=["task", "worker", "label"])
    for task, label in aggregation.DawidSkene(n_iter=100).fit_predict(answers).items():
        sys.stdout.write(f"{task}\t{label}\n")


if __name__ == "__main__":
    main()

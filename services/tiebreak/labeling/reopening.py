"""Which answers of a person are taken back when a manager no longer trusts them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tiebreak.contracts.messages import Annotation
from tiebreak.labeling.consensus import COUNTS
from tiebreak.labeling.gold import Bank


def to_reopen(
    answers: Sequence[Annotation], bank: Bank, *, since_ms: int | None = None, last: int | None = None
) -> Sequence[Annotation]:
    """Of one person's ``answers`` (the newest revision of each, oldest first) those to take back, newest first.

    Those from ``since_ms`` on, at most the ``last`` newest; with neither, those after the gold that the person answered right last
    (all, if there is none). Gold itself stays: it is what the person is judged by. Skips and what was taken back are no answers.
    """
    if since_ms is None and last is None:
        passed = [a.submitted_ms for a in answers if a.value and a.value == bank.truth(a.task_id, a.annotator)]
        since_ms = 1 + max(passed, default=-1)
    votes = [a for a in answers if a.state in COUNTS and bank.truth(a.task_id, a.annotator) is None]
    recent = [a for a in reversed(votes) if a.submitted_ms >= (since_ms or 0)]
    return recent[:last]

"""The limit on dead letters: a few bad records are the producer's noise, most records bad is a broken producer or schema."""

from __future__ import annotations

from collections import deque

from tiebreak.contracts.errors import TooManyBadRecords


class BadShare:
    """The share of bad records among the last ``window`` or so: whole batches leave the window, oldest first.

    >>> share = BadShare(max_share=0.5, window=4)
    >>> share.add(total=3, bad=3)  # too few to judge
    >>> share.add(total=2, bad=0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tiebreak.contracts.errors.TooManyBadRecords: 3 of the last 5 records are bad (limit 50%). ...
    """

    def __init__(self, max_share: float, window: int) -> None:
        self._max_share = max_share
        self._window = window
        self._batches: deque[tuple[int, int]] = deque()
        self._total = 0
        self._bad = 0

    def add(self, total: int, bad: int) -> None:
        """Count one batch. Raises TooManyBadRecords once a full window is worse than ``max_share``; before that, nobody can tell."""
        self._batches.append((total, bad))
        self._total += total
        self._bad += bad
        while self._total - self._batches[0][0] >= self._window:
            old_total, old_bad = self._batches.popleft()
            self._total -= old_total
            self._bad -= old_bad
        if self._total >= self._window and self._bad > self._max_share * self._total:
            raise TooManyBadRecords(
                f"{self._bad} of the last {self._total} records are bad (limit {self._max_share:.0%}).",
                fix="Compare the producer's format with the project's `input`; nothing of this batch was committed.",
            )

    def forget(self) -> None:
        """Start over: the records counted will be handed out again."""
        self._batches.clear()
        self._total = self._bad = 0

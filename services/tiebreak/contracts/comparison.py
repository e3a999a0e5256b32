"""What scorers count of a rollout: champion and challenger on the same events. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from math import ceil, log2

_PER_OCTAVE = 4  # so a quantile read from the buckets is at most 19 % too high


@dataclass(frozen=True, slots=True)
class Comparison:
    """Counts: those of several replicas, and of before and after a restart, add up.

    ``failed``: events that the challenger could not answer and the champion could. ``champion`` and ``challenger``: events per
    likeliest class. The times are runs of one model on the same rows, per bucket of :func:`bucket_of`.
    """

    rows: int = 0
    disagreed: int = 0
    failed: int = 0
    champion: Mapping[str, int] = field(default_factory=dict)
    challenger: Mapping[str, int] = field(default_factory=dict)
    champion_times: Mapping[str, int] = field(default_factory=dict)
    challenger_times: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.rows + other.rows,
            self.disagreed + other.disagreed,
            self.failed + other.failed,
            *(
                dict(Counter(getattr(self, name)) + Counter(getattr(other, name)))
                for name in ("champion", "challenger", "champion_times", "challenger_times")
            ),
        )

    @property
    def shift(self) -> float:
        """Total variation between the two distributions of classes, in [0, 1]; 0 without events.

        >>> Comparison(4, 1, 0, {"a": 4}, {"a": 3, "b": 1}).shift
        0.25
        """
        names = {*self.champion, *self.challenger}
        gaps = (abs(self.champion.get(name, 0) - self.challenger.get(name, 0)) for name in names)
        return sum(gaps) / (2.0 * self.rows) if self.rows else 0.0


def bucket_of(seconds: float) -> str:
    """The name of the bucket of a duration above 0: buckets grow by a fixed factor."""
    return str(ceil(_PER_OCTAVE * log2(seconds)))


def quantile(times: Mapping[str, int], share: float) -> float:
    """The upper edge, in seconds, of the bucket that holds this quantile; 0 without runs.

    >>> round(quantile({bucket_of(0.001): 99, bucket_of(1.0): 1}, 0.99), 4), quantile({}, 0.99)
    (0.0011, 0.0)
    """
    wanted, seen = share * sum(times.values()), 0
    for bucket, runs in _by_time(times.items()):
        seen += runs
        if seen >= wanted:
            return float(2.0 ** (bucket / _PER_OCTAVE))
    return 0.0


def _by_time(items: Iterable[tuple[str, int]]) -> list[tuple[int, int]]:
    return sorted((int(bucket), runs) for bucket, runs in items)


def comparison_to_json(comparison: Comparison) -> str:
    """Sorted keys: the same counts give the same text."""
    return json.dumps(asdict(comparison), sort_keys=True, ensure_ascii=False)


def comparison_from_json(text: str) -> Comparison:
    """Raises ValueError for whatever is not one."""
    try:
        said = json.loads(text)
        values = {f.name: said[f.name] for f in fields(Comparison)}
        counts = [v for v in values.values() if not isinstance(v, dict)]
        counts += [n for v in values.values() if isinstance(v, dict) for n in v.values()]
        times = [int(b) for name in ("champion_times", "challenger_times") for b in values[name]]
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a comparison") from error
    # Bounded, so that sums and powers of what a stranger wrote stay numbers.
    if not all(type(n) is int and 0 <= n < 2**53 for n in counts) or not all(-400 <= b <= 400 for b in times):
        raise ValueError("not a comparison")
    return Comparison(**values)

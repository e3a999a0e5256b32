"""How fast somebody may ask: token buckets, one per key. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict

from tiebreak.contracts.errors import SlowDown

MAX_KEYS = 10_000


class TooMany(SlowDown):
    """Somebody asks faster than anybody needs to. Nothing was taken."""


class Buckets:
    """Each key may take ``burst`` at once and ``per_s`` a second in the long run.

    At most ``max_keys`` are remembered; the one that was quiet for longest is forgotten first, which gives it a full bucket.
    """

    def __init__(self, per_s: float, burst: int, max_keys: int = MAX_KEYS) -> None:
        self._per_s = per_s
        self._burst = burst
        self._max_keys = max_keys
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now_s: float) -> float:
        """Take one: 0.0 if there was one, else the seconds until there will be.

        >>> bucket = Buckets(per_s=2.0, burst=1)
        >>> [bucket.take("ann", at) for at in (0.0, 0.0, 0.5)]
        [0.0, 0.5, 0.0]
        """
        level, since = self._levels.pop(key, (float(self._burst), now_s))
        level = min(float(self._burst), level + max(0.0, now_s - since) * self._per_s)
        taken = level >= 1.0
        self._levels[key] = (level - 1.0 if taken else level, now_s)
        if len(self._levels) > self._max_keys:
            self._levels.popitem(last=False)
        return 0.0 if taken else (1.0 - level) / self._per_s

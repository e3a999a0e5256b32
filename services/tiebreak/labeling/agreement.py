"""How far people agree, beyond what chance gives. Pure; nominal values; units are the answers to one task.

The sums can be taken back: a unit that changed is removed as it was and added as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


class Agreement:
    """Krippendorff's alpha and Fleiss' kappa over units of two and more answers, kept up to date at O(classes) per unit."""

    def __init__(self, units: Iterable[Sequence[str]] = ()) -> None:
        self.units = 0
        self._values: Counter[str] = Counter()
        self._disagreed = 0.0
        self._agreed = 0.0
        for unit in units:
            self.add(unit)

    def add(self, unit: Sequence[str]) -> None:
        """One more task's answers; fewer than two say nothing of agreement."""
        self._move(unit, 1)

    def remove(self, unit: Sequence[str]) -> None:
        """The inverse of :meth:`add`."""
        self._move(unit, -1)

    def _move(self, unit: Sequence[str], sign: int) -> None:
        n = len(unit)
        if n < 2:
            return
        counts = Counter(unit)
        same = sum(c * (c - 1) for c in counts.values())
        self.units += sign
        self._disagreed += sign * (n * (n - 1) - same) / (n - 1)
        self._agreed += sign * same / (n * (n - 1))
        for value, c in counts.items():
            self._values[value] += sign * c

    def alpha(self) -> float | None:
        """``1 - observed / expected disagreement`` (K. Krippendorff, "Content Analysis", ch. 11); None where nothing can differ.

        >>> round(Agreement([("a", "a"), ("a", "b"), ("b", "b"), ("b", "b")]).alpha(), 3)
        0.533
        """
        total = sum(self._values.values())
        expected = total * total - sum(c * c for c in self._values.values())
        return 1.0 - (total - 1) * self._disagreed / expected if expected > 0 else None

    def fleiss(self) -> float | None:
        """``(observed - chance) / (1 - chance)`` with each task's own number of answers (J. L. Fleiss, 1971); None as above."""
        total = sum(self._values.values())
        if self.units == 0 or total == 0:
            return None
        chance = sum((c / total) ** 2 for c in self._values.values())
        return (self._agreed / self.units - chance) / (1.0 - chance) if chance < 1.0 else None


def cohen(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two raters over ``(one's value, the other's)``; None where chance alone agrees always (or no pairs).

    >>> cohen([("a", "a"), ("a", "a"), ("b", "b"), ("b", "a")])
    0.5
    """
    n = len(pairs)
    if n == 0:
        return None
    one, other = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(one[value] * other[value] for value in one) / (n * n)
    observed = sum(a == b for a, b in pairs) / n
    return (observed - chance) / (1.0 - chance) if chance < 1.0 else None

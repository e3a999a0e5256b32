"""When to try again, and after how long. Pure: chance is an argument."""

from __future__ import annotations

from dataclasses import dataclass

RETRIED = frozenset({0, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retries:
    """At most ``attempts`` in all, each waiting twice as long as the last, from ``first_s`` to ``most_s``.

    What the server asks for (Retry-After) counts where it is longer, up to ``most_s``.
    """

    attempts: int = 6
    first_s: float = 0.1
    most_s: float = 10.0

    def wait_s(self, attempt: int, status: int, asked_s: float, chance: float) -> float | None:
        """Seconds before the next attempt after number ``attempt`` (from 1) ended in ``status``; None: give up.

        ``chance`` in [0, 1) spreads clients apart.

        >>> [Retries().wait_s(n, 503, 0.0, 0.5) for n in (1, 2, 6)], Retries().wait_s(1, 404, 0.0, 0.5)
        ([0.075, 0.15, None], None)
        """
        if status not in RETRIED or attempt >= self.attempts:
            return None
        own: float = min(self.most_s, self.first_s * 2.0 ** (attempt - 1)) * (0.5 + chance / 2)
        return max(own, min(asked_s, self.most_s))


def asked_s(header: str | None) -> float:
    """Seconds in a Retry-After header; 0 for none, and for a date (we send none).

    >>> asked_s("3"), asked_s(None), asked_s("Wed, 21 Oct 2026 07:28:00 GMT"), asked_s("-1")
    (3.0, 0.0, 0.0, 0.0)
    """
    return float(header) if header is not None and header.isascii() and header.isdigit() else 0.0

"""Typed, stable masks: what was found in a text becomes ``<EMAIL_1>``, and the same value the same number. No library, no I/O."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

# Presidio's names are long; people read these. Any other entity is shown by its own name.
SHORT: Mapping[str, str] = {
    "EMAIL_ADDRESS": "EMAIL",
    "CREDIT_CARD": "CARD",
    "IBAN_CODE": "IBAN",
    "PHONE_NUMBER": "PHONE",
    "IP_ADDRESS": "IP",
}
_ALREADY = re.compile(r"<[A-Z][A-Z0-9_]*_[0-9]{1,6}>")
_NOISE = re.compile(r"[\s().\-/]+")


class Unsearched(StrEnum):
    """Why a payload cannot be searched. A closed set: a metric label."""

    PICTURE = "picture"
    TOO_LONG = "too_long"
    CROWDED = "crowded"
    TOO_SLOW = "too_slow"
    NER_FAILED = "ner_failed"


class Withheld(Exception):
    """This text cannot be searched within its bounds; ``words`` why, which can be shown."""

    def __init__(self, why: Unsearched, words: str) -> None:
        super().__init__(words)
        self.why = why


@dataclass(frozen=True, slots=True)
class Span:
    """``text[start:end]`` is an ``entity`` with this score (0 to 1)."""

    start: int
    end: int
    entity: str
    score: float


class Finder(Protocol):
    """Finds entities that have no pattern."""

    @property
    def names(self) -> frozenset[str]:
        """Which."""

    def find(self, text: str) -> Sequence[Span]:
        """Where they are in ``text``. Raises Withheld where that cannot be said."""


def merged(spans: Sequence[Span]) -> list[Span]:
    """Disjoint spans in order. Where some overlap, all they cover is one span, of the entity with the best score (then the longest).

    >>> merged([Span(0, 5, "A", 0.4), Span(3, 9, "B", 1.0), Span(20, 22, "A", 0.5)])
    [Span(start=0, end=9, entity='B', score=1.0), Span(start=20, end=22, entity='A', score=0.5)]
    """
    out: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if out and span.start < out[-1].end:
            last = out[-1]
            best = max(last, span, key=lambda s: (s.score, s.end - s.start))
            out[-1] = Span(last.start, max(last.end, span.end), best.entity, best.score)
        else:
            out.append(span)
    return out


@dataclass(slots=True)
class Names:
    """The masks given out in one payload. A value is the same whatever its case, spaces, dots, dashes and brackets."""

    taken: set[str] = field(default_factory=set)
    given: dict[tuple[str, str], str] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)

    def avoid(self, text: str) -> None:
        """Give out no mask that the text already holds: two different things would look the same."""
        self.taken.update(_ALREADY.findall(text))

    def of(self, entity: str, value: str) -> str:
        """The mask of ``value``.

        >>> names = Names()
        >>> names.of("CREDIT_CARD", "4111 1111"), names.of("CREDIT_CARD", "5500-0000"), names.of("CREDIT_CARD", "41111111")
        ('<CARD_1>', '<CARD_2>', '<CARD_1>')
        """
        kind = SHORT.get(entity, entity)
        key = (kind, _NOISE.sub("", value).casefold())
        if key not in self.given:
            number = self.last.get(kind, 0) + 1
            while f"<{kind}_{number}>" in self.taken:
                number += 1
            self.last[kind] = number
            self.given[key] = f"<{kind}_{number}>"
        return self.given[key]


def masked(text: str, spans: Sequence[Span], names: Names) -> str:
    """``text`` with each span (disjoint, in order) replaced by its mask."""
    parts: list[str] = []
    end = 0
    for span in spans:
        parts += [text[end : span.start], names.of(span.entity, text[span.start : span.end])]
        end = span.end
    return "".join([*parts, text[end:]])


def by_part(starts: Sequence[int], lengths: Sequence[int], spans: Sequence[Span]) -> Iterator[tuple[int, list[Span]]]:
    """Spans of a text that was joined from parts, given back part by part, with offsets within it.

    A span that reaches over a border is cut there and each piece stays a span. Parts without spans are left out.

    >>> list(by_part([0, 6], [4, 4], [Span(2, 8, "A", 1.0)]))
    [(0, [Span(start=2, end=4, entity='A', score=1.0)]), (1, [Span(start=0, end=2, entity='A', score=1.0)])]
    """
    found: dict[int, list[Span]] = {}
    for span in spans:
        part = max(0, bisect_right(starts, span.start) - 1)
        while part < len(starts) and starts[part] < span.end:
            start, end = max(span.start - starts[part], 0), min(span.end - starts[part], lengths[part])
            if start < end:
                found.setdefault(part, []).append(Span(start, end, span.entity, span.score))
            part += 1
    yield from sorted(found.items())

"""Masking: recall and precision per entity on labelled corpora, and the time for texts made to be slow; NER=pipeline adds a model."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from loadtests.figures import Figure, judged, save, show
from tests.support.named_corpus import named_corpus
from tests.support.privacy_corpus import Item, corpus
from tiebreak.contracts.messages import Payload, PayloadKind
from tiebreak.contracts.project import Privacy
from tiebreak.contracts.project_privacy import Ner
from tiebreak.runtime.masks import SHORT, Span
from tiebreak.runtime.presidio_mask import MAX_CHARS, Masker
from tiebreak.runtime.spacy_entities import MAX_CHARS as MAX_SEARCHED
from tiebreak.runtime.spacy_entities import Entities

MEGABYTE = 2**20
TRIES = 5
# Texts of one unit repeated: each is slow for some way of writing the patterns.
SLOW: Mapping[str, str] = {
    "prose": "The quick brown fox jumps over the lazy dog. ",
    "one letter": "a",
    "one digit": "1",
    "digits apart": "4 ",
    "full width": chr(0xFF14),
    "at signs": "@",
    "nearly addresses": "a@",
    "long names": "a" * 300 + "@",
    "addresses": "a@b.cd ",
    "country codes": "+1 ",
    "nearly accounts": "DE89 ",
    "nearly cards": "4111 1111 1111 1112 ",
    "numbers": "(415) 555-2671 ",
    "a table": "12345,17.5,2024-01-02\n",
    "invisible": "a\u200b",
    "quotes": '"',
    "brackets": "a (at) ",
    "masks": "<EMAIL_1>",
}


def quality(masker: Masker, texts: Iterable[Item]) -> list[Figure]:
    """Recall: the share of labelled values that are covered whole. Precision: the share of what was found that is labelled."""
    found: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    given: Counter[str] = Counter()
    for item in texts:
        spans = masker.find(item.text)
        given.update(span.entity for span in spans)
        for entity, start, end in _places(item):
            asked[entity] += 1
            found[entity] += any(s.start <= start and s.end >= end for s in spans)
            right[entity] += any(s.entity == entity and _overlaps(s, start, end) for s in spans)
    figures: list[Figure] = []
    for entity, count in asked.items():
        name, share, how = SHORT.get(entity, entity).lower(), found[entity] / count, f"{found[entity]} of {count}"
        figures += [
            # What a model finds is the operator's to judge.
            judged("privacy", f"recall: {name}", share, how)
            if entity in SHORT
            else Figure(f"recall: {name}", share, "", None, how),
            Figure(
                f"precision: {name}",
                right[entity] / max(1, given[entity]),
                "",
                None,
                f"{right[entity]} of {given[entity]} found",
            ),
        ]
    return figures


def speed(masker: Masker) -> list[Figure]:
    """The best of some tries for the slowest text: at the longest length that is searched, and for a megabyte, which is withheld."""
    figures = []
    for name, size in (("longest text searched", MAX_CHARS), ("1 MB", MEGABYTE)):
        slowest = max((_best_ms(masker, unit, size), kind) for kind, unit in SLOW.items())
        figures.append(judged("privacy", f"slowest: {name}, ms", slowest[0], f"{size} characters: {slowest[1]}"))
    prose = _best_ms(masker, SLOW["prose"], 2000)
    figures.append(Figure("a text of 2,000 characters, ms", prose, "", None, "prose"))
    rows = json.dumps({f"c{i}": f"value {i}" for i in range(30)})
    row = Payload(PayloadKind.TABLE, "application/json", rows.encode())
    figures.append(Figure("a row of 30 columns, ms", _best(masker, row), "", None))
    return figures


def with_model(ner: Ner) -> list[Figure]:
    """What the operator's pipeline finds of people, places and organisations, and what it costs."""
    privacy = Privacy(mask=True, entities=("PERSON", "LOCATION", "ORGANIZATION"), ner=ner)
    masker = Masker(privacy, Entities(privacy, ner))
    slowest = max((_best_ms(masker, unit, MAX_SEARCHED), kind) for kind, unit in SLOW.items())
    return [
        *quality(masker, named_corpus()),
        Figure(
            "slowest: longest text searched with a model, ms",
            slowest[0],
            "",
            None,
            f"{MAX_SEARCHED} characters: {slowest[1]}",
        ),
        Figure("1 MB with a model, ms", _best_ms(masker, SLOW["prose"], MEGABYTE), "", None, "withheld unread"),
        Figure("a text of 2,000 characters with a model, ms", _best_ms(masker, SLOW["prose"], 2000), "", None, "prose"),
    ]


def _places(item: Item) -> Iterator[tuple[str, int, int]]:
    for entity, value in item.personal:
        start = item.text.index(value)
        yield entity, start, start + len(value)


def _overlaps(span: Span, start: int, end: int) -> bool:
    return span.start < end and start < span.end


def _best_ms(masker: Masker, unit: str, size: int) -> float:
    text = (unit * (size // len(unit) + 1))[:size]
    return _best(masker, Payload(PayloadKind.TEXT, "text/plain", text.encode()))


def _best(masker: Masker, payload: Payload) -> float:
    best = float("inf")
    for _ in range(TRIES):
        began = time.perf_counter()
        masker.mask(payload)
        best = min(best, time.perf_counter() - began)
    return best * 1000


def main() -> int:
    """Print the table, write the results. 1 when a reach is missed."""
    masker = Masker(Privacy(mask=True))
    figures = quality(masker, corpus()) + speed(masker)
    if place := os.environ.get("NER", ""):
        figures += with_model(Ner(folder=place) if Path(place).is_dir() else Ner(package=place))
    show("Masking, Presidio's recognisers with the patterns of runtime/presidio_recognizers.py", figures)
    save("privacy", figures)
    return 1 if any(figure.ok is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())

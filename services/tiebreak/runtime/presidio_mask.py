"""Masking a payload: find with Presidio's recognisers, replace with typed masks. What cannot be searched in bounded work is withheld.

Never fails open: a payload that is too long, too crowded or too slow to search, and every picture, is replaced by a word about it. The
bounds are counts, so a replay masks the same; only a pattern of the project's own that backtracks is stopped by the clock.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import regex
from presidio_analyzer import Pattern, PatternRecognizer

from tiebreak.contracts.codec import parse_json
from tiebreak.contracts.errors import BadRecord, ConfigError
from tiebreak.contracts.messages import Payload, PayloadKind
from tiebreak.contracts.project import Privacy
from tiebreak.runtime.masks import Finder, Names, Span, Unsearched, Withheld, by_part, masked, merged
from tiebreak.runtime.presidio_recognizers import TRIGGERS, Phones, Shrinking, recognizers
from tiebreak.runtime.slow_texts import slow_texts

# Thirty printed pages, more than anybody reads to answer one question. The patterns are linear in it.
MAX_CHARS = 2**16
MAX_CHECKS = 1000
MAX_SPANS = 2000
# Only a pattern that backtracks is ever this slow: the built-in ones take a tenth of it for the longest text.
TIMEOUT_S = 0.25
TRY_S = 0.1
TRIES_S = 3.0
CROWDED = "it holds too much that looks like personal data"
_BORDER = "\n\x00\n"
_SEPARATORS = " .-/()"
_HIDDEN = np.array([0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF], dtype=np.uint32)


class TooSlow(Withheld):
    """A pattern ran into its time limit."""


@dataclass(slots=True)
class _Work:
    checks: int = MAX_CHECKS
    spans: list[Span] = field(default_factory=list)

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise Withheld(Unsearched.CROWDED, CROWDED)

    def found(self, span: Span) -> None:
        self.spans.append(span)
        if len(self.spans) > MAX_SPANS:
            raise Withheld(Unsearched.CROWDED, CROWDED)


class Masker:
    """Masks payloads of one project. Blocking and CPU-bound: call it on a thread. Raises ConfigError for entities it cannot find.

    ``finder`` finds what no pattern does. ``tell`` hears of each payload that is withheld.
    """

    def __init__(
        self, privacy: Privacy, finder: Finder | None = None, tell: Callable[[Unsearched], None] | None = None
    ) -> None:
        self._columns = dict(privacy.columns)
        self._threshold = privacy.threshold
        self._finder = finder
        self._tell = tell
        others = finder.names if finder is not None else frozenset[str]()
        self._searches = [search for r in recognizers(privacy, others) for search in _searches(r, self._threshold)]
        # Presidio's own are known: URL is the one that backtracks, and the clock stops it.
        try_patterns(privacy)

    def mask(self, payload: Payload) -> Payload:
        """``payload`` without personal data; or words instead of it, where it cannot be searched."""
        try:
            if payload.kind is PayloadKind.IMAGE:
                raise Withheld(Unsearched.PICTURE, "a picture cannot be searched for personal data")
            if len(payload.data) > 4 * MAX_CHARS:
                raise Withheld(Unsearched.TOO_LONG, "it is too long to be searched for personal data")
            if payload.kind is PayloadKind.TABLE and (row := _row(payload.data)) is not None:
                return Payload(PayloadKind.TABLE, "application/json", orjson.dumps(self._mask_row(row)))
            text = payload.data.decode("utf-8", "replace")
            return _text(masked(text, self.find(text), _names([text])))
        except Withheld as reason:
            if self._tell is not None:
                self._tell(reason.why)
            return _text(f"<WITHHELD>: {reason}")

    def find(self, text: str) -> list[Span]:
        """What is personal in ``text``: disjoint spans in order. Raises Withheld where the search has no bound."""
        if len(text) > MAX_CHARS:
            raise Withheld(Unsearched.TOO_LONG, "it is too long to be searched for personal data")
        plain, places = _plain(text)
        work = _Work()
        for search in self._searches:
            search.run(plain, work)
        for span in self._finder.find(plain) if self._finder is not None else ():
            work.found(span)
        spans = [s for s in work.spans if s.score >= self._threshold]
        if places is not None:
            spans = [Span(int(places[s.start]), int(places[s.end - 1]) + 1, s.entity, s.score) for s in spans]
        return merged(spans)

    def _mask_row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with its leaves masked; keys stay. A number in which something is found becomes a text."""
        leaves: list[tuple[Any, Any, str, str]] = list(_leaves(row))
        texts = [text for *_, text in leaves]
        names = _names(texts)
        lengths = [len(text) for text in texts]
        starts = np.cumsum([0, *(n + len(_BORDER) for n in lengths)])[:-1].tolist()
        for part, spans in by_part(starts, lengths, self.find(_BORDER.join(texts))):
            box, key, _, text = leaves[part]
            box[key] = masked(text, spans, names)
        for box, key, column, text in leaves:
            if column in self._columns:
                box[key] = names.of(self._columns[column], text)
        return row


@dataclass(frozen=True, slots=True)
class _Search:
    """One pattern of one recogniser, run in a loop of ours: Presidio's own skips a pattern that times out, and so fails open."""

    recognizer: PatternRecognizer
    name: str
    pattern: regex.Pattern[str]
    score: float
    trigger: regex.Pattern[str] | None = None

    def run(self, text: str, work: _Work, timeout_s: float = TIMEOUT_S) -> None:
        if self.trigger is not None:
            marks = sum(1 for _ in self.trigger.finditer(text))
            if not marks:
                return
            if marks > MAX_SPANS:
                raise Withheld(Unsearched.CROWDED, CROWDED)
        entity = self.recognizer.supported_entities[0]
        position, deadline = 0, time.monotonic() + timeout_s
        while True:
            try:
                # The lock of the interpreter is given up meanwhile: the event loop goes on.
                match = self.pattern.search(
                    text, position, concurrent=True, timeout=max(deadline - time.monotonic(), 1e-3)
                )
            except TimeoutError as error:
                raise TooSlow(Unsearched.TOO_SLOW, "a pattern takes too long to search it") from error
            if match is None:
                return
            start, end = match.span()
            kept, score = self._checked(text[start:end], work)
            if kept:
                work.found(Span(start, start + kept, entity, score))
            # Where a checksum failed, something sound may begin within what was matched.
            position = start + (kept or 1) if self._shrinks or kept else max(end, start + 1)

    @property
    def _shrinks(self) -> bool:
        return isinstance(self.recognizer, Shrinking)

    def _checked(self, found: str, work: _Work) -> tuple[int, float]:
        """How much of ``found`` counts, from its start, and its score."""
        left = found
        while left:
            work.check()
            verdict = self.recognizer.validate_result(left)
            if verdict is not False and not self.recognizer.invalidate_result(left):
                return len(left), 1.0 if verdict and self._has_checksum else self.score
            if not self._shrinks:
                return 0, 0.0
            cut = max(left.rfind(c) for c in _SEPARATORS)
            left = left[:cut].rstrip(_SEPARATORS) if cut > 0 else ""
        return 0, 0.0

    @property
    def _has_checksum(self) -> bool:
        return not isinstance(self.recognizer, Phones)


def _searches(recognizer: PatternRecognizer, threshold: float) -> Iterator[_Search]:
    checked = type(recognizer).validate_result is not PatternRecognizer.validate_result
    patterns: list[Pattern] = recognizer.patterns  # type: ignore[has-type]  # Presidio declares none
    for pattern in patterns:
        if pattern.score < threshold and not checked:
            continue  # nothing it finds could count
        try:
            compiled = regex.compile(pattern.regex, flags=recognizer.global_regex_flags)
        except regex.error as error:
            raise ConfigError(f"privacy.patterns: {pattern.name}: is no regular expression: {error}.") from error
        yield _Search(recognizer, pattern.name, compiled, pattern.score, TRIGGERS.get(pattern.name))


def try_patterns(privacy: Privacy) -> None:
    """Raise ConfigError for a pattern of the project that is slow on texts made to be so: it would withhold every payload like them.

    Bounded: some seconds per pattern. No proof: what turns out slow later is stopped by the clock.
    """
    alone = privacy.model_copy(update={"entities": (), "phone_regions": (), "ner": None})
    for search in (search for r in recognizers(alone) for search in _searches(r, 0.0)):
        until = time.monotonic() + TRIES_S
        for unit, text in slow_texts(search.pattern.pattern):
            if time.monotonic() > until:
                break
            try:
                search.run(text, _Work(), TRY_S)
            except TooSlow as error:
                raise ConfigError(
                    f"privacy.patterns: {search.name}: backtracks without end on a text of {unit!r}.",
                    fix="Give every repetition a bound, or make it possessive (`++`).",
                ) from error
            except Withheld:
                continue


def _names(texts: Sequence[str]) -> Names:
    names = Names()
    for text in texts:
        names.avoid(text)
    return names


def _text(words: str) -> Payload:
    return Payload(PayloadKind.TEXT, "text/plain", words.encode("utf-8", "replace"))


def _row(data: bytes) -> dict[str, Any] | None:
    try:
        row = parse_json(data, max_bytes=len(data))
    except BadRecord:
        return None  # shown as a text, so it is masked as one
    return row if isinstance(row, dict) else None


def _leaves(row: Any) -> Iterator[tuple[Any, Any, str, str]]:
    """Every text and number below ``row``: its container, its key there, the column of the table it belongs to, and it as text."""
    stack: list[tuple[Any, Any, str, Any]] = [(row, key, key, value) for key, value in row.items()]
    while stack:
        box, key, column, value = stack.pop()
        if isinstance(value, dict | list):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            stack.extend((value, k, column, v) for k, v in inner)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield box, key, column, value if isinstance(value, str) else orjson.dumps(value).decode()


def _plain(text: str) -> tuple[str, npt.NDArray[np.intp] | None]:
    """``text`` as the patterns know it: digits, dashes, spaces and full-width letters in ASCII, invisible characters left out.

    With the place in ``text`` of each character where they differ.
    """
    if text.isascii():
        return text, None
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    table = _table()
    codes = np.where(codes < len(table), table[np.minimum(codes, len(table) - 1)], codes)
    kept = ~np.isin(codes, _HIDDEN)
    places = None if kept.all() else np.flatnonzero(kept)
    return codes[kept].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass"), places


@cache
def _table() -> npt.NDArray[np.uint32]:
    """Character code to the code of its plain form."""
    table = np.arange(0x20000, dtype=np.uint32)
    for code in range(0x80, len(table)):
        char = chr(code)
        kind = unicodedata.category(char)
        if kind == "Nd":
            table[code] = ord(str(unicodedata.digit(char)))
        elif kind == "Pd" or code == 0x2212:
            table[code] = ord("-")
        elif kind == "Zs":
            table[code] = ord(" ")
        elif 0xFF01 <= code <= 0xFF5E:
            table[code] = code - 0xFEE0
    return table

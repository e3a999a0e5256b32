"""Masking of payloads: what is found, how it is named, and that nothing is shown that could not be searched."""

from __future__ import annotations

import json
import logging
import socket
from collections import Counter

import pytest

from tests.support.privacy_corpus import corpus
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Payload, PayloadKind
from tiebreak.contracts.project import MaskPattern, Privacy
from tiebreak.runtime.masking import Mask, check_privacy, load_mask
from tiebreak.runtime.masks import Unsearched
from tiebreak.runtime.presidio_mask import MAX_CHARS, Masker
from tiebreak.runtime.presidio_recognizers import available


@pytest.fixture(scope="module")
def masker() -> Masker:
    return Masker(Privacy(mask=True))


def on_text(mask: Mask, words: str) -> str:
    """The words as people would see them."""
    return mask(Payload(PayloadKind.TEXT, "text/plain", words.encode())).data.decode()


def on_row(mask: Mask, row: object) -> object:
    """The table as people would see it."""
    return json.loads(mask(Payload(PayloadKind.TABLE, "application/json", json.dumps(row).encode())).data)


def test_nothing_personal_of_the_corpus_is_left(masker: Masker) -> None:
    """At least 99 of 100 of each kind are covered whole, in every sentence; `make bench-privacy` prints the figures."""
    found: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for item in corpus():
        spans = masker.find(item.text)
        for entity, value in item.personal:
            start = item.text.index(value)
            asked[entity] += 1
            found[entity] += any(s.start <= start and s.end >= start + len(value) for s in spans)
    assert sorted(asked) == ["CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "PHONE_NUMBER"]
    assert [entity for entity in asked if found[entity] < 0.99 * asked[entity]] == []


def test_the_same_value_has_the_same_mask_however_it_is_written(masker: Masker) -> None:
    """Case, spaces and dashes do not make another person of somebody; another value has another number."""
    words = (
        "Bob@Example.com, bob@example.com, ann@example.com; 4111 1111 1111 1111 or 4111-1111-1111-1111; +49 30 901820"
    )
    assert on_text(masker.mask, words) == "<EMAIL_1>, <EMAIL_1>, <EMAIL_2>; <CARD_1> or <CARD_1>; <PHONE_1>"


def test_a_mask_that_was_there_before_is_not_given_again(masker: Masker) -> None:
    """A text that holds `<EMAIL_1>` already, typed by anybody, does not merge with what is masked now."""
    assert on_text(masker.mask, "<EMAIL_1> wrote to bob@example.com") == "<EMAIL_1> wrote to <EMAIL_2>"


def test_invisible_and_foreign_characters_hide_nothing(masker: Masker) -> None:
    """Full-width and Arabic digits, soft hyphens and joiners within an address, no-break spaces in an account number."""
    wide = "".join(chr(ord(c) + 0xFEE0) for c in "4111111111111111")
    arabic = "".join(chr(ord(c) - ord("0") + 0x660) for c in "4930901820")
    words = f"{wide} b\u200bob@exam\u00adple.com DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000 +{arabic}"
    assert on_text(masker.mask, words) == "<CARD_1> <EMAIL_1> <IBAN_1> <PHONE_1>"
    harmless = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u0645\u06cc\u200c\u062e"
    assert on_text(masker.mask, harmless) == harmless


def test_tables_are_masked_at_any_depth_and_keys_stay(masker: Masker) -> None:
    """Texts and numbers of a row share one numbering; what holds nothing personal keeps its type."""
    row = {
        "mail": "bob@example.com",
        "card": 4111111111111111,
        "amount": 129.5,
        "ok": True,
        "gone": None,
        "notes": ["call bob@example.com", {"bob@example.com": "+49 30 901820"}],
    }
    assert on_row(masker.mask, row) == {
        "mail": "<EMAIL_1>",
        "card": "<CARD_1>",
        "amount": 129.5,
        "ok": True,
        "gone": None,
        "notes": ["call <EMAIL_1>", {"bob@example.com": "<PHONE_1>"}],
    }


def test_two_cells_never_make_one_number(masker: Masker) -> None:
    """What is masked lies within a cell: digits of neighbours are not read together."""
    row = {"a": "4111 1111", "b": "1111 1111"}
    assert on_row(masker.mask, row) == row


def test_columns_known_to_be_personal_are_masked_whatever_they_hold() -> None:
    """A name has no pattern; the project names its column."""
    mask = load_mask(Privacy(mask=True, columns={"customer": "PERSON", "born": "DATE"}))
    row = {"customer": "Ann Smith", "born": 1970, "text": "hello", "x": {"customer": "inner"}}
    assert on_row(mask, row) == {
        "customer": "<PERSON_1>",
        "born": "<DATE_1>",
        "text": "hello",
        "x": {"customer": "inner"},
    }


def test_a_broken_table_is_masked_as_the_text_it_is_shown_as(masker: Masker) -> None:
    """The page shows malformed JSON as text, so that is what is searched."""
    payload = masker.mask(Payload(PayloadKind.TABLE, "application/json", b'{"mail": "bob@example.com"'))
    assert payload == Payload(PayloadKind.TEXT, "text/plain", b'{"mail": "<EMAIL_1>"')


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (Payload(PayloadKind.IMAGE, "image/png", b"\x89PNG"), Unsearched.PICTURE),
        (Payload(PayloadKind.TEXT, "text/plain", b"x" * (MAX_CHARS + 1)), Unsearched.TOO_LONG),
        (Payload(PayloadKind.TEXT, "text/plain", b"a@b.example " * 3000), Unsearched.CROWDED),
        (
            Payload(PayloadKind.TABLE, "application/json", json.dumps({"a": "4 " * 20_000}).encode()),
            Unsearched.CROWDED,
        ),
    ],
    ids=["picture", "long", "crowded", "nearly"],
)
def test_what_cannot_be_searched_is_withheld_and_told(payload: Payload, why: Unsearched) -> None:
    """Never shown unmasked: a picture, a text beyond the limit, and texts made of things to check give words about it."""
    told = list[Unsearched]()
    shown = Masker(Privacy(mask=True), tell=told.append).mask(payload)
    assert told == [why]
    assert (shown.kind, shown.media_type, shown.data[:10]) == (PayloadKind.TEXT, "text/plain", b"<WITHHELD>")
    assert len(shown.data) < 100


def test_patterns_of_the_project_are_masked_too() -> None:
    """A name, a regular expression and an entity are all that is needed."""
    patterns = (
        MaskPattern(name="employee no", regex=r"\bE-\d{6}\b"),
        MaskPattern(name="x", regex="agent [A-Z]+", entity="SPY"),
    )
    mask = load_mask(Privacy(mask=True, patterns=patterns))
    assert (
        on_text(mask, "E-123456 met agent X, E-123457 did not")
        == "<EMPLOYEE_NO_1> met <SPY_1>, <EMPLOYEE_NO_2> did not"
    )


def test_a_pattern_that_backtracks_without_end_is_refused_at_the_start() -> None:
    """It would withhold every payload that it is slow on; the message names it and says what to do."""
    with pytest.raises(
        ConfigError, match=r"privacy\.patterns: evil: backtracks without end on a text of 'a'.*possessive"
    ):
        load_mask(Privacy(mask=True, patterns=(MaskPattern(name="evil", regex=r"(a+)+$"),)))


@pytest.mark.parametrize(
    ("expression", "unit"),
    [
        (r"([b-z]+)*Z9", "b"),
        (r"(foo|foofoo)+$", "foo"),
        (r"x(q+)+$", "q"),
        (r"ID-(\d+[.,]?)+#", "1"),
        (r"(\s*,\s*)+;", " , "),
        (r"(?:(?:ga|g|a)c?)+!", "a"),
    ],
)
def test_texts_that_are_slow_are_made_from_the_pattern_itself(expression: str, unit: str) -> None:
    """What comes before, what repeats, what has to follow: none of these is slow on a text that fits all patterns."""
    with pytest.raises(ConfigError, match=rf"evil: backtracks without end on a text of {unit!r}"):
        load_mask(Privacy(mask=True, patterns=(MaskPattern(name="evil", regex=expression),)))


@pytest.mark.parametrize("expression", [r"(?>a+)+b", r"(a++)+b", r"\bE-\d{6}\b", r"(?:[A-Z]{2}\d{1,3}-?){2,40}END"])
def test_a_pattern_that_gives_nothing_back_is_taken(expression: str) -> None:
    """Possessive, atomic or bounded: what the message of the others recommends."""
    check_privacy(Privacy(patterns=(MaskPattern(name="fine", regex=expression),)))


def test_a_pattern_that_turns_out_slow_withholds_the_payload() -> None:
    """What the tries at the start did not show is stopped by the clock, and the text is not shown."""
    told = list[Unsearched]()
    slow = MaskPattern(name="slow", regex=r"(?:k|kk)+(?:\x00|!)")
    evil = load_mask(Privacy(mask=True, patterns=(slow,)), told.append)
    assert on_text(evil, "hello") == "hello"
    assert on_text(evil, "k" * 5000).startswith("<WITHHELD>: a pattern takes too long")
    assert told == [Unsearched.TOO_SLOW]


@pytest.mark.parametrize(
    ("privacy", "message"),
    [
        (Privacy(mask=True, entities=("PERSON",)), "privacy.entities: 'PERSON' cannot be found by a pattern."),
        (Privacy(mask=True, phone_regions=("UK",)), "privacy.phone_regions: 'UK' is no region."),
    ],
)
def test_what_cannot_be_looked_for_is_an_error_at_the_start(privacy: Privacy, message: str) -> None:
    """An entity or a region that nothing here knows must not be masked in name only."""
    with pytest.raises(ConfigError) as refused:
        load_mask(privacy)
    assert refused.value.message == message


def test_every_entity_that_is_offered_can_be_searched_for() -> None:
    """All of Presidio's pattern recognisers run in our bounded loop."""
    masker = Masker(Privacy(mask=True, entities=tuple(sorted(available()))))
    found = [s.entity for s in masker.find("at 2001:db8::1 and https://example.com/x?y=1 on NL91ABNA0417164300")]
    assert found == ["IP_ADDRESS", "URL", "IBAN_CODE"]


def test_masking_needs_no_network_and_logs_nothing(
    masker: Masker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The list of public suffixes is the one that is installed; a text that fails a check is not written to a log."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with caplog.at_level(logging.DEBUG):
        assert on_text(masker.mask, "bob@mail.example.co.uk, DE89 ÖÖÖÖ 3704 0044 0532") != ""
    assert caplog.text == ""

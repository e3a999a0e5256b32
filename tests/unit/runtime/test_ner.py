"""Named entities: found by a real pipeline, masked like all else, and nothing is shown that it could not search."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc

from tests.support.named_corpus import named_corpus
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Payload, PayloadKind
from tiebreak.contracts.project import Privacy
from tiebreak.contracts.project_privacy import Ner
from tiebreak.runtime.masking import Mask, load_mask
from tiebreak.runtime.masks import Unsearched
from tiebreak.runtime.presidio_mask import Masker
from tiebreak.runtime.spacy_entities import MAX_CHARS, MAX_TOKENS, Entities, _easy

NAMED = ("PERSON", "LOCATION", "ORGANIZATION")


def privacy_with(folder: Path, entities: tuple[str, ...] = ("EMAIL_ADDRESS", *NAMED), **ner: Any) -> Privacy:
    return Privacy(mask=True, entities=entities, ner=Ner(folder=str(folder), **ner))


def entities_of(privacy: Privacy) -> Entities:
    assert privacy.ner is not None
    return Entities(privacy, privacy.ner)


@pytest.fixture(scope="module")
def mask(pipeline: Path) -> Mask:
    return load_mask(privacy_with(pipeline))


def on_text(mask: Mask, words: str) -> str:
    """The words as people would see them."""
    return mask(Payload(PayloadKind.TEXT, "text/plain", words.encode())).data.decode()


def test_people_places_and_organisations_never_seen_before_are_covered(pipeline: Path) -> None:
    """At least 17 of 20 of each, whole, in sentences and of names that the pipeline was not trained on."""
    privacy = privacy_with(pipeline)
    masker = Masker(privacy, entities_of(privacy))
    found: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for item in named_corpus():
        spans = masker.find(item.text)
        for entity, value in item.personal:
            start = item.text.index(value)
            asked[entity] += 1
            found[entity] += any(s.start <= start and s.end >= start + len(value) for s in spans)
    assert sorted(asked) == sorted(NAMED)
    assert [entity for entity in asked if found[entity] < 0.85 * asked[entity]] == []


def test_names_get_typed_and_stable_masks_beside_what_patterns_find(mask: Mask) -> None:
    """The same person is the same number, another one another, and a pattern's find stays what it is."""
    words = "Please remind Maria Rossi that the parcel is here. Please remind Linda Haddad that Maria Rossi wrote to a@b.example."
    assert on_text(mask, words) == (
        "Please remind <PERSON_1> that the parcel is here. Please remind <PERSON_2> that <PERSON_1> wrote to <EMAIL_1>."
    )


def test_cells_of_a_table_are_searched_and_keys_stay(mask: Mask) -> None:
    """In a cell as in a text; what is a number stays one."""
    row = {"note": "My name is Maria Rossi and I work in Oslo.", "amount": 12.5}
    shown = mask(Payload(PayloadKind.TABLE, "application/json", json.dumps(row).encode()))
    assert json.loads(shown.data) == {"note": "My name is <PERSON_1> and I work in <LOCATION_1>.", "amount": 12.5}


def test_only_what_the_project_names_is_masked(pipeline: Path) -> None:
    """The pipeline finds places, and the project does not ask for them; a label has the name that the project gives it."""
    words = "My name is Maria Rossi and I work in Oslo."
    assert on_text(load_mask(privacy_with(pipeline, ("PERSON",))), words) == "My name is <PERSON_1> and I work in Oslo."
    towns = privacy_with(pipeline, ("TOWN",), labels={"GPE": "TOWN"})
    assert on_text(load_mask(towns), words) == "My name is Maria Rossi and I work in <TOWN_1>."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entities": ("PERSON", "VEHICLE")}, "privacy.entities: 'VEHICLE' cannot be found by a pattern, nor by the"),
        (
            {"entities": ("EMAIL_ADDRESS",)},
            "privacy.ner: the pipeline finds none of privacy.entities. It finds: LOCATION,",
        ),
        (
            {"labels": {"TOWN": "LOCATION"}},
            "privacy.ner.labels: the pipeline has no label 'TOWN'. It has: GPE, ORG, PERSON.",
        ),
        ({"exclude": ("ner",)}, "privacy.ner: the pipeline finds none of privacy.entities."),
        ({"threshold": 0.9}, "privacy.threshold: is above 0.85"),
    ],
)
def test_what_the_pipeline_cannot_do_is_an_error_at_the_start(
    pipeline: Path, changes: Mapping[str, Any], message: str
) -> None:
    """An entity, a label or a threshold by which something would be masked in name only."""
    of_ner = {key: value for key, value in changes.items() if key in {"labels", "exclude"}}
    others = {key: value for key, value in changes.items() if key not in of_ner}
    privacy = Privacy(**{"mask": True, "entities": NAMED, **others}, ner=Ner(folder=str(pipeline), **of_ner))
    with pytest.raises(ConfigError) as refused:
        load_mask(privacy)
    assert str(refused.value).startswith(message)


def test_a_pipeline_that_is_not_there_or_is_broken_is_an_error_at_the_start(pipeline: Path, tmp_path: Path) -> None:
    """No folder, a folder of something else, weights cut short, a component nobody here knows, a package that is not installed."""

    def said(ner: Ner) -> str:
        with pytest.raises(ConfigError) as refused:
            load_mask(Privacy(mask=True, entities=NAMED, ner=ner))
        return refused.value.message

    gone = tmp_path / "gone"
    assert said(Ner(folder=str(gone))) == f"privacy.ner.folder: there is no spaCy pipeline in {gone}."
    assert said(Ner(folder=str(tmp_path))) == f"privacy.ner.folder: there is no spaCy pipeline in {tmp_path}."
    cut = Path(shutil.copytree(pipeline, tmp_path / "cut"))
    (cut / "ner" / "model").write_bytes((cut / "ner" / "model").read_bytes()[:1000])
    assert said(Ner(folder=str(cut))).startswith(f"privacy.ner: the pipeline {cut} cannot be loaded: ")
    foreign = Path(shutil.copytree(pipeline, tmp_path / "foreign"))
    config = (foreign / "config.cfg").read_text()
    (foreign / "config.cfg").write_text(config.replace('factory = "ner"', 'factory = "nobodys"'))
    assert "nobodys" in said(Ner(folder=str(foreign)))
    assert said(Ner(package="en_nobodys_pipeline")) == "privacy.ner.package: 'en_nobodys_pipeline' is not installed."


def test_without_spacy_the_error_names_the_extra(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project does not start, rather than mask less."""
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(
        ConfigError, match=r"privacy\.ner: is set, and spaCy is not installed\. pip install 'tiebreak\[ner\]'"
    ):
        load_mask(privacy_with(pipeline))


@Language.component("tests_fails_on_boom")
def fails_on_boom(doc: Doc) -> Doc:
    if "boom" in doc.text:
        raise RuntimeError(doc.text)
    return doc


@Language.component("tests_fails")
def fails(doc: Doc) -> Doc:
    raise RuntimeError(f"no, {len(doc)} words")


def test_a_pipeline_that_fails_shows_nothing_and_tells_nothing(
    pipeline: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On one text: that one is withheld, without a word of it in the log, and the next is masked. On every text: it does not start."""
    nlp = spacy.load(pipeline)
    nlp.add_pipe("tests_fails_on_boom")
    nlp.to_disk(tmp_path / "sometimes")
    told = list[Unsearched]()
    mask = load_mask(privacy_with(tmp_path / "sometimes"), told.append)
    with caplog.at_level(logging.DEBUG):
        assert on_text(mask, "boom, said Maria Rossi") == "<WITHHELD>: the named-entity model failed to search it"
    assert "Rossi" not in caplog.text
    assert on_text(mask, "I spoke to Maria Rossi from Acme Ltd today.").count("<") == 2
    assert told == [Unsearched.NER_FAILED]
    nlp.add_pipe("tests_fails")
    nlp.to_disk(tmp_path / "always")
    with pytest.raises(ConfigError, match=r"privacy\.ner: the pipeline does not run: .*no, 9 words"):
        load_mask(privacy_with(tmp_path / "always"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("x " * (MAX_CHARS // 2) + "x", "it is too long to be searched for names"),
        ("a " * (MAX_TOKENS + 1), "it has too many words to be searched for names"),
    ],
    ids=["long", "crowded"],
)
def test_more_than_the_bounds_is_withheld(mask: Mask, words: str, reason: str) -> None:
    """By counts, so a replay withholds the same."""
    assert on_text(mask, words) == f"<WITHHELD>: {reason}"


@given(st.text(st.sampled_from("a_.'s)( \n\u3042\u0301\U0001f600")) | st.text("a", min_size=90, max_size=400))
def test_nothing_that_the_tokenizer_is_slow_on_is_left(text: str) -> None:
    """No word is longer than a hundred characters, no four marks stand in a row, and nothing has moved."""
    easy = _easy(text)
    assert len(easy) == len(text)
    assert all(len(word) <= 100 for word in easy.split())
    assert all(after in (before, " ") for before, after in zip(text, easy, strict=True))
    marks = "".join("m" if not (c.isalnum() or c.isspace()) else " " for c in easy)
    assert "mmmm" not in marks


def test_sentences_reach_the_pipeline_as_they_are() -> None:
    """What is done for the tokenizer's sake parts no name of the corpus."""
    assert [item.text for item in named_corpus() if _easy(item.text) != item.text] == []


def test_many_threads_find_what_one_finds(pipeline: Path) -> None:
    """A pipeline is no thread-safe thing: they take turns."""
    found = entities_of(privacy_with(pipeline))
    texts = [item.text for item in named_corpus(count=120)]
    alone = [found.find(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(found.find, texts)) == alone


def test_new_words_of_a_stream_are_forgotten(pipeline: Path) -> None:
    """Their strings would fill the memory in the end."""
    found = entities_of(privacy_with(pipeline))
    before = len(found._nlp.vocab.strings)
    for number in range(200):
        found.find(f"My name is Xq{number}z Rossi and wy{number}.")
    assert len(found._nlp.vocab.strings) == before


def test_it_needs_no_network(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline that is not here is an error, and not downloaded; one that is here asks nobody."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert on_text(load_mask(privacy_with(pipeline)), "We talked to Maria Rossi yesterday.") != ""
    with pytest.raises(ConfigError, match="is not installed"):
        load_mask(Privacy(mask=True, entities=NAMED, ner=Ner(package="en_core_web_nobody")))

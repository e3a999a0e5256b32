"""Names, places and whatever else has no pattern: found by a spaCy pipeline of the operator's, within bounds.

A pipeline's work grows with the characters and the tokens of a text, and both are counted before it begins, so a replay withholds the
same. spaCy's tokenizer alone is not linear: it takes marks off the ends of a word one by one and looks at the whole word each time.
So marks in a row and words without an end become spaces before it sees them, which moves nothing and parts no name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock

import spacy
import structlog
from spacy.language import Language

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Privacy
from tiebreak.contracts.project_privacy import Ner
from tiebreak.runtime.masks import Span, Unsearched, Withheld

# Eight printed pages.
MAX_CHARS = 2**14
MAX_TOKENS = 2**12
# spaCy gives none. Presidio's own for what its model finds.
SCORE = 0.85
# What the labels of the usual corpora (OntoNotes, CoNLL, WikiNER) are called here, as in Presidio. Any other is called by its own name.
USUAL: Mapping[str, str] = {
    "PER": "PERSON",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "ORG": "ORGANIZATION",
    "NORP": "NRP",
    "DATE": "DATE_TIME",
    "TIME": "DATE_TIME",
}
_log = structlog.get_logger("tiebreak.privacy")
_MARKS = re.compile(r"(?<=(?:[^\w\s]|_){3})(?:[^\w\s]|_)+")
_ENDLESS = re.compile(r"\S{100,}")
_BREAK = re.compile(r"(\S{40,98})[^\w\s]|(\S{99})\S")
_TRY = "Ann Smith of Example Ltd. writes from Lisbon."


class Entities:
    """Finds what the pipeline of ``privacy.ner`` tells of ``privacy.entities``. Blocking, CPU-bound, one text at a time.

    Raises ConfigError where the pipeline cannot be loaded or does not run.
    """

    def __init__(self, privacy: Privacy, ner: Ner) -> None:
        self._nlp = _loaded(ner)
        entity_of = {label: ner.labels.get(label, USUAL.get(label, _plain(label))) for label in _labels(self._nlp)}
        if unknown := sorted(ner.labels.keys() - entity_of.keys()):
            raise ConfigError(
                f"privacy.ner.labels: the pipeline has no label {unknown[0]!r}.", fix=f"It has: {_listed(entity_of)}."
            )
        self._wanted = {label: entity for label, entity in entity_of.items() if entity in privacy.entities}
        if not self._wanted:
            raise ConfigError(
                "privacy.ner: the pipeline finds none of privacy.entities.",
                fix=f"It finds: {_listed(entity_of.values())}. Name those to mask in privacy.entities.",
            )
        if privacy.threshold > SCORE:
            raise ConfigError(f"privacy.threshold: is above {SCORE}, the score of all that a model finds.")
        # Its strings and vectors belong to whoever is within the memory zone: one text at a time.
        self._turn = Lock()
        try:
            self._found_in(_TRY)
        except Exception as error:
            raise ConfigError(f"privacy.ner: the pipeline does not run: {_said(error)}.") from error

    @property
    def names(self) -> frozenset[str]:
        """The entities it is asked for."""
        return frozenset(self._wanted.values())

    def find(self, text: str) -> Sequence[Span]:
        """Where they are in ``text``. Raises Withheld where that cannot be said."""
        try:
            return self._found_in(text)
        except Withheld:
            raise
        except Exception as error:
            # Other people's code: whatever it raises, the text was not searched. Its words may be the text's.
            _log.warning("ner_failed", error=type(error).__name__)
            raise Withheld(Unsearched.NER_FAILED, "the named-entity model failed to search it") from error

    def _found_in(self, text: str) -> Sequence[Span]:
        if len(text) > MAX_CHARS:
            raise Withheld(Unsearched.TOO_LONG, "it is too long to be searched for names")
        # Without a zone every new word of the stream would stay in the vocabulary for ever.
        with self._turn, self._nlp.memory_zone():
            doc = self._nlp.make_doc(_easy(text))
            if len(doc) > MAX_TOKENS:
                raise Withheld(Unsearched.TOO_LONG, "it has too many words to be searched for names")
            found = ((e.start_char, e.end_char, self._wanted.get(e.label_)) for e in self._nlp(doc).ents)
            return [Span(start, end, entity, SCORE) for start, end, entity in found if entity is not None]


def _easy(text: str) -> str:
    """``text`` of the same length, with spaces where the tokenizer would take long.

    >>> _easy("Ann (((((Smith)))))"), len(_easy("x" * 250).split())
    ('Ann (((  Smith)))  ', 3)
    """
    fewer = _MARKS.sub(lambda m: " " * len(m[0]), text)
    return _ENDLESS.sub(lambda m: _BREAK.sub(lambda cut: f"{cut[1] or cut[2]} ", m[0]), fewer)


def _loaded(ner: Ner) -> Language:
    if ner.package and not spacy.util.is_package(ner.package):
        raise ConfigError(
            f"privacy.ner.package: {ner.package!r} is not installed.",
            fix="Install it beside Tiebreak, or name a `folder`.",
        )
    if ner.folder and not (Path(ner.folder) / "config.cfg").is_file():
        raise ConfigError(
            f"privacy.ner.folder: there is no spaCy pipeline in {ner.folder}.",
            fix="`nlp.to_disk` writes one, with a `config.cfg`. The path is relative to the project file.",
        )
    try:
        # From a disk, never from the network: spaCy loads what is there.
        return spacy.load(Path(ner.folder) if ner.folder else ner.package, exclude=list(ner.exclude))
    except Exception as error:
        raise ConfigError(
            f"privacy.ner: the pipeline {ner.folder or ner.package} cannot be loaded: {_said(error)}.",
            fix="Was it made for this version of spaCy, and is what its components need installed?",
        ) from error


def _labels(nlp: Language) -> Iterator[str]:
    """The labels of each component that says what the entities of a text are."""
    for name in nlp.pipe_names:
        if "doc.ents" in nlp.get_pipe_meta(name).assigns:
            yield from nlp.pipe_labels.get(name, ())


def _plain(label: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", label.upper())


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300].rstrip(".")

"""A labelled corpus for named entities: people, places and organisations in invented sentences.

Its halves share no value and no sentence. Recall is told of the second; on the first a small pipeline is trained in seconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.privacy_corpus import Item

SEED = 20_261
_ROUNDS = 12

_GIVEN = (
    "Ann", "Robert", "Maria", "James", "Linda", "Ahmed", "Priya", "Wei", "Olga", "Carlos", "Fatima", "John", "Emma",
    "Lars", "Sofia", "David", "Ingrid", "Pedro", "Yuki", "Amina", "Peter", "Laura", "Ivan", "Grace", "Hassan", "Nina",
    "Oscar", "Elena", "Samuel", "Chloe", "Marco", "Aisha",
)  # fmt: skip
_FAMILY = (
    "Smith", "Johnson", "Garcia", "Müller", "Khan", "Novak", "Rossi", "Tanaka", "Silva", "Petrov", "Jensen", "Okafor",
    "Dubois", "Kowalski", "Brown", "Nguyen", "Andersson", "Haddad", "Murphy", "Costa", "Fischer", "Ibrahim", "Lindgren",
    "Moreau", "Patel", "Walker", "Becker", "Santos", "Ivanov", "Wilson", "Romano", "Hughes",
)  # fmt: skip
_PLACES = (
    "Lisbon", "New York", "Berlin", "Nairobi", "Tokyo", "Madrid", "Cape Town", "Warsaw", "Toronto", "Lagos", "Vienna",
    "San Francisco", "Mumbai", "Oslo", "Chicago", "Cairo", "Paris", "Buenos Aires", "Dublin", "Seoul", "Prague",
    "Hamburg", "Sydney", "Porto", "Geneva", "Los Angeles", "Milan", "Helsinki", "Boston", "Manila", "Zurich", "Leeds",
)  # fmt: skip
_FIRMS = (
    "Northwind", "Contoso", "Acme", "Globex", "Initech", "Fabrikam", "Umbra", "Stellar", "Vertex", "Bluestone",
    "Redwood", "Quantum", "Harbor", "Pinnacle", "Summit", "Evergreen", "Falcon", "Orion", "Granite", "Keystone",
    "Mercury", "Atlas", "Beacon", "Crescent", "Delta", "Eagle", "Frontier", "Horizon", "Liberty", "Meridian", "Nova",
    "Pioneer",
)  # fmt: skip
_FORMS = ("Ltd", "Inc", "Corp", "GmbH", "Bank", "Insurance", "Group", "Holdings")
_SENTENCES = (
    ("{PERSON} called about the invoice.", "{PERSON} asked about the delivery."),
    ("Please tell {PERSON} that the card arrived.", "Please remind {PERSON} that the parcel is here."),
    ("I spoke to {PERSON} from {ORGANIZATION} today.", "We talked to {PERSON} from {ORGANIZATION} yesterday."),
    ("My name is {PERSON} and I live in {LOCATION}.", "My name is {PERSON} and I work in {LOCATION}."),
    ("The shop in {LOCATION} was closed.", "The office in {LOCATION} is closed."),
    ("We moved to {LOCATION} last year.", "They moved to {LOCATION} last month."),
    ("{ORGANIZATION} charged me twice.", "{ORGANIZATION} billed me again."),
    ("My contract with {ORGANIZATION} ended.", "The contract with {ORGANIZATION} ends soon."),
    ("{PERSON} flew from {LOCATION} to {LOCATION}.", "{PERSON} drove from {LOCATION} to {LOCATION}."),
    ("Is {PERSON} still with {ORGANIZATION}?", "Was {PERSON} ever with {ORGANIZATION}?"),
    ("The invoice was charged twice.", "The parcel is not here."),
    ("I want to cancel my order today.", "Please cancel the contract soon."),
)  # fmt: skip


def _value(kind: str, half: int, rng: random.Random) -> str:
    def one(names: tuple[str, ...]) -> str:
        return rng.choice(names[half::2])

    match kind:
        case "PERSON":
            return f"{one(_GIVEN)} {one(_FAMILY)}"
        case "LOCATION":
            return one(_PLACES)
        case _:
            return f"{one(_FIRMS)} {rng.choice(_FORMS)}"


def named_corpus(half: int = 1, count: int = 600) -> Iterator[Item]:
    """``count`` sentences of a half; each value occurs once in its text."""
    rng = random.Random(SEED + half)
    for i in range(count):
        text, personal = _SENTENCES[i % len(_SENTENCES)][half], list[tuple[str, str]]()
        while (start := text.find("{")) >= 0:
            end = text.index("}")
            kind = text[start + 1 : end]
            value = _value(kind, half, rng)
            while value in text:
                value = _value(kind, half, rng)
            personal.append((kind, value))
            text = text[:start] + value + text[end + 1 :]
        yield Item(text, tuple(personal))


@cache
def trained(folder: Path) -> Path:
    """A spaCy pipeline in ``folder``, trained on the first half, the same each time. Its labels are those of OntoNotes, as usual."""
    import spacy  # noqa: PLC0415 - it takes a second, and every run of the tests knows of this file
    from spacy.training import Example  # noqa: PLC0415 - as above
    from thinc.api import fix_random_seed  # noqa: PLC0415 - as above

    fix_random_seed(SEED)
    label = {"PERSON": "PERSON", "LOCATION": "GPE", "ORGANIZATION": "ORG"}
    nlp = spacy.blank("en")
    nlp.add_pipe("ner", config={"model": {"@architectures": "spacy.TransitionBasedParser.v2", "state_type": "ner",
        "extra_state_tokens": False, "hidden_width": 32, "maxout_pieces": 2, "use_upper": True,
        "tok2vec": {"@architectures": "spacy.HashEmbedCNN.v2", "pretrained_vectors": None, "width": 48, "depth": 2, "embed_size": 500,
            "window_size": 1, "maxout_pieces": 3, "subword_features": True}}})  # fmt: skip
    examples = []
    for item in named_corpus(half=0):
        spans = [(item.text.index(v), item.text.index(v) + len(v), label[kind]) for kind, v in item.personal]
        examples.append(Example.from_dict(nlp.make_doc(item.text), {"entities": spans}))
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(_ROUNDS):
        for start in range(0, len(examples), 32):
            nlp.update(examples[start : start + 32], drop=0.3, sgd=optimizer)
    nlp.to_disk(folder)
    return folder

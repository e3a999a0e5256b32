"""The masker of a project, loaded only where masking is on: Presidio takes seconds to import and is an extra."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Payload
from tiebreak.contracts.project import Privacy
from tiebreak.runtime.masks import Unsearched

Mask = Callable[[Payload], Payload]


def load_mask(privacy: Privacy, withheld: Callable[[Unsearched], None] | None = None) -> Mask:
    """What hides personal data in a payload; blocking to make (seconds) and to call (milliseconds).

    ``withheld`` is told, per payload of which nothing is shown, why.

    Raises ConfigError where Presidio (or spaCy, for ``privacy.ner``) is not installed, or where an entity, a region, a pattern or the
    pipeline of the project is not usable.
    """
    if find_spec("presidio_analyzer") is None:
        raise ConfigError("privacy.mask: is on, and Presidio is not installed.", fix="pip install 'tiebreak[privacy]'")
    if privacy.ner is not None and find_spec("spacy") is None:
        raise ConfigError("privacy.ner: is set, and spaCy is not installed.", fix="pip install 'tiebreak[ner]'")
    finder = import_module("tiebreak.runtime.spacy_entities").Entities(privacy, privacy.ner) if privacy.ner else None
    mask: Mask = import_module("tiebreak.runtime.presidio_mask").Masker(privacy, finder, withheld).mask
    return mask

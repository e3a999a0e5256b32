"""The masker of a project, loaded only where masking is on: Presidio takes seconds to import and is an extra."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Payload
from tiebreak.contracts.project import Privacy
from tiebreak.runtime.masks import Unsearched

_EXTRA = "pip install 'tiebreak[privacy]'"
Mask = Callable[[Payload], Payload]


def load_mask(privacy: Privacy, withheld: Callable[[Unsearched], None] | None = None) -> Mask:
    """What hides personal data in a payload; blocking to make (seconds) and to call (milliseconds).

    ``withheld`` is told, per payload of which nothing is shown, why.

    Raises ConfigError where Presidio (or spaCy, for ``privacy.ner``) is not installed, or where an entity, a region, a pattern or the
    pipeline of the project is not usable.
    """
    if find_spec("presidio_analyzer") is None:
        raise ConfigError("privacy.mask: is on, and Presidio is not installed.", fix=_EXTRA)
    if privacy.ner is not None and find_spec("spacy") is None:
        raise ConfigError("privacy.ner: is set, and spaCy is not installed.", fix="pip install 'tiebreak[ner]'")
    finder = import_module("tiebreak.runtime.spacy_entities").Entities(privacy, privacy.ner) if privacy.ner else None
    mask: Mask = import_module("tiebreak.runtime.presidio_mask").Masker(privacy, finder, withheld).mask
    return mask


def check_privacy(privacy: Privacy) -> str:
    """What could be checked of it here, in words; '' where there is nothing to check. Raises ConfigError as :func:`load_mask` does.

    A pipeline (``privacy.ner``) need not be on this machine: with one, the patterns alone are tried.
    """
    if not privacy.mask and not privacy.patterns:
        return ""
    if find_spec("presidio_analyzer") is None:
        return f"What masks personal data was not tried: Presidio is not installed here ({_EXTRA})."
    presidio = import_module("tiebreak.runtime.presidio_mask")
    if privacy.mask and privacy.ner is None:
        presidio.Masker(privacy)
    else:
        presidio.try_patterns(privacy)
    tried = len(privacy.patterns)
    slow = f" {tried} pattern(s) of yours were tried on texts made to be slow; that is no proof." if tried else ""
    return f"Masking is {'on' if privacy.mask else 'off'}.{slow}"

"""The masker of a project, loaded only where masking is on: Presidio takes seconds to import and is an extra."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Payload
from tiebreak.contracts.project import Privacy

Mask = Callable[[Payload], Payload]


def load_mask(privacy: Privacy) -> Mask:
    """What hides personal data in a payload; blocking to make (seconds) and to call (milliseconds).

    Raises ConfigError where Presidio is not installed, or where an entity, a region or a pattern of the project is not usable.
    """
    if find_spec("presidio_analyzer") is None:
        raise ConfigError("privacy.mask: is on, and Presidio is not installed.", fix="pip install 'tiebreak[privacy]'")
    mask: Mask = import_module("tiebreak.runtime.presidio_mask").Masker(privacy).mask
    return mask

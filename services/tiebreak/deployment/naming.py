"""Names of models in a store: which are allowed, and their order. Pure."""

from __future__ import annotations

import re

from tiebreak.contracts.errors import Invalid

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PARTS = re.compile(r"(\d+)")


def checked_name(name: str, what: str) -> str:
    """``name`` itself. Raises Invalid for one that could leave its folder or hide in it."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise Invalid(
            f"{what} {name!r} is not a name.", fix="Letters, digits, '.', '_' and '-', a letter or digit first."
        )
    return name


def natural_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key in which numbers count as numbers.

    >>> sorted(["v10", "v9", "v010"], key=natural_order)
    ['v9', 'v010', 'v10']
    """
    parts = _PARTS.split(version)
    return (*((1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts if p), (0, 0, version))

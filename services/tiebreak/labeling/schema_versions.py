"""Which form of the annotation schema somebody saw. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tiebreak.contracts.errors import Invalid

PATTERN = r"[1-9][0-9]{0,8}(\.[0-9]{1,4})?"
_FORM = re.compile(PATTERN)


@dataclass(frozen=True, slots=True, order=True)
class SchemaVersion:
    """``declared`` in the project file (``labeling.schema_version``), and how many classes people have ``added`` to it since.

    >>> str(SchemaVersion(3)), str(SchemaVersion(3, 2)), version_of("3.2") < SchemaVersion(3, 10)
    ('3', '3.2', True)
    """

    declared: int
    added: int = 0

    def __str__(self) -> str:
        return f"{self.declared}.{self.added}" if self.added else str(self.declared)


def version_of(text: str) -> SchemaVersion:
    """The inverse of ``str``. Raises Invalid."""
    if not _FORM.fullmatch(text):
        raise Invalid(
            "answer_schema_version: is not a version such as 3 or 3.2.", fix="Send the one that came with the task."
        )
    declared, _, added = text.partition(".")
    return SchemaVersion(int(declared), int(added or 0))


def check_known(seen: SchemaVersion, now: SchemaVersion) -> None:
    """Raise Invalid where nobody can have ``seen`` it yet. An older one will do: the answer's classes are checked by themselves."""
    if seen > now:
        raise Invalid(
            f"answer_schema_version: {seen} is newer than the schema of this project ({now}).",
            fix="Fetch the project again.",
        )

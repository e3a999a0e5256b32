"""Figures of sections that were measured before: a full run can be made in pieces, while the machine is quiet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from loadtests.figures import Figure


@dataclass(frozen=True, slots=True)
class Section:
    """One section's figures, and when and at which commit they were taken."""

    name: str
    measured: str
    commit: str
    figures: Sequence[Figure]

    @classmethod
    def now(cls, name: str, commit: str, figures: Sequence[Figure]) -> Section:
        """Taken at this moment."""
        return cls(name, datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), commit, tuple(figures))


class Kept:
    """Sections as files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> Section | None:
        """What was kept last; None for nothing."""
        path = self._path(name)
        if not path.exists():
            return None
        body = json.loads(path.read_text(encoding="utf-8"))
        return Section(name, body["measured"], body["commit"], [Figure(**each) for each in body["figures"]])

    def put(self, section: Section) -> None:
        """Keep ``section`` instead of what was kept of its name."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path(section.name).write_text(json.dumps(asdict(section), indent=1) + "\n", encoding="utf-8")

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

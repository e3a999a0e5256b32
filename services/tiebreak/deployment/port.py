"""What deployment asks of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tiebreak.contracts.candidate import Candidate
from tiebreak.contracts.messages import Manifest


@dataclass(frozen=True, slots=True)
class Served:
    """A model of the store: its manifest and its verified bytes."""

    manifest: Manifest
    model: bytes


class Probe(Protocol):
    """The mechanical check of a model, away from every process that serves."""

    async def check(
        self, candidate: Candidate, champion: Served | None, accepted: Served | None = None, /
    ) -> tuple[str, ...]:
        """Why it may not serve, in plain words; empty when it passed. Never raises for a bad model.

        ``champion``: the model whose cost it is measured against. ``accepted``: an earlier one, so that costs cannot creep past both.
        """

"""What deployment asks of others."""

from __future__ import annotations

from typing import Protocol

from tiebreak.contracts.candidate import Candidate


class Probe(Protocol):
    """The mechanical check of a model, away from every process that serves."""

    async def check(self, candidate: Candidate) -> tuple[str, ...]:
        """Why it may not serve, in plain words; empty when it passed. Never raises for a bad model."""

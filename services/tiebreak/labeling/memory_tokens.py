"""The token store's in-memory twin, for tests and simulation."""

from __future__ import annotations

from collections.abc import Sequence

from tiebreak.labeling.tokens import TokenRecord


class MemoryTokens:
    """Implements ``stage_tokens.TokenIndex``."""

    def __init__(self) -> None:
        self._records: dict[str, TokenRecord] = {}
        self._life = 0
        self._built = -1

    def lose(self) -> None:
        """Forget everything, as a flushed store does."""
        self._records = {}
        self._life += 1

    async def unbuilt(self) -> str | None:
        return None if self._built == self._life else str(self._life)

    async def built(self, life: str) -> None:
        self._built = int(life)

    async def drop(self, digest: str) -> None:
        self._records.pop(digest, None)

    async def put(self, record: TokenRecord) -> None:
        self._records[record.digest] = record

    async def get(self, digest: str) -> TokenRecord | None:
        return self._records.get(digest)

    async def revoke(self, name: str) -> int:
        ended = [d for d, r in self._records.items() if r.name == name]
        for digest in ended:
            del self._records[digest]
        return len(ended)

    async def records(self) -> Sequence[TokenRecord]:
        return tuple(self._records.values())

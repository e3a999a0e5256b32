"""The token store's in-memory twin, for tests and simulation."""

from __future__ import annotations

from collections.abc import Sequence

from tiebreak.labeling.tokens import TokenRecord


class MemoryTokens:
    """Implements ``stage_tokens.TokenIndex``."""

    def __init__(self) -> None:
        self._records: dict[str, TokenRecord] = {}
        self._built = False

    def lose(self) -> None:
        """Forget everything, as a flushed store does."""
        self._records, self._built = {}, False

    async def is_built(self) -> bool:
        return self._built

    async def built(self) -> None:
        self._built = True

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

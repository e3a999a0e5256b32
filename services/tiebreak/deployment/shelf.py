"""The models that candidates are compared with, each fetched once: one candidate after the other meets the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from tiebreak.contracts.errors import ModelRefused, NotFound
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.ports import ModelStore
from tiebreak.deployment.port import Served


class Shelf:
    """Reads one project's models. What is kept is used only while the store has it: a restart changes no comparison."""

    def __init__(self, store: ModelStore, project: str) -> None:
        self._store, self._project = store, project
        self._kept: dict[str, Served] = {}

    async def served(self, version: str) -> Served | None:
        """The model; None where it cannot be read."""
        manifest = await self._manifest(version)
        if manifest is None:
            return None
        if version not in self._kept:
            try:
                self._kept[version] = Served(*await self._store.get(self._project, version))
            except (NotFound, ModelRefused):
                return None
        return self._kept[version]

    async def oldest_alike(self, versions: Sequence[str], classes: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """The first of ``versions`` that answers for these classes, empty where none does; and those on the way that cannot be read.

        What classes these had is not known any more.
        """
        gone: list[str] = []
        for version in versions:
            manifest = await self._manifest(version)
            if manifest is None:
                gone.append(version)
            elif manifest.classes == classes:
                return version, tuple(gone)
        return "", tuple(gone)

    def keep(self, versions: Sequence[str]) -> None:
        """Let go of all others: models are large."""
        self._kept = {version: served for version, served in self._kept.items() if version in versions}

    async def _manifest(self, version: str) -> Manifest | None:
        try:
            if await self._store.holds(self._project, version):
                return await self._store.manifest(self._project, version)
        except (NotFound, ModelRefused):
            pass
        return None

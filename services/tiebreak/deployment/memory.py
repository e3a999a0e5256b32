"""The in-memory twin of the model store."""

from __future__ import annotations

from tiebreak.contracts.errors import Invalid
from tiebreak.contracts.messages import Manifest
from tiebreak.deployment.manifests import check_bytes, no_such_model, other_bytes
from tiebreak.deployment.naming import checked_name, natural_order


class MemoryModelStore:
    """A ModelStore that a restart empties."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], tuple[Manifest, bytes]] = {}

    async def put(self, manifest: Manifest, model: bytes) -> None:
        place = checked_name(manifest.project, "Project"), checked_name(manifest.version, "Version")
        check_bytes(manifest, model)
        known = self._models.setdefault(place, (manifest, model))
        if known[1] != model:
            raise other_bytes(manifest)

    async def manifest(self, project: str, version: str) -> Manifest:
        return (await self.get(project, version))[0]

    async def holds(self, project: str, version: str) -> bool:
        return (project, version) in self._models

    async def get(self, project: str, version: str) -> tuple[Manifest, bytes]:
        try:
            return self._models[checked_name(project, "Project"), checked_name(version, "Version")]
        except (KeyError, Invalid) as error:
            raise no_such_model(project, version) from error

    async def versions(self, project: str) -> tuple[str, ...]:
        return tuple(sorted((v for p, v in self._models if p == project), key=natural_order))

"""The annotation schema as it is now: what the project file says, and the classes that people have added since."""

from __future__ import annotations

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.project import Project
from tiebreak.labeling.port import Queue
from tiebreak.labeling.schema_versions import SchemaVersion, check_known, version_of

_FRESH_S = 1.0


class Schema:
    """Asks the queue for added classes, at most once a second for those who only want the version. Raises what the queue raises."""

    def __init__(self, project: Project, queue: Queue, clock: Clock) -> None:
        self._project = project
        self._queue = queue
        self._clock = clock
        self._declared = SchemaVersion(project.labeling.schema_version)
        self._known = self._declared
        self._asked = float("-inf")

    async def classes(self) -> tuple[str, ...]:
        """The project's classes and those people added."""
        names = self._project.classes.names
        if not self._project.classes.open:
            return names
        added = [name for name in await self._queue.classes() if name not in names]
        self._known = SchemaVersion(self._declared.declared, len(added))
        self._asked = self._clock.monotonic()
        return (*names, *added)

    async def now(self) -> SchemaVersion:
        """The version; a class that was added in another process counts within a second."""
        if self._project.classes.open and self._clock.monotonic() - self._asked >= _FRESH_S:
            await self.classes()
        return self._known

    async def seen(self, text: str) -> SchemaVersion:
        """The version that an annotator says they saw; the newest where they say nothing. Raises Invalid where there is none such."""
        if not text:
            return await self.now()
        version = version_of(text)
        if version > self._known:
            await self.classes()  # somebody else may have told them first
        check_known(version, self._known)
        return version

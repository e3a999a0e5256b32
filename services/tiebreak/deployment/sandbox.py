"""The mechanical half of the gate: a child process with limits loads the model and answers the golden batch."""

from __future__ import annotations

from tiebreak.contracts.candidate import Candidate
from tiebreak.contracts.errors import ModelRefused
from tiebreak.contracts.project import Project
from tiebreak.runtime.sandbox import Limits, check_model, wanted_by


class SandboxProbe:
    """A Probe over ``runtime/sandbox.py``."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._limits = Limits.of(project.gate)

    async def check(self, candidate: Candidate) -> tuple[str, ...]:
        try:
            wanted = wanted_by(self._project, candidate.manifest)
            await check_model(
                candidate.model,
                wanted,
                self._limits,
                temperature=candidate.manifest.temperature,
                golden=candidate.golden,
            )
        except ModelRefused as refused:
            return (str(refused),)
        return ()

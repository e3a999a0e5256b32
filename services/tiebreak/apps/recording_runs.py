"""Every candidate leaves a run on disk on its way to the gate."""

from __future__ import annotations

import structlog

from tiebreak.contracts.candidate import Candidate, CandidateSink, Champion
from tiebreak.contracts.project import Project
from tiebreak.deployment.files_runs import RunFiles

RUNS_FOLDER = "runs"
_log = structlog.get_logger(__name__)


class RecordingSink:
    """A CandidateSink that writes the run, then passes the candidate on. A full disk costs the record, never the model."""

    def __init__(self, project: Project, runs: RunFiles, sink: CandidateSink) -> None:
        self._project, self._runs, self._sink = project, runs, sink

    async def champion(self) -> Champion | None:
        return await self._sink.champion()

    async def consider(self, candidate: Candidate) -> None:
        try:
            await self._runs.record(self._project, candidate)
        except OSError as error:
            _log.warning("a run was not recorded", version=candidate.manifest.version, error=str(error))
        await self._sink.consider(candidate)

"""The mechanical half of the gate: a child process with limits loads the model, answers the golden batch, and is timed."""

from __future__ import annotations

from tiebreak.contracts.candidate import Candidate, Golden
from tiebreak.contracts.errors import ModelRefused
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.project import Project
from tiebreak.deployment.port import Served
from tiebreak.runtime.sandbox import Checked, Limits, Sandbox, wanted_by

# Below this a difference is noise and no event feels it: a young model grows from 20 kernels to 256 within microseconds.
_NOTICEABLE_S = 20e-6


class SandboxProbe:
    """A Probe over ``runtime/sandbox.py``."""

    def __init__(self, project: Project, sandbox: Sandbox | None = None) -> None:
        self._project = project
        self._sandbox = sandbox or Sandbox()
        self._limits = Limits.of(project.gate)
        # Seconds per event of the champion and of the last challenger, which is the next champion once promoted: nothing is
        # measured twice, since each start of a child delays the model that people wait for.
        self._champion: tuple[str, float] = ("", 0.0)
        self._challenger: tuple[str, float] = ("", 0.0)

    async def check(self, candidate: Candidate, champion: Served | None) -> tuple[str, ...]:
        try:
            event_s = _event_s(await self._run(candidate.manifest, candidate.model, candidate.golden))
        except ModelRefused as refused:
            return (str(refused),)
        if champion is None:
            refusals: tuple[str, ...] = ()
        else:
            try:
                refusals = await self._compare(candidate, event_s, champion)
            except ModelRefused:
                refusals = ()  # the champion itself does not load here: there is nothing to be slower than
        self._challenger = candidate.manifest.version, event_s
        return refusals

    async def _compare(self, candidate: Candidate, event_s: float, champion: Served) -> tuple[str, ...]:
        known = dict((self._challenger, self._champion))
        before_s = known.get(champion.manifest.version)
        if before_s is None:
            before_s = _event_s(await self._run(champion.manifest, champion.model))
        self._champion = champion.manifest.version, before_s
        if not self._slow(event_s, before_s):
            return ()
        # A busy machine can double any time: both once more, side by side, and the doubt is the challenger's.
        before_s = max(before_s, _event_s(await self._run(champion.manifest, champion.model)))
        event_s = min(event_s, _event_s(await self._run(candidate.manifest, candidate.model)))
        if not self._slow(event_s, before_s):
            return ()
        said = f"it takes {1e6 * event_s:.1f} us per event, the champion {1e6 * before_s:.1f}"
        return (f"{said}: more than gate.max_latency_ratio = {self._project.gate.max_latency_ratio:g} times as much",)

    def _slow(self, event_s: float, before_s: float) -> bool:
        return event_s > self._project.gate.max_latency_ratio * before_s and event_s - before_s > _NOTICEABLE_S

    async def _run(self, manifest: Manifest, model: bytes, golden: Golden | None = None) -> Checked:
        wanted = wanted_by(self._project, manifest)
        return await self._sandbox.check(model, wanted, self._limits, temperature=manifest.temperature, golden=golden)


def _event_s(checked: Checked) -> float:
    return checked.batch_s / checked.batch_rows

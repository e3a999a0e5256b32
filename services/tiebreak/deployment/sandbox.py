"""The mechanical half of the gate: a child process with limits loads the model, answers the golden batch, and is timed."""

from __future__ import annotations

from tiebreak.contracts.candidate import Candidate
from tiebreak.contracts.errors import ModelRefused
from tiebreak.contracts.project import Project
from tiebreak.deployment.port import Served
from tiebreak.runtime.sandbox import Checked, Course, Limits, Race, Runner, Sandbox, wanted_by

# Processor seconds per event, in batches. Below it no event feels a difference, and one must be let through: where the trainer takes
# trees instead of a head, a model of 1 us becomes one of 6 to 23.
_NOTICEABLE_S = 30e-6
_PAIRS = 15  # at most; models that differ, or do not, are told apart by eight
_RUN_S = 0.03  # one run of a pair: long enough for the clock, short enough that what else the machine does is the same in both


class SandboxProbe:
    """A Probe over ``runtime/sandbox.py``."""

    def __init__(self, project: Project, sandbox: Sandbox | None = None) -> None:
        self._project = project
        self._sandbox = sandbox or Sandbox()
        self._limits = Limits.of(project.gate)

    async def check(
        self, candidate: Candidate, champion: Served | None, accepted: Served | None = None
    ) -> tuple[str, ...]:
        ours = Served(candidate.manifest, candidate.model)
        try:
            checked = await self._sandbox.check(
                ours.model,
                wanted_by(self._project, ours.manifest),
                self._limits,
                temperature=ours.manifest.temperature,
                golden=candidate.golden,
            )
            # A model that takes next to nothing takes next to nothing more: people wait for it, and it is not raced.
            if checked.batch_s <= _NOTICEABLE_S * checked.batch_rows:
                return ()
            found: list[str] = []
            for rival, whose in ((champion, "the champion's"), (accepted, "that of {}")):
                if rival is not None and not found:
                    race = await self._race(candidate, checked, ours, rival)
                    found += self._too_dear(race, whose.format(rival.manifest.version))
        except ModelRefused as refused:
            return (str(refused),)
        return tuple(found)

    def _too_dear(self, race: Race, whose: str) -> list[str]:
        bound = self._project.gate.max_cost_ratio
        if race.ratio <= bound or race.excess_s <= _NOTICEABLE_S:
            return []
        said = f"its processor time is {race.ratio:.2f} times {whose}, {1e6 * race.excess_s:.0f} us more per event"
        return [f"{said} (median of {len(race.pairs)} pairs): more than gate.max_cost_ratio = {bound:g}"]

    async def _race(self, candidate: Candidate, checked: Checked, ours: Served, champion: Served) -> Race:
        rows = max(1, min(checked.batch_rows, int(checked.batch_rows * _RUN_S / checked.batch_s)))
        course = Course(candidate.golden.inputs, rows, self._project.gate.max_cost_ratio, _PAIRS)
        return await self._sandbox.race(self._runner(ours), self._runner(champion), course, self._limits)

    def _runner(self, served: Served) -> Runner:
        return Runner(served.model, wanted_by(self._project, served.manifest), served.manifest.temperature)

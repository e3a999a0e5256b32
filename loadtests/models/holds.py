"""Whether the gate's holds are right: a learner on the demo's digits from its first label on, each model's worth known.

``python -m loadtests.models.holds``: by the gate's rule, by the net gain that was asked for before ADR 0032, and with no gate at all.
Events are chosen by uncertainty with known chances, besides a uniform audit slice; each label makes a model, as at a person's pace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import yaml
from numpy.typing import NDArray

from loadtests.models.live import PROJECT
from tests.support.labels import make_label
from tiebreak.apps.demo.digits import digits_world
from tiebreak.apps.demo.world import CLASSES, WorldSettings
from tiebreak.contracts.candidate import Evaluation
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray
from tiebreak.deployment.gate import Decision, Verdict, judge
from tiebreak.training.dataset import Dataset, row_of
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.export import read_back
from tiebreak.training.fitting import Stamp, gathered, planned, train
from tiebreak.training.sklearn_learners import contest_of
from tiebreak.training.targets import target_of

_LABELS, _SEEDS, _EVENTS, _TESTED = 140, 4, 14_000, 2000
_AUDIT, _CHOSEN, _COLD = 0.0035, 0.02, 0.08  # shares of the events that are asked about

Rule = Callable[[Evaluation, Project], Decision]


def by_gate(evaluation: Evaluation, project: Project) -> Decision:
    """As it is."""
    return judge(evaluation, (), project.gate)


def by_net_gain(evaluation: Evaluation, project: Project) -> Decision:
    """As the fast lane was: whatever the odds, a net loss holds; and no reference."""
    decision = judge(replace(evaluation, reference=None), (), project.gate)
    lost = decision.verdict is Verdict.PROMOTE and "not shown to be worse" in decision.reasons[0]
    return Decision(Verdict.HOLD, decision.reasons) if lost else replace(decision, accepted=False)


def ungated(evaluation: Evaluation, _project: Project) -> Decision:
    """The newest model serves."""
    return Decision(Verdict.PROMOTE, (evaluation.champion,))


@dataclass(frozen=True, slots=True)
class Judged:
    """A challenger: was it let through, by how much it was truly better than what served, and the accuracy served from then on."""

    passed: bool
    gain: float
    served: float


@dataclass(frozen=True, slots=True)
class _Data:
    x: FloatArray
    y: NDArray[np.str_]

    @classmethod
    def of(cls, seed: int) -> _Data:
        world = digits_world(WorldSettings(events=_EVENTS + _TESTED, seed=100 + seed, drift_at=1.0))
        return cls(world.features, np.array(CLASSES)[world.truths])

    def accuracy(self, contender: Contender) -> float:
        answers = np.array(contender.model.classes)[contender.probabilities((), self.x[_EVENTS:]).argmax(axis=1)]
        return float((answers == self.y[_EVENTS:]).mean())


def follow(rule: Rule, seed: int, labels: int = _LABELS) -> Sequence[Judged]:
    """Every challenger of one run."""
    project, data, rng = Project.model_validate(yaml.safe_load(PROJECT)), _Data.of(seed), np.random.default_rng(seed)
    target = target_of(project)
    contest, dataset = contest_of(project.training, data.x.shape[1], target, None), Dataset(capacity=20_000)
    serving: Serving | None = None
    found: list[Judged] = []
    usual, n = 0.5, 0
    for i in range(_EVENTS):
        x, chance = data.x[i : i + 1], _COLD
        if serving is not None and serving.contender is not None:
            unsure = 1.0 - float(serving.contender.probabilities((), x).max())
            usual += 0.02 * (unsure - usual)
            chance = min(1.0, _CHOSEN * (unsure / usual) ** 3)
        audit, chosen = rng.random() < _AUDIT, rng.random() < chance
        if not (audit or chosen):
            continue
        n += 1
        label = make_label(f"e{i}", str(data.y[i]), x[0].tolist(), audit=bool(audit), settled_ms=n)
        dataset.add(row_of(replace(label, selection=replace(label.selection, propensity=_AUDIT if audit else chance))))
        material = gathered(dataset, project)
        if not material.learnable or len(material.training) < project.training.min_labels:
            continue
        plan, wanted = planned(contest, material)
        made = train(plan.learner, project, wanted, serving, Stamp(n, n))
        read = read_back(made.model)
        if read is None:
            raise RuntimeError("a model of our own cannot be read back")
        challenger = Serving(made.manifest.version, Contender(*read, target=target))
        if serving is None:
            serving = challenger
            continue
        serving, judged = _next(rule(made.evaluation, project), serving, challenger, data)
        found.append(judged)
        if n == labels:
            break
    return found


def _next(decision: Decision, serving: Serving, challenger: Serving, data: _Data) -> tuple[Serving, Judged]:
    if serving.contender is None or challenger.contender is None:
        raise RuntimeError("a model of our own cannot be read back")
    before, after = data.accuracy(serving.contender), data.accuracy(challenger.contender)
    passed = decision.verdict is Verdict.PROMOTE
    if not passed:
        return serving, Judged(passed, after - before, before)
    reference = None if decision.accepted else replace(serving.reference or serving, reference=None)
    return replace(challenger, reference=reference), Judged(passed, after - before, after)


def main() -> None:
    """One line per rule."""
    rules = {"the gate": by_gate, "net gain, as before": by_net_gain, "no gate": ungated}
    for name, rule in rules.items():
        runs = [follow(rule, seed) for seed in range(_SEEDS)]
        judged = [one for run in runs for one in run]
        held = [one.gain for one in judged if not one.passed]
        better = sum(gain > 0.0 for gain in held)
        said = (
            f", {better} of them better than what served, {100 * np.mean(held):+.2f} points on average" if held else ""
        )
        served = np.mean([one.served for one in judged])
        print(
            f"{name:20} accuracy served {served:.4f}, at the end {np.mean([run[-1].served for run in runs]):.4f}; ",
            end="",
        )
        print(f"held {len(held)} of {len(judged)}{said}", flush=True)


if __name__ == "__main__":
    main()

"""Lines of small steps: one challenger after each label, each hardly different from the one before.

What the fast lane and the review let through of them, by how much each step is worth. A model is known by which events it gets right;
a step turns some of those around. Its members left out say the truth (``honest``), or never a loss (``flattered``).
``python -m loadtests.models.lines`` prints all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.candidate import Against, Evaluation, Interval, Paired
from tiebreak.contracts.project import Gate
from tiebreak.deployment.gate import Verdict, judge, judge_serving

_NONE = Interval(0.0, 0.0, 1.0, 0)
_RIGHT, _MOST_RIGHT = 0.85, 0.97
_FIRST, _AUDIT = 40, 0.2  # labels when the first model serves; the share of audit labels
_TURNED = 0.01  # of the events, at each step, and as many back

Right = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Line:
    """Each step changes the accuracy by ``better``, from step ``turn`` on by as much less (0: never)."""

    better: float
    turn: int = 0
    flattered: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """Of many lines: the share of challengers held, and of lines ever rolled back.

    At their ends: the mean accuracy served, that of the newest model, and the lowest one served.
    """

    held: float
    rolled_back: float
    served: float
    newest: float
    lowest: float


@dataclass(slots=True)
class _Model:
    right: Right
    accuracy: float
    name: str


@dataclass(slots=True)
class _Run:
    """One line. ``audit``: which labels are of that slice; a model's ``right`` is of all labels, those to come as well."""

    gate: Gate
    audit: Right
    champion: _Model
    previous: _Model
    reference: _Model
    left: int = _FIRST  # labels when the reference was left, and when the champion began
    since: int = _FIRST
    held: int = 0
    rolled_back: bool = field(default=False)

    def consider(self, challenger: _Model, labels: int, *, flattered: bool) -> None:
        def against(model: _Model) -> Against:
            seen = np.arange(len(self.audit)) < labels
            left_out = seen & ~self.audit
            lost = model.right & ~challenger.right
            first = np.where(lost, challenger.right, model.right) if flattered else model.right
            return Against(
                model.name,
                _pairs(model.right, challenger.right, seen & self.audit),
                _pairs(first, challenger.right, left_out),
            )

        beside = against(self.champion)
        reference = against(self.reference) if self.reference is not self.champion else None
        given = Evaluation(self.champion.name, beside.audit, beside.left_out, _NONE, _NONE, reference=reference)
        decision = judge(given, (), self.gate)
        if decision.verdict is not Verdict.PROMOTE:
            self.held += 1
            return
        if self.champion is self.reference:
            self.left = labels
        self.previous, self.champion, self.since = self.champion, challenger, labels
        if decision.accepted:
            self.reference = challenger

    def review(self, labels: int) -> None:
        for before, since in ((self.previous, self.since), (self.reference, self.left)):
            at = np.arange(len(self.audit))
            new = (at >= since) & (at < labels) & self.audit
            if before is self.champion or not new.any():
                continue
            if judge_serving(_pairs(before.right, self.champion.right, new), self.gate).verdict is Verdict.ROLL_BACK:
                self.rolled_back = True
                self.champion = self.previous = before


def follow(line: Line, gate: Gate, runs: int = 20, steps: int = 200, seed: int = 21) -> Told:
    """``runs`` lines of so many steps; looked at after each label."""
    rng = np.random.default_rng(seed)
    ended: list[_Run] = []
    newest = _RIGHT
    for _ in range(runs):
        labels = _FIRST + steps
        model = _Model(rng.random(labels) < _RIGHT, _RIGHT, "v0")
        run = _Run(gate, rng.random(labels) < _AUDIT, model, model, model)
        for step in range(1, steps + 1):
            better = -line.better if line.turn and step > line.turn else line.better
            model = _stepped(model, better, rng, f"v{step}")
            run.consider(model, _FIRST + step, flattered=line.flattered)
            run.review(_FIRST + step)
        ended.append(run)
        newest = model.accuracy
    served = [run.champion.accuracy for run in ended]
    held, back = (sum(run.held for run in ended) / (runs * steps), sum(run.rolled_back for run in ended) / runs)
    return Told(held, back, float(np.mean(served)), newest, min(served))


def _stepped(model: _Model, better: float, rng: np.random.Generator, name: str) -> _Model:
    now = float(np.clip(model.accuracy + better, 0.05, _MOST_RIGHT))
    gained = _TURNED * model.accuracy
    # What is right becomes wrong just so often that the accuracy moves as asked.
    lost = (model.accuracy - now + (1.0 - model.accuracy) * gained) / model.accuracy
    drawn = rng.random(len(model.right))
    return _Model(np.where(model.right, drawn >= lost, drawn < gained), now, name)


def _pairs(champion: Right, challenger: Right, chosen: Right) -> Paired:
    at = np.flatnonzero(chosen)
    old, new = champion[at].astype(float), challenger[at].astype(float)
    return Paired(tuple(map(str, at)), ("a",) * len(at), tuple(old.tolist()), tuple(new.tolist()), (1.0,) * len(at))


LINES = {
    "A/A: as good": Line(0.0),
    "0.05 points better each": Line(0.0005),
    "0.05 points worse each": Line(-0.0005),
    "0.2 points worse each": Line(-0.002),
    "0.05 points worse each, flattered": Line(-0.0005, flattered=True),
    "0.2 points worse each, flattered": Line(-0.002, flattered=True),
    "0.1 points better each, from step 80 on as much worse": Line(0.001, turn=80),
}


def main() -> None:
    """One line for each."""
    for name, line in LINES.items():
        told = follow(line, Gate())
        shares = f"held {told.held:.3f}, rolled back {told.rolled_back:.3f}"
        print(
            f"{name:55} {shares}; served {told.served:.3f} (lowest {told.lowest:.3f}), newest {told.newest:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Who chooses in a replay: Tiebreak's own policy, or a baseline behind the same few lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tiebreak.contracts.messages import DriftEvent, Selection
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Project
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.heard import Answered, Heard
from tiebreak.sampling.policy import decide

# A replay has no hour: events come a millisecond apart, and the share decides alone.
_SECONDS_PER_EVENT = 1e-3
_PLENTY = Grant(2**31, 0)


@dataclass(frozen=True, slots=True)
class Pick:
    """An event chosen: its row in the batch, whether it is an audit task, the threshold it reached, its chance, and what the policy
    says of it, where a policy chose."""

    row: int
    audit: bool = False
    threshold: float = float("nan")
    propensity: float = 1.0
    selection: Selection | None = None


@dataclass(slots=True)
class Bursts:
    """Event numbers at which bursts opened and closed, and of each that closed why, with the bounds of the error since its alarm."""

    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    ended: list[tuple[str, float, float]] = field(default_factory=list)


class Selector(Protocol):
    """Chooses rows of scored batches, in stream order; what it learns from earlier batches is its own."""

    def select(self, batch: Scored, at: int) -> Sequence[Pick]:
        """Picks of a batch whose first event has number ``at``, rows ascending, each at most once."""


class PolicySelector:
    """The real policy of a project, with a budget that never refuses: its share is what is spent."""

    def __init__(self, project: Project) -> None:
        self.bursts = Bursts()
        self._policy = Policy.of(project)
        self._state = initial(self._policy)
        self._heard = Heard(self._policy, project.labeling.answer)

    def hear(self, answered: Answered) -> None:
        """An answer came back."""
        self._heard.tell(answered)

    def select(self, batch: Scored, at: int) -> Sequence[Pick]:
        told = self._heard.waiting()
        moment = Moment(at * _SECONDS_PER_EVENT, 1.0, *told)
        decision, self._state = decide(self._policy, self._state, batch, _PLENTY, moment)
        self._heard.used(told)
        for record in decision.records:
            if record.event is DriftEvent.BURST_OPENED:
                self.bursts.opened.append(at)
            elif record.event is DriftEvent.BURST_CLOSED:
                self.bursts.closed.append(at)
                self.bursts.ended.append((record.ended, record.error_low, record.error_high))
        return [
            Pick(row, one.audit, one.threshold, one.propensity, one)
            for row, one in zip(decision.rows, decision.selections, strict=True)
        ]


class UniformSelector:
    """Each event with the same probability: what every saving is measured against."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._rng = np.random.default_rng((seed, 0x9E37))

    def select(self, batch: Scored, at: int) -> Sequence[Pick]:
        del at
        return [
            Pick(row, propensity=self._share)
            for row in np.flatnonzero(self._rng.random(len(batch)) < self._share).tolist()
        ]


class PeriodicSelector:
    """Every so many events one: ``share`` of them, evenly spread."""

    def __init__(self, share: float) -> None:
        self._share = share

    def select(self, batch: Scored, at: int) -> Sequence[Pick]:
        due = np.floor(np.arange(at, at + len(batch) + 1) * self._share)
        return [Pick(row) for row in np.flatnonzero(np.diff(due) > 0.0).tolist()]

"""What labels that come back tell, kept until a batch takes it in: the sampler's shell and a replay hear in the same way."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tiebreak.contracts.answer_text import agrees
from tiebreak.contracts.hashing import thinned
from tiebreak.contracts.messages import Selection
from tiebreak.contracts.project import Answer
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling.appraisal import Policy
from tiebreak.sampling.bandit import Returned
from tiebreak.sampling.drift import LABEL_ERROR
from tiebreak.sampling.knowing import InBurst
from tiebreak.sampling.mistakes import Checked
from tiebreak.sampling.parts import members

MOST_WAITING = 1000


class Answered(NamedTuple):
    """A question that came back: how it was chosen, what was predicted, what people said, and what the head would learn from."""

    label_id: str
    selection: Selection
    predicted: str
    value: str
    features: Sequence[float] | FloatArray


class Told(NamedTuple):
    """What a batch takes in of it, as the fields of ``Moment`` of the same names."""

    errors: tuple[bool, ...] = ()
    returned: tuple[Returned, ...] = ()
    checked: tuple[Checked, ...] = ()
    in_burst: tuple[InBurst, ...] = ()


class Heard:
    """Answers to questions of one project, as far as its policy listens. ``waiting`` is what the next batch takes in; then ``used``.

    Batches that come again take in what they did the first time, one after the other (``again``), and only then what is new.
    """

    def __init__(self, policy: Policy, answer: Answer) -> None:
        self._policy, self._answer = policy, answer
        self._errors: list[bool] = []
        self._returned: list[Returned] = []
        self._checked: list[Checked] = []
        self._in_burst: list[InBurst] = []
        self._again: deque[Told] = deque()

    @property
    def listens(self) -> bool:
        """Whether answers change what is asked."""
        drift = self._policy.drift
        bursts = bool(drift.signals) and drift.burst.labels > 0 and drift.burst.known_to is not None
        return bool(self._policy.arms) or bursts or not {"audit_error", LABEL_ERROR}.isdisjoint(drift.signals)

    def tell(self, answered: Answered) -> None:
        """Keep what it says of the prediction; without one it says nothing.

        Audit labels that were drawn with a weight are thinned by it: what hears of them takes them for a uniform slice; the error since
        an alarm has weights of its own.
        A stream that stands still takes nothing from here: answers that come meanwhile are kept as far as memory is bounded.
        """
        _, chosen, predicted, value, features = answered
        if not predicted:
            return
        wrong = not agrees(self._answer, predicted, value)
        if chosen.burst_weight > 0.0 and len(self._in_burst) < MOST_WAITING:
            self._in_burst.append(InBurst(chosen.burst_id, wrong, chosen.burst_weight))
        if chosen.audit and not thinned([answered.label_id], [chosen.counts])[0]:
            return
        if chosen.audit and len(self._errors) < MOST_WAITING:
            self._errors.append(wrong)
        if LABEL_ERROR in self._policy.drift.signals and len(self._checked) < MOST_WAITING:
            self._checked.append(Checked(chosen.uncertainty, wrong, self._within(features)))
        if self._policy.arms and len(self._returned) < MOST_WAITING:
            self._returned.append(Returned(chosen.strategy, chosen.audit, predicted, value, features))

    def waiting(self) -> Told:
        """What the next batch takes in."""
        if self._again:
            return self._again[0]
        return Told(tuple(self._errors), tuple(self._returned), tuple(self._checked), tuple(self._in_burst))

    def used(self, told: Told) -> None:
        """Forget what a batch took in; more may have come meanwhile."""
        if self._again:
            self._again.popleft()
            return
        del self._errors[: len(told.errors)]
        del self._returned[: len(told.returned)]
        del self._checked[: len(told.checked)]
        del self._in_burst[: len(told.in_burst)]

    def again(self, told: Sequence[Told]) -> None:
        """Batches that took this in, oldest first, will come again."""
        self._again.extendleft(reversed(told))

    def _within(self, features: Sequence[float] | FloatArray) -> tuple[bool, ...]:
        if not self._policy.parts:
            return ()
        return tuple(members(self._policy.parts, np.asarray(features, np.float32)[None], 1)[0].tolist())

"""What labels that come back tell, kept until a batch takes it in: the sampler's shell and a replay hear in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tiebreak.contracts.answer_text import agrees
from tiebreak.contracts.hashing import thinned
from tiebreak.contracts.messages import Selection
from tiebreak.contracts.project import Answer
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling.appraisal import Policy
from tiebreak.sampling.bandit import Returned
from tiebreak.sampling.drift import LABEL_ERROR
from tiebreak.sampling.mistakes import Checked

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


class Heard:
    """Answers to questions of one project, as far as its policy listens. ``waiting`` is what no batch has taken in; then ``used``."""

    def __init__(self, policy: Policy, answer: Answer) -> None:
        self._policy, self._answer = policy, answer
        self._errors: list[bool] = []
        self._returned: list[Returned] = []
        self._checked: list[Checked] = []

    @property
    def listens(self) -> bool:
        """Whether answers change what is asked."""
        return bool(self._policy.arms) or not {"audit_error", LABEL_ERROR}.isdisjoint(self._policy.drift.signals)

    def tell(self, answered: Answered) -> None:
        """Keep what it says of the prediction; without one it says nothing.

        Audit labels that were drawn with a weight are thinned by it: what hears of them takes them for a uniform slice.
        A stream that stands still takes nothing from here: answers that come meanwhile are kept as far as memory is bounded.
        """
        _, chosen, predicted, value, features = answered
        if not predicted or (chosen.audit and not thinned([answered.label_id], [chosen.counts])[0]):
            return
        wrong = not agrees(self._answer, predicted, value)
        if chosen.audit and len(self._errors) < MOST_WAITING:
            self._errors.append(wrong)
        if LABEL_ERROR in self._policy.drift.signals and len(self._checked) < MOST_WAITING:
            self._checked.append(Checked(chosen.uncertainty, wrong))
        if self._policy.arms and len(self._returned) < MOST_WAITING:
            self._returned.append(Returned(chosen.strategy, chosen.audit, predicted, value, features))

    def waiting(self) -> Told:
        """What no batch has taken in yet."""
        return Told(tuple(self._errors), tuple(self._returned), tuple(self._checked))

    def used(self, told: Told) -> None:
        """Forget what a batch took in; more may have come meanwhile."""
        del self._errors[: len(told.errors)]
        del self._returned[: len(told.returned)]
        del self._checked[: len(told.checked)]

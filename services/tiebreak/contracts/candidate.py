"""What training hands to deployment: a model, how it did on labels that did not train it, and rows to check it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.tensors import FloatArray, Tensors


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval at level ``1 - alpha``; ``n`` labels stand behind it, where weights differ effectively so many."""

    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Paired:
    """Champion and challenger on the same labels, none of which trained either; oldest first, all of one length.

    ``champion`` and ``challenger`` hold the share of each label's verdicts that were right, in [0, 1] (0 or 1 where one
    class is judged, between them where several committee members are, or where near is nearly right). ``weights`` >= 0 undo how
    labels were selected, those of audit labels are within (0, 1].
    The Brier scores, halved to lie
    in [0, 1], lower is better, are there for audit labels and empty elsewhere. ``slices``: name of a declared slice -> who is in it.
    ``apart``: None, or where the audit slice looked more often while these very two were compared: whether they differed there.
    """

    label_ids: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    champion: tuple[float, ...] = ()
    challenger: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    champion_brier: tuple[float, ...] = ()
    challenger_brier: tuple[float, ...] = ()
    slices: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    apart: tuple[bool | None, ...] = ()

    def __len__(self) -> int:
        return len(self.label_ids)


@dataclass(frozen=True, slots=True)
class Against:
    """The challenger beside the model ``version``: in both, ``champion`` is that model."""

    version: str
    audit: Paired
    left_out: Paired


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A challenger's report, with the champion on the same labels where there is one.

    ``audit`` are labels of the uniform random slice; ``left_out`` are training labels, each judged only by those committee
    members whose bootstrap left it out, weighted against selection. Times and entropies are of the audit labels.
    ``since_ms``: both hold only labels settled since then, the newest confirmed drift (0: none was). The figures beside them are
    of all audit labels.
    ``measure``: what a point is, in words, where it is not a share of right answers.
    ``reference``: the same evidence beside the model that was last accepted on evidence or by people; None where the champion is it.
    """

    champion: str
    audit: Paired
    left_out: Paired
    accuracy: Interval
    left_out_accuracy: Interval
    champion_accuracy: Interval | None = None
    per_class: dict[str, Interval] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    since_ms: int = 0
    measure: str = ""
    reference: Against | None = None


@dataclass(frozen=True, slots=True)
class Golden:
    """Rows with the answers they must get: ``probabilities`` ``(n, k)`` as the learner computes them, within ``tolerance``.

    Of a regressor they are its values ``(n, 1)``.
    """

    inputs: Tensors
    probabilities: FloatArray
    tolerance: float = 1e-3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A challenger, ready for the gate. ``digest`` is the sha256 of the weights."""

    manifest: Manifest
    model: bytes
    evaluation: Evaluation
    golden: Golden
    digest: str


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that serves, and its verified file; None when the file cannot be read.

    ``reference``: the model that was last accepted on evidence or by people, where that is another.
    """

    version: str
    model: bytes | None
    reference: Champion | None = None


@dataclass(frozen=True, slots=True)
class Incumbents:
    """The model that serves, or (``tried``) a challenger in a rollout; since when; and the one that a rollback would bring back."""

    serving: Champion
    previous: Champion
    since_ms: int
    tried: bool = False


class ServingJudge(Protocol):
    """Where a trainer brings what new audit labels say of the model that serves."""

    async def incumbents(self) -> Sequence[Incumbents]:
        """The model that serves and the one in a rollout, those that there are; none of a pinned project. Raises Unreachable."""

    async def review(self, incumbents: Incumbents, since: Paired) -> None:
        """Roll back where ``since`` (``champion``: the previous model, ``challenger``: the serving one) condemns what serves.

        Nothing happens when something else serves by now. Raises PublishFailed: bring it again.
        """


class CandidateSink(Protocol):
    """Where a trainer brings its candidates: deployment, which also knows what serves."""

    async def champion(self) -> Champion | None:
        """The model that serves now, or None. Raises Unreachable when that cannot be known."""

    async def consider(self, candidate: Candidate) -> None:
        """Judge and publish. A candidate that was judged before changes nothing.

        Raises Conflict when it was evaluated against another model than the one that serves now: evaluate it again;
        PublishFailed: offer it again.
        """

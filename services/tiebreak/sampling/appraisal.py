"""Settings, batches and what can be said of a batch before any money is spent; ``appraising.py`` says it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import DriftRecord, Reason, Selection
from tiebreak.contracts.ports import NO_BURST, Lent
from tiebreak.contracts.project import Budget, Drift, Project, Sampling
from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.sampling import acquisition, acquisition_forms, bandit, drift, parts, projections
from tiebreak.sampling.balance import Floors, Group, groups_of
from tiebreak.sampling.bandit import Returned
from tiebreak.sampling.differing import Differs
from tiebreak.sampling.knowing import InBurst
from tiebreak.sampling.mistakes import Checked
from tiebreak.sampling.mixing import Mixture
from tiebreak.sampling.origins import OriginOf
from tiebreak.sampling.parts import Part, parts_of
from tiebreak.sampling.pricing import Tariff, tariff_of
from tiebreak.sampling.state import SamplerState

Floats = NDArray[np.float64]

EMBEDDING = 64  # columns from which on features are taken for an embedding
EMBEDDING_TEMPER, TABLE_TEMPER = 0.25, 2.0
LEAST_PROPENSITY = 1e-9

TimeOf = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of one project, frozen."""

    project: str
    sampling: Sampling
    budget: Budget
    drift: Drift
    groups: tuple[Group, ...] = ()
    tariff: Tariff | None = None
    compared: float = 0.0
    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, project: Project) -> Policy:
        """The policy that a project file asks for."""
        return cls(
            project.project,
            project.sampling,
            project.budget,
            project.drift,
            groups_of(project),
            tariff_of(project),
            project.gate.canary.compared,
            parts_of(project),
        )

    @property
    def arms(self) -> tuple[str, ...]:
        """The acquisitions that a bandit chooses among; none without one."""
        return self.sampling.arms if self.sampling.strategy == "bandit" else ()

    @property
    def fingerprint(self) -> str:
        """Names the settings: a state made under others is not restored."""
        return blake2b(repr(self).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Scored:
    """A scored batch as arrays of ``n`` rows; see :class:`tiebreak.contracts.tensors.Scores` for the shapes.

    ``probabilities``: those by which to ask, where a model serves others.
    ``features`` ``(n, d)`` is what diversity compares, ``inputs`` ``(n, e)`` what the drift detectors watch, each None where there is
    none; ``embedded`` says that ``inputs`` were made by the model. ``replayed`` rows are never selected.
    ``form`` MULTI: each probability is of its own. ``values`` ``(n,)`` and ``members`` ``(m, n, 1)`` of a regressor are shares of
    the declared range. ``classes`` are the names of the columns; ``kilobytes`` ``(n,)`` how long events are, where that has a price.
    ``origin_of`` tells a row's source and key, ``time_of`` when it happened, in milliseconds of Unix time. ``partition`` and ``offset``
    are those of the last row. ``differs`` ``(n,)``: where the answers of ``challenger`` differ from these.
    """

    ids: Sequence[bytes]
    version: str
    probabilities: FloatArray
    members: FloatArray | None = None
    features: FloatArray | None = None
    inputs: FloatArray | None = None
    embedded: bool = False
    replayed: frozenset[int] = frozenset()
    partition: int = 0
    offset: int = 0
    origin_of: OriginOf | None = None
    time_of: TimeOf | None = None
    form: Form = Form.CLASSES
    values: FloatArray | None = None
    classes: Sequence[str] = ()
    kilobytes: Floats | None = None
    challenger: str = ""
    differs: Differs | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What can be said of a batch before any budget: per row the utility and its draws, for the batch the share to aim at.

    ``sound`` ``(n,)`` says which rows are what their form says they are (see :func:`askable`).
    ``bursts`` are those opened now, with the labels of all replicas; ``prices`` ``(n,)`` in ordinary answers, where they differ.
    ``mixture``: the arms of a bandit, where one chooses among acquisitions. ``typical`` ``(n,)``: the logarithm of how typical each
    event is, where that counts.
    ``draws`` ``(n, 3)``: noise for uncertainty, noise for novelty, and whether to examine the row for novelty at all; a fourth column
    where there are floors, the coin of ``balance``.
    """

    kind: str
    utility: Floats
    sound: NDArray[np.bool_]
    audit: Floats
    draws: Floats
    share: float
    records: tuple[DriftRecord, ...]
    bursts: tuple[Lent, ...]
    prices: Floats | None = None
    mixture: Mixture | None = None
    typical: Floats | None = None

    @property
    def malformed(self) -> int:
        """How many rows are not sound."""
        return int((~self.sound).sum())

    def kind_of(self, row: int) -> str:
        """What decided about a row: of a bandit, its arm."""
        return self.kind if self.mixture is None else self.mixture.name(row)


@dataclass(frozen=True, slots=True)
class Moment:
    """What surrounds a batch: Unix time, this replica's part of the project's partitions in (0, 1], and the audit labels that
    came back since the last batch (whether the prediction each one checks was wrong). ``returned``: all labels, for a bandit;
    ``checked``: all of them, as far as mistakes go; ``in_burst``: those that tell of the error since an alarm.
    ``burst`` is the one that the project has open, over its replicas; ``partitions`` are this replica's, as far as they are known."""

    now_s: float
    fleet: float = 1.0
    errors: tuple[bool, ...] = ()
    returned: tuple[Returned, ...] = ()
    checked: tuple[Checked, ...] = ()
    in_burst: tuple[InBurst, ...] = ()
    burst: Lent = NO_BURST
    partitions: frozenset[int] = frozenset()


_BY_COMMITTEE: Mapping[str, Callable[[FloatArray], Floats]] = {
    "vote_entropy": acquisition.vote_entropy,
    "bald": acquisition.bald,
    "kl": acquisition.kl_to_consensus,
}
_BY_PROBABILITIES: Mapping[str, Callable[[FloatArray], Floats]] = {
    "least_confidence": acquisition.least_confidence,
    "entropy": acquisition.entropy,
    # Without the length of the features: divided by the largest, it would depend on what else is in the batch.
    "expected_gradient_length": acquisition.expected_gradient_length,
}


def initial(policy: Policy) -> SamplerState:
    """The state before the first event."""
    known = parts.fresh(len(policy.parts))
    return SamplerState(drift.fresh(policy.drift), bandit=bandit.fresh(len(policy.arms)), parts=known)


def utilities(strategy: str, batch: Scored) -> tuple[str, Floats]:
    """The kind of utility and its values ``(n,)``.

    A committee strategy without a committee of two at least in the graph falls back to margin, as do ``density`` and
    ``error_reduction`` here, since they look at the stream (:func:`appraise`); ``random`` reports the margin too (for
    predictions and drift; it decides nothing). Without a model all is equally unknown: 1.
    """
    if batch.values is not None:
        return acquisition_forms.of_numbers(strategy, batch.values, batch.members)
    if batch.probabilities.shape[1] == 0:
        return strategy, np.ones(len(batch))
    if batch.form is Form.MULTI:
        return acquisition_forms.of_several(strategy, batch.probabilities, batch.members)
    if batch.members is not None and len(batch.members) > 1 and strategy in _BY_COMMITTEE:
        return strategy, _BY_COMMITTEE[strategy](batch.members)
    by_rows = _BY_PROBABILITIES.get(strategy)
    return (
        ("margin", acquisition.margin(batch.probabilities))
        if by_rows is None
        else (strategy, by_rows(batch.probabilities))
    )


def temper_of(policy: Policy, batch: Scored) -> float:
    """How much chance joins the log utility: what the project file says, else by whether features are embeddings or a table."""
    if policy.sampling.temper is not None:
        return policy.sampling.temper
    table = batch.features is not None and batch.features.shape[1] < EMBEDDING
    return TABLE_TEMPER if table else EMBEDDING_TEMPER


def by_chance(policy: Policy, batch: Scored) -> bool:
    """Whether utilities decide nothing: strategy ``random``, or no model that tells classes apart."""
    return policy.sampling.strategy == "random" or cold(batch)


def askable(policy: Policy, batch: Scored, appraisal: Appraisal) -> NDArray[np.bool_]:
    """``(n,)``: which rows may be asked about outside the audit slice: sound ones; all of them where chance decides."""
    return np.ones(len(batch), dtype=np.bool_) if by_chance(policy, batch) else appraisal.sound


def floors(policy: Policy, state: SamplerState, batch: Scored, appraisal: Appraisal) -> Floors | None:
    """The floors of a choice; None where the project has none."""
    if not policy.groups:
        return None
    classes = 0 if cold(batch) else batch.probabilities.shape[1]
    return Floors(
        policy.groups,
        state.floors,
        predicted_of(batch) if classes else None,
        classes,
        None if batch.embedded else batch.inputs,
        appraisal.sound,
        appraisal.draws[:, 3],
    )


@dataclass(frozen=True, slots=True)
class Why:
    """What a choice says of a row that it takes: its value of the kind ``strategy`` and what that had to reach, the probability (by
    its own account, which rounding may put outside of (0, 1]), the state and the burst that it was taken in, what an audit
    counts with the challenger that had a say in it, and its weight in a burst."""

    reason: Reason
    strategy: str
    value: float
    needed: float
    probability: float
    state_digest: str
    burst_id: str = ""
    audited: tuple[float, str] = (0.0, "")
    burst_weight: float = 0.0


def selection_of(policy: Policy, batch: Scored, row: int, why: Why) -> Selection:
    """The selection of a row, with its price where prices differ."""
    selection = Selection(
        strategy=why.strategy,
        uncertainty=why.value,
        threshold=min(why.value, max(0.0, why.needed)),
        propensity=min(1.0, max(LEAST_PROPENSITY, why.probability)),
        reason=why.reason,
        audit=why.reason is Reason.AUDIT,
        model_version=batch.version,
        state_digest=why.state_digest,
        burst_id=why.burst_id,
        weight=why.audited[0],
        challenger=why.audited[1],
        burst_weight=why.burst_weight,
    )
    if policy.tariff is None:
        return selection
    predicted = names_of(batch, batch.probabilities[row : row + 1])
    kilobytes = 0.0 if batch.kilobytes is None else float(batch.kilobytes[row])
    return replace(selection, price=policy.tariff.price(selection, "".join(predicted), kilobytes))


def names_of(batch: Scored, probabilities: FloatArray) -> list[str]:
    """The predicted class of each of ``probabilities`` ``(m, k)``; nothing where events have none, or their names are not known."""
    columns = columns_of(batch)
    return [columns[best] for best in projections.finite(probabilities).argmax(axis=1).tolist()] if columns else []


def columns_of(batch: Scored) -> Sequence[str]:
    """The names of the columns, where an event has one class and names are known."""
    named = batch.form is Form.CLASSES and 0 < len(batch.classes) == batch.probabilities.shape[1]
    return batch.classes if named else ()


def cold(batch: Scored) -> bool:
    """Whether no model tells answers apart."""
    least = 1 if batch.form is Form.MULTI else 2
    return batch.values is None and bool(batch.probabilities.shape[1] < least)


def predicted_of(batch: Scored) -> NDArray[np.int64]:
    """``(n,)``: the column of the class that each event is taken for, or the band that its number falls into."""
    if batch.values is not None:
        return acquisition_forms.bands(batch.values)
    return np.asarray(projections.finite(batch.probabilities).argmax(axis=1))
